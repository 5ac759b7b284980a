//! Rules about what stands in files.
use std::path::Path;

use super::Findings;
use super::files::texts;
use crate::{Result, Workspace};

/// Signs of unfinished work, spelled so that this file has none of them.
const UNFINISHED: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("to", "do!")];

pub(super) fn check(workspace: &Workspace) -> Result<Findings> {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let dirs = [Some(Path::new(&home)), Some(&workspace.root), workspace.root.parent()];
    let dirs: Vec<String> = dirs.into_iter().flatten().filter_map(machine_dir).collect();
    let mut findings = Findings::new();
    for (path, text) in texts(workspace)? {
        let versions = speaks_without_versions(&path);
        let mut in_code = false;
        for (line, at) in text.lines().zip(1..) {
            in_code ^= line.trim_start().starts_with("```");
            let version = if versions && !in_code { version_in(line) } else { None };
            let found = unfinished_in(line)
                .or_else(|| dirs.iter().find_map(|dir| machine_path_in(line, dir)))
                .or_else(|| version.map(|version| format!("version {version} in prose grows old")));
            findings.extend(found.map(|found| format!("{}:{at}: {found}", path.display())));
        }
    }
    Ok(findings)
}

fn unfinished_in(line: &str) -> Option<String> {
    let sign = UNFINISHED.iter().find(|sign| line.contains(**sign))?;
    Some(format!("{sign}: finish it, or write an issue"))
}

/// The directory with a slash behind it, unless it is the root of the file system or not absolute.
fn machine_dir(dir: &Path) -> Option<String> {
    let dir = dir.to_str()?.trim_end_matches('/');
    // Nothing is left of the root.
    dir.starts_with('/').then(|| format!("{dir}/"))
}

/// A path in `dir` that is there on this machine; `dir` alone may be anything, such as the path of a URL.
fn machine_path_in(line: &str, dir: &str) -> Option<String> {
    line.match_indices(dir).find_map(|(at, _)| {
        let before = line.get(..at)?.chars().next_back();
        let (_, behind) = line.split_at_checked(at + dir.len())?;
        let name = behind.split(|c: char| !is_path_char(c)).next()?.trim_end_matches('.');
        let path = format!("{dir}{name}");
        let begins_here = !before.is_some_and(is_path_char);
        (begins_here && !name.is_empty() && Path::new(&path).exists())
            .then(|| format!("{path} is a path of this machine"))
    })
}

fn is_path_char(c: char) -> bool {
    c.is_alphanumeric() || "-_.".contains(c)
}

/// Whether the file is prose for users.
fn speaks_without_versions(path: &Path) -> bool {
    let is_markdown = path.extension().is_some_and(|extension| extension == "md");
    let is_ours = ["README.md", "crates", "docs"].iter().any(|ours| path.starts_with(ours));
    is_markdown && is_ours && path.file_name().is_some_and(|name| name != "CHANGELOG.md")
}

/// Three numbers with dots between them, and no fourth: that would be an address. Sections of a standard stay.
fn version_in(line: &str) -> Option<&str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mut before = "";
    for word in line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '§')) {
        let word = word.trim_matches('.');
        let number = word.trim_start_matches('v');
        let is_version = number.split('.').count() == 3 && number.split('.').all(is_number);
        if is_version && !matches!(before, "section" | "sections" | "§") {
            return Some(word);
        }
        if !word.is_empty() {
            before = word;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_three_numbers() {
        for (line, want) in [
            ("since 1.2.3 it holds", Some("1.2.3")),
            ("see (v0.10.0).", Some("v0.10.0")),
            ("for=192.0.2.43", None),
            ("Rust 1.88", None),
            ("RFC 9110, section 5.6.1.2", None),
            ("RFC 9110, section 5.6.1", None),
            ("RFC 9110, §5.6.1", None),
            ("a.b.c", None),
        ] {
            assert_eq!(version_in(line), want, "{line}");
        }
    }

    #[test]
    fn versions_grow_old_in_prose_only() {
        for (path, want) in [
            ("crates/portcullis/README.md", true),
            ("docs/problems.md", true),
            ("README.md", true),
            ("docs/CHANGELOG.md", false),
            ("CHANGELOG.md", false),
            ("crates/portcullis/src/lib.rs", false),
        ] {
            assert_eq!(speaks_without_versions(Path::new(path)), want, "{path}");
        }
    }

    #[test]
    fn unfinished_work_is_found() {
        assert!(UNFINISHED.iter().all(|sign| unfinished_in(&format!("// {sign} later")).is_some()));
        assert_eq!(unfinished_in("todos are items of a list"), None);
    }

    #[test]
    fn a_path_is_of_this_machine_when_it_is_there() {
        let root = crate::workspace::root();
        let dir = machine_dir(&root).unwrap();
        for (line, found) in [
            (format!("cd {dir}xtask"), true),
            (format!("cd {dir}xtask."), true),
            (format!("https://example{dir}xtask"), false),
            (format!("{dir}no-such-file"), false),
            (dir.clone(), false),
        ] {
            assert_eq!(machine_path_in(&line, &dir).is_some(), found, "{line}");
        }
        assert_eq!(machine_dir(Path::new("/")), None);
    }
}
