//! The texts of the repository.
use std::path::{Path, PathBuf};

use crate::{Result, Workspace};

/// Directories that are built, or hold inputs which are no text.
const LEFT_OUT: [&str; 4] = [".git", "target", "corpus", "artifacts"];

/// Every text file, with its path from the root of the repository.
pub(super) fn texts(workspace: &Workspace) -> Result<Vec<(PathBuf, String)>> {
    let (mut texts, mut dirs) = (Vec::new(), vec![workspace.root.clone()]);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let (entry, path) = entry.map(|entry| (entry.file_type(), entry.path()))?;
            let kind = entry?;
            let name = path.file_name().unwrap_or_default();
            if kind.is_dir() && !LEFT_OUT.iter().any(|left_out| name == *left_out) {
                dirs.push(path);
            } else if kind.is_file()
                && let Some(text) = read(&path)?
            {
                let path = path.strip_prefix(&workspace.root).unwrap_or(&path).to_owned();
                texts.push((path, text));
            }
        }
    }
    texts.sort();
    Ok(texts)
}

/// The file, unless it is no text or has been removed meanwhile.
fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
