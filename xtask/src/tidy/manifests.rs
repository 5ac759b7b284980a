//! Rules about manifests, features and READMEs.
use super::Findings;
use crate::manifest::Manifest;
use crate::{Result, Workspace};

const INHERITED: [&str; 3] = ["version", "edition", "license"];

pub(super) fn check(workspace: &Workspace) -> Result<Findings> {
    let lowest = workspace.package_key("rust-version")?;
    let mut findings = Findings::new();
    for member in &workspace.members {
        let readme = member.path.with_file_name("README.md");
        let readme = std::fs::read_to_string(readme).unwrap_or_default();
        let found = [inheritance(member, lowest), dependencies(member), published(member, &readme)];
        let path = workspace.relative(&member.path);
        findings.extend(found.concat().iter().map(|finding| format!("{path}: {finding}")));
    }
    Ok(findings)
}

fn inheritance(member: &Manifest, lowest: &str) -> Findings {
    let wrong = INHERITED.iter().filter(|key| !member.inherits(key));
    let mut findings: Findings =
        wrong.map(|key| format!("`{key}` does not come from the workspace")).collect();
    // What stands on sqlx needs the compiler that it needs, and what is not published may stand on anything.
    let is_sqlx = |key: &str| key.starts_with("sqlx") || key.starts_with("portcullis-sqlx");
    let may_be_newer = !member.is_published() || member.entries.iter().any(|it| is_sqlx(&it.key));
    let newer = |version| may_be_newer && minor(version) > minor(lowest);
    let stated = member.get("package", "rust-version");
    if !member.inherits("rust-version") && !stated.is_some_and(newer) {
        findings.push("`rust-version` does not come from the workspace".to_owned());
    }
    if member.get("lints", "workspace") != Some("true") {
        findings.push("the lints do not come from the workspace".to_owned());
    }
    findings
}

/// The second part of a version of Rust.
fn minor(version: &str) -> Option<u32> {
    version.split('.').nth(1)?.parse().ok()
}

fn dependencies(member: &Manifest) -> Findings {
    let is_inherited = |key: &str, value: &str| {
        (key.ends_with(".workspace") && value == "true")
            || (value.starts_with('{') && value.contains("workspace = true"))
    };
    let entries = member.entries.iter().filter(|entry| {
        entry.section.rsplit('.').next().is_some_and(|section| section.ends_with("dependencies"))
    });
    let wrong = entries.filter(|entry| !is_inherited(&entry.key, &entry.value));
    let mut findings: Findings = wrong
        .map(|entry| format!("dependency `{}` does not come from the workspace", entry.key))
        .collect();
    // `[dependencies.name]` is another spelling of the same, which this reader does not follow.
    let tables = member.entries.iter().filter(|entry| entry.section.contains("dependencies."));
    findings.extend(tables.map(|entry| format!("write [{}] as one line", entry.section)));
    findings
}

fn published(member: &Manifest, readme: &str) -> Findings {
    if !member.is_published() {
        return Findings::new();
    }
    let mut findings = Findings::new();
    if readme.trim().is_empty() || member.get("package", "readme") != Some("README.md") {
        findings.push("there is no README.md, or the manifest does not name it".to_owned());
    }
    for key in ["description", "documentation"] {
        if member.get("package", key).is_none() {
            findings.push(format!("`{key}` is missing"));
        }
    }
    for feature in member.section("features") {
        let name = &feature.key;
        if !feature.documented {
            findings.push(format!("feature `{name}` has no `##` line above it"));
        }
        if name != "default" && !readme.contains(&format!("`{name}`")) {
            findings.push(format!("feature `{name}` is not named in the README"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = concat!(
        "[package]\nname = \"a\"\ndescription = \"d\"\ndocumentation = \"u\"\nreadme = \"README.md\"\n",
        "version.workspace = true\nedition.workspace = true\nrust-version.workspace = true\n",
        "license.workspace = true\n[lints]\nworkspace = true\n[features]\n## What it does.\nfast = []\n",
        "[dependencies]\nhttp.workspace = true\nbytes = { workspace = true, optional = true }\n",
    );

    fn found(from: &str, to: &str) -> Findings {
        assert!(SOUND.contains(from), "{from}");
        let member = Manifest::of(&SOUND.replace(from, to));
        let readme = "# a\n\n| `fast` | what it does |";
        [inheritance(&member, "1.88"), dependencies(&member), published(&member, readme)].concat()
    }

    #[test]
    fn a_sound_manifest_has_no_findings() {
        assert_eq!(found("", ""), Findings::new());
    }

    #[test]
    fn each_rule_finds_what_breaks_it() {
        for (from, to, want) in [
            ("version.workspace = true\nedition", "version = \"1\"\nedition", "`version` does not"),
            ("edition.workspace = true\n", "", "`edition` does not"),
            ("license.workspace = true\n", "license = \"MIT\"\n", "`license` does not"),
            ("rust-version.workspace = true", "rust-version = \"1.90\"", "`rust-version` does not"),
            ("[lints]\nworkspace = true", "[lints.rust]\nunused = \"allow\"", "the lints do not"),
            ("http.workspace = true", "http = \"1\"", "dependency `http`"),
            ("bytes = { workspace = true,", "bytes = { version = \"1\",", "dependency `bytes`"),
            (
                "[dependencies]",
                "[target.'cfg(unix)'.dev-dependencies]\nx = \"1\"",
                "dependency `x`",
            ),
            ("[dependencies]", "[dependencies.x]\nversion = \"1\"\n[dependencies]", "write [dep"),
            ("## What it does.\n", "# What it does.\n", "has no `##` line"),
            ("fast = []", "slow = []", "`slow` is not named"),
            ("readme = \"README.md\"\n", "", "there is no README.md"),
            ("description = \"d\"\n", "", "`description` is missing"),
        ] {
            let found = found(from, to);
            assert!(matches!(&found[..], [one] if one.contains(want)), "{want}: {found:?}");
        }
    }

    #[test]
    fn what_is_not_published_may_need_a_newer_rust_but_no_older() {
        for (version, sound) in [("1.94", true), ("1.80", false)] {
            let from = "rust-version.workspace = true";
            let to = format!("rust-version = \"{version}\"\npublish = false");
            assert_eq!(found(from, &to).is_empty(), sound, "{version}");
        }
    }
}
