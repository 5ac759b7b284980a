//! `cargo xtask test`: the steps one after the other, up to the first that fails.
use crate::args::Args;
use crate::steps::STEPS;
use crate::timing::{seconds, timed};
use crate::{Failure, Result, Workspace};

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result {
    if args.flag("--list") {
        args.end()?;
        for step in STEPS {
            println!("{:10} {}", step.name, step.shows);
        }
        return Ok(());
    }
    let mut only = Vec::new();
    while let Some(name) = args.option("--only")? {
        if STEPS.iter().all(|step| step.name != name) {
            return Err(Failure::new(format!("there is no step `{name}`"))
                .repeat("cargo xtask test --list"));
        }
        only.push(name);
    }
    args.end()?;
    let chosen =
        STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name));
    for step in chosen {
        println!("\n== {}: {}", step.name, step.shows);
        let (done, time) = timed(|| (step.run)(workspace));
        done.map_err(|failure| failure.repeat(format!("cargo xtask test --only {}", step.name)))?;
        // The summary of the tests is the last word.
        if step.name != "tests" {
            println!("   {} took {}", step.name, seconds(time));
        }
    }
    Ok(())
}
