//! `cargo xtask bench`: figures for the documentation.
use crate::args::Args;
use crate::command::Cmd;
use crate::{Failure, Result, Workspace};

mod accounts;
mod authz;
mod build;
mod cache;
mod gateway;
mod instructions;
mod limits;
mod proxy;
mod resilience;
mod routes;
mod running;
mod server;
mod sessions;
mod table;
mod tokens;

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result {
    match args.word().as_deref() {
        Some("instructions") => instructions::main(workspace, args),
        Some("tokens") => tokens::main(workspace, args),
        Some("resilience") => resilience::main(workspace, args),
        Some("sessions") => sessions::main(workspace, args),
        Some("authz") => authz::main(workspace, args),
        Some("limits") => limits::main(workspace, args),
        Some("accounts") => accounts::main(workspace, args),
        Some("server") => server::main(workspace, args),
        Some("proxy") => proxy::main(workspace, args),
        Some("cache") => cache::main(workspace, args),
        Some("routes") => routes::main(workspace, args),
        Some("build") => args.end().and_then(|()| build::main(workspace)),
        _ => Err(Failure::new(
            "say `cargo xtask bench instructions|resilience|tokens|sessions|authz|limits|accounts|server|proxy|cache|routes|build`",
        )),
    }
}

/// The machine and the command, without which a figure says nothing.
pub(crate) fn conditions(command: &str) -> Result<String> {
    let cores = std::thread::available_parallelism()?;
    let rustc = Cmd::new("rustc --version").read()?;
    // Without the patch release, which changes nothing that is measured here.
    let rustc = rustc.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
    let rustc = rustc.rsplit_once('.').map_or(rustc.as_str(), |(release, _)| release);
    let cores = if cores.get() == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    Ok(format!("`{command}`, {rustc}, {arch} {os}, {cores}."))
}
