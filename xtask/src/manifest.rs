//! Reads as much of a `Cargo.toml` as our rules speak about: sections, keys, and values as text.
use std::path::{Path, PathBuf};

use crate::{Failure, Result};

/// One `Cargo.toml`.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) path: PathBuf,
    pub(crate) entries: Vec<Entry>,
}

/// `key = value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) section: String,
    pub(crate) key: String,
    /// As it stands in the file; an array of several lines is one value.
    pub(crate) value: String,
    /// Whether a `##` line, the form for documented features, stands above it.
    pub(crate) documented: bool,
}

impl Manifest {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::new(format!("{}: {error}", path.display())))?;
        Ok(Self { path: path.to_owned(), entries: parse(&text) })
    }
    /// The value of a key, without its quotes.
    pub(crate) fn get(&self, section: &str, key: &str) -> Option<&str> {
        let found = self.section(section).find(|entry| entry.key == key)?;
        Some(found.value.trim_matches('"'))
    }
    /// The entries of a section.
    pub(crate) fn section(&self, section: &str) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.section == section)
    }
    /// Whether `package.key` comes from the workspace.
    pub(crate) fn inherits(&self, key: &str) -> bool {
        self.get("package", &format!("{key}.workspace")) == Some("true")
    }
    /// The name of the package.
    pub(crate) fn name(&self) -> &str {
        self.get("package", "name").unwrap_or_default()
    }
    /// Whether it goes to the registry.
    pub(crate) fn is_published(&self) -> bool {
        self.get("package", "publish") != Some("false")
    }
}

impl Entry {
    /// The strings in the value: the members of an array.
    pub(crate) fn strings(&self) -> Vec<&str> {
        self.value.split('"').skip(1).step_by(2).collect()
    }
    /// The value of one key of an inline table or array, up to its closing bracket: `features` in
    /// `{ version = "1", features = ["a"] }`.
    pub(crate) fn inline(&self, key: &str) -> Option<&str> {
        let (_, value) = self.value.split_once(&format!("{key} = "))?;
        let end = match value.as_bytes().first()? {
            b'[' => value.find(']')? + 1,
            b'"' => value.get(1..)?.find('"')? + 2,
            _ => value.find([',', '}'])?,
        };
        value.get(..end).map(str::trim)
    }
}

fn parse(text: &str) -> Vec<Entry> {
    let (mut entries, mut section, mut documented) = (Vec::<Entry>::new(), String::new(), false);
    let mut open = false;
    for line in text.lines() {
        let code = without_comment(line).trim();
        if open {
            if let Some(entry) = entries.last_mut() {
                entry.value.push_str(code);
                open = depth(&entry.value) > 0;
            }
        } else if let Some(name) = code.strip_prefix('[').and_then(|code| code.strip_suffix(']')) {
            name.trim_matches(['[', ']']).clone_into(&mut section);
        } else if let Some((key, value)) = code.split_once('=') {
            let (section, key) = (section.clone(), key.trim().to_owned());
            let value = value.trim().to_owned();
            open = depth(&value) > 0;
            entries.push(Entry { section, key, value, documented });
        }
        documented = line.trim_start().starts_with("##");
    }
    entries
}

/// How many brackets are open at the end of `value`, those in strings not counted.
fn depth(value: &str) -> i32 {
    let outside = value.split('"').step_by(2).flat_map(str::chars);
    outside.fold(0, |depth, c| match c {
        '[' | '{' => depth + 1,
        ']' | '}' => depth - 1,
        _ => depth,
    })
}

fn without_comment(line: &str) -> &str {
    let mut in_string = false;
    let end = line.find(|c| {
        in_string ^= c == '"';
        c == '#' && !in_string
    });
    end.and_then(|end| line.get(..end)).unwrap_or(line)
}

#[cfg(test)]
impl Manifest {
    /// A manifest that stands nowhere.
    pub(crate) fn of(text: &str) -> Self {
        Self { path: PathBuf::from("Cargo.toml"), entries: parse(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_keys_and_values_are_found() {
        let manifest = Manifest::of(concat!(
            "[package]\nname = \"a\" # the name\npublish = false\nversion.workspace = true\n",
            "[features]\n## Both.\nfull = [\n    \"one\", # first\n    \"two#\",\n]\nbare = []\n",
            "[dependencies]\nhttp = { version = \"1\", features = [\"std\", \"x\"], optional = true }\n",
        ));
        assert_eq!((manifest.name(), manifest.is_published()), ("a", false));
        assert!(manifest.inherits("version") && !manifest.inherits("edition"));
        let features: Vec<_> = manifest.section("features").collect();
        assert_eq!(features.len(), 2);
        assert_eq!((features[0].strings(), features[0].documented), (vec!["one", "two#"], true));
        assert!(!features[1].documented);
        let http = manifest.section("dependencies").next().unwrap();
        assert_eq!(http.inline("version"), Some("\"1\""));
        assert_eq!(http.inline("features"), Some("[\"std\", \"x\"]"));
        assert_eq!(http.inline("optional"), Some("true"));
        assert_eq!(http.inline("path"), None);
    }
}
