//! The portcullis program.
use std::process::ExitCode;

use clap::Parser;
use portcullis_cli::{Arguments, run};

/// Reading a file of thousands of routes is a matter of many small allocations, which this one makes in half the time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run(Arguments::parse())
}
