//! What cargo does not bring itself.
use crate::Result;
use crate::command::{Cmd, find};
use crate::failure::Failure;

/// Installs a subcommand of cargo unless it is there.
pub(crate) fn subcommand(name: &str) -> Result {
    if has_subcommand(name) {
        return Ok(());
    }
    println!("installing cargo-{name}");
    Cmd::new("cargo install --locked").arg(format!("cargo-{name}")).run()
}

/// Whether cargo knows this subcommand.
pub(crate) fn has_subcommand(name: &str) -> bool {
    find(&format!("cargo-{name}")).is_some()
        || Cmd::new("cargo").args([name, "--version"]).succeeds()
}

/// The installed toolchain whose name begins with `channel`: `1.88` finds `1.88.0-x86_64-unknown-linux-gnu`.
pub(crate) fn toolchain(channel: &str) -> Option<String> {
    choose_toolchain(&Cmd::new("rustup toolchain list").read().ok()?, channel)
}

fn choose_toolchain(list: &str, channel: &str) -> Option<String> {
    let names = list.lines().filter_map(|line| line.split_whitespace().next());
    let mut matching = names.filter(|name| {
        name.strip_prefix(channel)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    });
    matching.next().map(str::to_owned)
}

/// Installs Debian packages. Says what to do where it cannot.
pub(crate) fn apt(packages: &[&str]) -> Result {
    let names = packages.join(" ");
    if find("apt-get").is_none() || !is_root() {
        return Err(Failure::new(format!("{names}: only root on Debian can be helped with that")));
    }
    println!("installing {names}");
    let quiet = |line: &str| Cmd::new(line).env("DEBIAN_FRONTEND", "noninteractive");
    quiet("apt-get update -qq").read()?;
    quiet("apt-get install -y -qq --no-install-recommends")
        .args(packages.iter().copied())
        .read()?;
    Ok(())
}

/// Whether the user may install packages.
pub(crate) fn is_root() -> bool {
    Cmd::new("id -u").read().is_ok_and(|id| id.trim() == "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_names_a_toolchain() {
        let list = "stable-x86_64 (active, default)\n1.88.0-x86_64\nnightly-x86_64\n";
        for (channel, want) in [
            ("1.88", Some("1.88.0-x86_64")),
            ("1.88.0", Some("1.88.0-x86_64")),
            ("1.8", None),
            ("nightly", Some("nightly-x86_64")),
            ("1.95", None),
        ] {
            assert_eq!(choose_toolchain(list, channel).as_deref(), want, "{channel}");
        }
    }
}
