//! What the endpoints for accounts do to threads, memory and secrets.
use std::path::PathBuf;

use super::conditions;
use super::instructions::publish;
use super::table::markdown;
use crate::args::Args;
use crate::command::Cmd;
use crate::{Failure, Result, Workspace};

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    Cmd::new("cargo build --release --package portcullis-benches --bin accounts").run()?;
    let run = Cmd::new("env").arg(workspace.program("accounts").display().to_string());
    let said = run.read()?;
    let rows = said.lines().filter_map(|line| line.split_once(": "));
    let rows: Vec<_> =
        rows.map(|(name, figure)| vec![name.to_owned(), figure.to_owned()]).collect();
    if rows.is_empty() {
        return Err(Failure::of(&run, "it says no figures"));
    }
    let conditions = conditions("cargo xtask bench accounts")?;
    let table = markdown(&["figure", "measured"], &rows);
    publish(workspace, file, &format!("{table}\n{conditions}\n"), "accounts")
}
