//! The portcullis program.
use std::process::ExitCode;

use clap::Parser;
use portcullis_cli::{Arguments, run};

fn main() -> ExitCode {
    run(Arguments::parse())
}
