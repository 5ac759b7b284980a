//! What is done with this repository besides compiling it. `cargo xtask` says what there is.
#![expect(clippy::print_stdout, reason = "it is a program for the terminal")]
use std::process::ExitCode;

mod args;
mod bench;
mod chaos;
mod clients;
mod command;
mod failure;
mod fuzz;
mod manifest;
mod package;
mod services;
mod steps;
mod test;
mod tidy;
mod timing;
mod tls;
mod tools;
mod workspace;

use args::Args;
use failure::{Failure, Result};
use workspace::Workspace;

const USAGE: &str = "\
cargo xtask test [--list] [--only STEP]...      every check, stops at the first that fails
cargo xtask services                            makes PostgreSQL, MariaDB and Redis answer on loopback
cargo xtask fuzz [TARGET] [--seconds N]         fuzzes one or all targets, 60 seconds each unless told
cargo xtask tls                                 a scanner looks at the server's TLS
cargo xtask clients                             foreign clients talk to foreign servers through the gateway
cargo xtask bench instructions [--write FILE]   instructions and allocations a request, as Markdown
cargo xtask bench resilience [--write FILE]     the same around a client, and in the gateway
cargo xtask bench tokens [--write FILE]         the same of a bearer token, beside jsonwebtoken
cargo xtask bench sessions [--write FILE]       the same of a session, with each store
cargo xtask bench authz [--write FILE]          a decision about a caller, beside casbin and Cedar
cargo xtask bench server [--write FILE]         the server beside bare hyper: a request, an idle connection
cargo xtask bench proxy [--rounds N]             the gateway beside other proxies, as Markdown and a picture
cargo xtask bench cache [--rounds N]             a hit of the cache, beside nginx, Varnish and moka alone
cargo xtask bench routes [--write FILE]         many routes: memory, start, look-up
cargo xtask bench build                         crates and build time against bare axum, as Markdown
cargo xtask chaos NAME|all [--write FILE]       restarts, slow clients, floods and faults, as Markdown";

fn main() -> ExitCode {
    match run(Args::new(std::env::args().skip(1))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut args: Args) -> Result {
    let workspace = Workspace::open()?;
    match args.word().as_deref() {
        Some("test") => test::main(&workspace, args),
        Some("services") => args.end().and_then(|()| services::main()),
        Some("fuzz") => fuzz::main(&workspace, args),
        Some("tls") => args.end().and_then(|()| tls::check(&workspace)),
        Some("clients") => args.end().and_then(|()| clients::check(&workspace)),
        Some("bench") => bench::main(&workspace, args),
        Some("chaos") => chaos::main(&workspace, args),
        None => {
            println!("{USAGE}");
            Ok(())
        }
        Some(other) => Err(Failure::new(format!("there is no `cargo xtask {other}`\n{USAGE}"))),
    }
}
