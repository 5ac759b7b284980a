//! `cargo xtask fuzz`, and the short run of it that belongs to the tests.
use std::path::PathBuf;

use crate::args::Args;
use crate::command::Cmd;
use crate::manifest::Manifest;
use crate::{Failure, Result, Workspace, tools};

const SECONDS: u64 = 60;
/// How long the tests fuzz each target; 0 only builds.
const SMOKE_SECONDS: &str = "PORTCULLIS_FUZZ_SECONDS";

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let seconds = args.option("--seconds")?.map_or(Ok(SECONDS), |text| number(&text))?;
    let (chosen, all) = (args.word(), targets(workspace)?);
    args.end()?;
    let targets = match chosen {
        None => all,
        Some(name) if all.contains(&name) => vec![name],
        Some(name) => {
            let all = all.join(", ");
            return Err(Failure::new(format!("there is no fuzz target `{name}`, but {all}")));
        }
    };
    match missing() {
        Some(missing) => Err(Failure::new(missing)),
        None => run(workspace, &targets, seconds),
    }
}

/// A few seconds for each target.
pub(crate) fn smoke(workspace: &Workspace) -> Result {
    let seconds = std::env::var(SMOKE_SECONDS).map_or(Ok(5), |text| number(&text))?;
    if let Some(missing) = missing() {
        println!("skipped: {missing}");
        return Ok(());
    }
    run(workspace, &targets(workspace)?, seconds)
}

fn run(workspace: &Workspace, targets: &[String], seconds: u64) -> Result {
    Cmd::new("cargo +nightly fuzz build").run()?;
    for target in targets.iter().filter(|_| seconds > 0) {
        println!("\n-- {target}, {seconds} s");
        // The seeds are committed; what is found on the way goes to the first directory, which is not.
        let found = PathBuf::from("fuzz/target/corpus").join(target);
        std::fs::create_dir_all(workspace.root.join(&found))?;
        let seeds = PathBuf::from("fuzz/corpus").join(target);
        let fuzz = Cmd::new("cargo +nightly fuzz run").arg(target.as_str());
        let fuzz = fuzz.args([found, seeds].map(|dir| dir.display().to_string()));
        fuzz.arg("--")
            .arg(format!("-max_total_time={seconds}"))
            .arg("-verbosity=0")
            .arg("-print_final_stats=1")
            .run()?;
    }
    Ok(())
}

fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let manifest = Manifest::read(&workspace.root.join("fuzz/Cargo.toml"))?;
    let names = manifest.section("bin").filter(|entry| entry.key == "name");
    Ok(names.map(|entry| entry.value.trim_matches('"').to_owned()).collect())
}

/// What fuzzing needs and is not there.
fn missing() -> Option<&'static str> {
    if tools::toolchain("nightly").is_none() {
        Some("fuzzing needs a nightly compiler (rustup toolchain install nightly)")
    } else if !tools::has_subcommand("fuzz") {
        Some("fuzzing needs cargo-fuzz (cargo install --locked cargo-fuzz)")
    } else {
        None
    }
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Failure::new(format!("`{text}` is no number of seconds")))
}
