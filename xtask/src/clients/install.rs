//! The foreign programs, in the versions that are named here.
use std::path::{Path, PathBuf};

use crate::command::{Cmd, find};
use crate::{Failure, Result, tools};

const PYTHON_PACKAGES: [&str; 4] =
    ["websockets==17.4", "kosoku==0.1.0", "joserfc==1.8.0", "cryptography==50.0.2"];
const NODE_PACKAGES: [&str; 5] =
    ["ws@8.23.0", "jose@6.2.18", "oidc-provider@9.13.3", "smtp-server@3.21.6", "mailparser@3.14.2"];

/// Says whether this Python can make a virtual environment that works, and is new enough for the packages.
const CAPABLE: &str = "import ensurepip, ssl, sys; sys.exit(sys.version_info < (3, 11))";

/// What was installed.
pub(super) struct Tools {
    /// The Python that has the packages.
    pub(super) python: PathBuf,
    /// The directory in which Node.js finds its packages.
    pub(super) node: PathBuf,
}

/// Installs what is missing, or is there in another version.
pub(super) fn provide(dir: &Path) -> Result<Tools> {
    let programs = [("node", "nodejs"), ("npm", "npm"), ("curl", "curl")];
    let missing = programs.iter().filter(|(program, _)| find(program).is_none());
    let mut missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if capable_python().is_none() {
        missing.push("python3-venv");
    }
    if !missing.is_empty() {
        tools::apt(&missing)?;
    }
    let (venv, node) = (dir.join("venv"), dir.join("node"));
    once(&venv, &PYTHON_PACKAGES, || {
        let python = capable_python()
            .ok_or_else(|| Failure::new("no Python here is 3.11 or newer, with TLS and venv"))?;
        Cmd::new(python).args(["-m", "venv"]).arg(venv.display().to_string()).read()?;
        let pip = Cmd::new("env").arg(venv.join("bin/pip").display().to_string());
        pip.args(["install", "--quiet", "--disable-pip-version-check"]).args(PYTHON_PACKAGES).read()
    })?;
    once(&node, &NODE_PACKAGES, || {
        std::fs::create_dir_all(&node)?;
        let npm = Cmd::new("npm install --prefix . --no-save --no-audit --no-fund");
        npm.args(NODE_PACKAGES).dir(&node).read()
    })?;
    Ok(Tools { python: venv.join("bin/python"), node })
}

/// The first that is asked for by its name may be one that somebody built without TLS; Debian's has it.
fn capable_python() -> Option<&'static str> {
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| Cmd::new(python).args(["-c", CAPABLE]).succeeds())
}

/// Makes a directory anew, unless it was made to the end for the same packages.
fn once(dir: &Path, packages: &[&str], make: impl FnOnce() -> Result<String>) -> Result {
    let (stamp, want) = (dir.join("installed"), packages.join("\n"));
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == want) {
        return Ok(());
    }
    println!("installing {}", packages.join(" "));
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    make()?;
    Ok(std::fs::write(stamp, want)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_for_the_same_packages() {
        let dir = std::env::temp_dir().join(format!("xtask-install-{}", std::process::id()));
        let fails = || Err(Failure::new("no network"));
        let makes = || {
            std::fs::create_dir_all(&dir)?;
            Ok(String::new())
        };
        assert!(once(&dir, &["a==1"], fails).is_err());
        assert!(once(&dir, &["a==1"], makes).is_ok());
        assert!(once(&dir, &["a==1"], fails).is_ok(), "it is there");
        assert!(once(&dir, &["a==2"], fails).is_err(), "the version has changed");
        assert!(once(&dir, &["a==1"], fails).is_err(), "nothing half made is taken for whole");
        drop(std::fs::remove_dir_all(&dir));
    }
}
