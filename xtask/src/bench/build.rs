//! What the layers add to a build: `examples/axum-layers` against a server of axum alone.
use std::collections::BTreeSet;
use std::path::Path;

use super::conditions;
use super::table::{difference, markdown, number};
use crate::command::Cmd;
use crate::manifest::{Entry, Manifest};
use crate::timing::timed;
use crate::{Failure, Result, Workspace};

const EXAMPLE: &str = "axum-layers";
const BARE: &str = "bare-axum";
/// What the bare server has in common with the example.
const SHARED: [&str; 2] = ["axum", "tokio"];
const MAIN: &str = r#"use axum::{Router, routing::get};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::io::Result<()> {
    let app = Router::new().route("/", get(async || "hello"));
    axum::serve(tokio::net::TcpListener::bind("127.0.0.1:0").await?, app).await
}
"#;

pub(super) fn main(workspace: &Workspace) -> Result {
    let dir = workspace.root.join("target/bench-build");
    remove(&dir)?;
    let costs = measure(workspace, &dir);
    remove(&dir)?;
    let [bare, example] = costs?;
    let row = |name: &str, cost: &Cost| {
        let change = |value: f64| if name == BARE { String::new() } else { difference(value) };
        vec![
            name.to_owned(),
            number(cost.crates),
            change(cost.crates - bare.crates),
            number(cost.seconds),
            change(cost.seconds - bare.seconds),
        ]
    };
    let head = ["package", "crates", "difference", "clean build, s", "difference"];
    println!("{}", markdown(&head, &[row(BARE, &bare), row(EXAMPLE, &example)]));
    println!("{}", conditions("cargo xtask bench build")?);
    Ok(())
}

/// What a package costs who builds it.
struct Cost {
    crates: f64,
    seconds: f64,
}

fn measure(workspace: &Workspace, dir: &Path) -> Result<[Cost; 2]> {
    let bare = dir.join(BARE);
    std::fs::create_dir_all(bare.join("src"))?;
    std::fs::write(bare.join("Cargo.toml"), bare_manifest(workspace)?)?;
    std::fs::write(bare.join("src/main.rs"), MAIN)?;
    // The same versions of everything.
    std::fs::copy(workspace.root.join("Cargo.lock"), bare.join("Cargo.lock"))?;
    let target = dir.join("target");
    Ok([cost(&bare, BARE, &target)?, cost(&workspace.root, EXAMPLE, &target)?])
}

fn cost(dir: &Path, package: &str, target: &Path) -> Result<Cost> {
    let cargo = |line: &str| Cmd::new(line).args(["--package", package]).dir(dir);
    // Asks for what is missing, so that the build does not wait for the network.
    let tree = cargo("cargo tree --edges no-dev --prefix none --no-dedupe").read()?;
    remove(target)?;
    let build = cargo("cargo build --quiet").env("CARGO_TARGET_DIR", target.display().to_string());
    let (done, time) = timed(|| build.run());
    done?;
    Ok(Cost { crates: crates(&tree), seconds: time.as_secs_f64() })
}

/// The number of different packages in the output of `cargo tree`.
fn crates(tree: &str) -> f64 {
    let name_and_version = |line| str::split_whitespace(line).take(2).collect::<Vec<_>>();
    let unique: BTreeSet<_> =
        tree.lines().map(name_and_version).filter(|words| !words.is_empty()).collect();
    u32::try_from(unique.len()).map_or(f64::NAN, f64::from)
}

fn bare_manifest(workspace: &Workspace) -> Result<String> {
    let missing = |what: &str| Failure::new(format!("{EXAMPLE} or the workspace has no `{what}`"));
    let example = workspace.members.iter().find(|member| member.name() == EXAMPLE);
    let example = example.ok_or_else(|| missing(EXAMPLE))?;
    let mut lines =
        vec![format!("[package]\nname = \"{BARE}\"\nedition = \"2024\"\n\n[workspace]\n")];
    lines.push("[dependencies]".to_owned());
    for name in SHARED {
        let given =
            workspace.manifest.section("workspace.dependencies").find(|entry| entry.key == name);
        let asked = example.section("dependencies").find(|entry| entry.key == name);
        let dependency = given.zip(asked).and_then(|(given, asked)| dependency(given, asked));
        lines.push(dependency.ok_or_else(|| missing(name))?);
    }
    lines.push("\n[profile.dev]".to_owned());
    lines.extend(profile(&workspace.manifest));
    Ok(lines.join("\n") + "\n")
}

/// The dependency with the version that the workspace names and the features for which the example asks.
fn dependency(given: &Entry, asked: &Entry) -> Option<String> {
    let (name, version) = (&given.key, given.inline("version")?);
    let features = asked.inline("features").unwrap_or("[]");
    Some(format!(
        "{name} = {{ version = {version}, default-features = false, features = {features} }}"
    ))
}

fn profile(manifest: &Manifest) -> impl Iterator<Item = String> {
    manifest.section("profile.dev").map(|entry| format!("{} = {}", entry.key, entry.value))
}

fn remove(dir: &Path) -> Result {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_counts_once() {
        let tree = "a v1.0.0 (/x)\nb v0.1.0\n\nb v0.1.0 (*)\nb v0.2.0\nc v1.0.0 (proc-macro)\n";
        assert!((crates(tree) - 4.0).abs() < f64::EPSILON);
    }

    #[test]
    fn the_bare_server_has_the_axum_of_the_example() {
        let given = Manifest::of("[d]\naxum = { version = \"0.8\", default-features = false }");
        let asked =
            Manifest::of("[d]\naxum = { workspace = true, features = [\"http1\", \"tokio\"] }");
        assert_eq!(
            dependency(&given.entries[0], &asked.entries[0]).unwrap(),
            r#"axum = { version = "0.8", default-features = false, features = ["http1", "tokio"] }"#
        );
    }
}
