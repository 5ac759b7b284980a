//! The packages of this repository.
use std::path::{Path, PathBuf};

use crate::manifest::Manifest;
use crate::{Failure, Result};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    own.parent().map(Path::to_owned).unwrap_or(own)
}

/// The manifests of the workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) manifest: Manifest,
    pub(crate) members: Vec<Manifest>,
}

impl Workspace {
    pub(crate) fn open() -> Result<Self> {
        let root = root();
        let manifest = Manifest::read(&root.join("Cargo.toml"))?;
        let mut members = Vec::new();
        for dir in member_dirs(&root, &manifest)? {
            members.push(Manifest::read(&dir.join("Cargo.toml"))?);
        }
        Ok(Self { root, manifest, members })
    }
    /// The members that go to the registry.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Manifest> {
        self.members.iter().filter(|member| member.is_published())
    }
    /// `--package NAME` for each member that goes to the registry and is for the compiler of the workspace: what stands on sqlx says itself that it needs a newer one.
    pub(crate) fn packages(&self) -> Vec<String> {
        let members = self.published().filter(|member| member.inherits("rust-version"));
        members.flat_map(|member| ["--package".to_owned(), member.name().to_owned()]).collect()
    }
    /// `--exclude NAME` for each member that does not.
    pub(crate) fn excludes(&self) -> Vec<String> {
        let unpublished = self.members.iter().filter(|member| !member.is_published());
        unpublished.flat_map(|member| ["--exclude".to_owned(), member.name().to_owned()]).collect()
    }
    /// A key of `[workspace.package]`.
    pub(crate) fn package_key(&self, key: &str) -> Result<&str> {
        let value = self.manifest.get("workspace.package", key);
        value.ok_or_else(|| Failure::new(format!("the workspace has no `{key}`")))
    }
    /// Where cargo puts a program of a release, in a directory of the user's choice perhaps.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target().join("release").join(name)
    }
    /// Where cargo puts a program that is built for development.
    pub(crate) fn debug_program(&self, name: &str) -> PathBuf {
        self.target().join("debug").join(name)
    }
    /// Where cargo builds.
    pub(crate) fn target(&self) -> PathBuf {
        let chosen = std::env::var_os("CARGO_TARGET_DIR");
        chosen.map_or_else(|| self.root.join("target"), PathBuf::from)
    }
    /// The path as it is known in the repository.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

fn member_dirs(root: &Path, manifest: &Manifest) -> Result<Vec<PathBuf>> {
    let members = manifest.section("workspace").find(|entry| entry.key == "members");
    let members = members.ok_or_else(|| Failure::new("the workspace has no `members`"))?;
    let mut dirs = Vec::new();
    for member in members.strings() {
        match member.strip_suffix("/*") {
            None => dirs.push(root.join(member)),
            Some(parent) => {
                for entry in std::fs::read_dir(root.join(parent))? {
                    dirs.push(entry?.path());
                }
            }
        }
    }
    dirs.retain(|dir| dir.join("Cargo.toml").is_file());
    dirs.sort();
    Ok(dirs)
}
