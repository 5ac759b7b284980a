//! What goes to the registry is whole: the packages are made, unpacked beside each other and checked there, where nothing of the repository can stand in for
//! a file that is missing. `cargo package` would build each by itself, and most of what they stand on with it each time: ten times as long.
use std::path::Path;

use crate::command::Cmd;
use crate::manifest::Manifest;
use crate::{Failure, Result, Workspace};

pub(crate) fn check(workspace: &Workspace) -> Result {
    let crates = workspace.root.join("crates");
    let kept = workspace
        .members
        .iter()
        .find(|member| member.path.starts_with(&crates) && !member.is_published());
    if let Some(kept) = kept {
        let place = workspace.relative(&kept.path);
        return Err(Failure::new(format!(
            "{place}: what stands in `crates` goes to the registry, and this does not"
        )));
    }
    let made = workspace.root.join("target/package-check");
    forget(&made)?;
    let package = Cmd::new("cargo package --workspace --no-verify --allow-dirty --target-dir");
    package.arg(made.display().to_string()).args(workspace.excludes()).run_without_warnings()?;
    let dir = made.join("unpacked");
    std::fs::create_dir_all(&dir)?;
    let version = workspace.package_key("version")?;
    // Each stands on the others as they are in their packages.
    let mut manifest = vec![
        "[workspace]".to_owned(),
        "resolver = \"3\"".to_owned(),
        "members = [\"*\"]".to_owned(),
        "[patch.crates-io]".to_owned(),
    ];
    for name in workspace.published().map(Manifest::name) {
        let package = made.join(format!("package/{name}-{version}.crate"));
        // As of now: what is in a package is dated 2006, and cargo would take what it has for newer.
        Cmd::new("tar -xzmf").arg(package.display().to_string()).dir(&dir).run()?;
        manifest.push(format!("{name} = {{ path = \"{name}-{version}\" }}"));
    }
    std::fs::write(dir.join("Cargo.toml"), manifest.join("\n"))?;
    std::fs::copy(workspace.root.join("Cargo.lock"), dir.join("Cargo.lock"))?;
    let check = Cmd::new("cargo check --workspace --all-features --target-dir");
    // Cargo takes it from where it runs, and that is elsewhere.
    let target = workspace.root.join(workspace.target());
    check.arg(target.display().to_string()).dir(&dir).run_without_warnings()?;
    forget(&made)
}

fn forget(dir: &Path) -> Result {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
