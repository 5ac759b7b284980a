//! What it costs to know a browser by its session, with each store.
use std::path::PathBuf;

use super::conditions;
use super::instructions::{costs, publish, table};
use super::table::markdown;
use crate::args::Args;
use crate::command::Cmd;
use crate::{Failure, Result, Workspace, services};

const PROGRAM: &str = "session-check";

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    services::main()?;
    let layers = table(&costs(workspace, PROGRAM)?);
    let time = time(workspace)?;
    let conditions = conditions("cargo xtask bench sessions")?;
    publish(workspace, file, &format!("{layers}\n{time}\n{conditions}\n"), "sessions")
}

/// A row for each store.
fn time(workspace: &Workspace) -> Result<String> {
    let run = Cmd::new("env").arg(workspace.program(PROGRAM).display().to_string()).arg("time");
    let said = run.read()?;
    let rows: Vec<_> = said.lines().filter_map(|line| line.split_once(": ")).collect();
    if rows.is_empty() {
        return Err(Failure::of(&run, "it says no times"));
    }
    let rows = rows.into_iter().map(|(store, time)| vec![store.to_owned(), time.to_owned()]);
    Ok(markdown(&["variant", "time of a request, one after the other"], &rows.collect::<Vec<_>>()))
}
