//! Other programs: started in the workspace, and shown in a form that can be pasted into a shell.
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::workspace::root;
use crate::{Failure, Result};

/// A command line.
#[derive(Clone, Debug)]
pub(crate) struct Cmd {
    words: Vec<String>,
    envs: Vec<(String, String)>,
    dir: PathBuf,
}

impl Cmd {
    /// A program with arguments, separated by spaces.
    pub(crate) fn new(line: &str) -> Self {
        let words = line.split_whitespace().map(str::to_owned).collect();
        Self { words, envs: Vec::new(), dir: root() }
    }
    /// Adds one argument, which may have spaces.
    pub(crate) fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }
    pub(crate) fn args<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }
    pub(crate) fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.envs.push((name.to_owned(), value.into()));
        self
    }
    /// Where it runs, in place of the root of the workspace.
    pub(crate) fn dir(self, dir: &Path) -> Self {
        Self { dir: dir.to_owned(), ..self }
    }

    /// The command for the standard library.
    pub(crate) fn command(&self) -> Command {
        let mut words = self.words.iter();
        let mut command = Command::new(words.next().map_or("true", String::as_str));
        // What cargo says about this very program is not about the programs that it starts.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name == "CARGO"
                || name.starts_with("CARGO_PKG_")
                || name.starts_with("CARGO_MANIFEST_")
            {
                command.env_remove(name);
            }
        }
        command.args(words).envs(self.envs.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.dir);
        command
    }

    /// Runs it before the eyes of the user.
    pub(crate) fn run(&self) -> Result {
        let status = self.command().status().map_err(|error| self.not_started(&error))?;
        if status.success() { Ok(()) } else { Err(Failure::of(self, self.program())) }
    }
    /// Runs it quietly, and says what it wrote to its standard output. What it wrote is shown if it fails.
    pub(crate) fn read(&self) -> Result<String> {
        let output = self.output()?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            return Err(Failure::of(self, format!("{}\n{said}", self.program())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
    /// Whether it can be run, and ends well.
    pub(crate) fn succeeds(&self) -> bool {
        self.output().is_ok_and(|output| output.status.success())
    }
    /// Runs it before the eyes of the user, and takes a warning for a failure.
    pub(crate) fn run_without_warnings(&self) -> Result {
        let mut command = self.command();
        command.env("CARGO_TERM_COLOR", "never").stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        let mut warnings = 0;
        if let Some(stderr) = child.stderr.take() {
            for line in BufReader::new(stderr).split(b'\n') {
                let line = line?;
                let line = String::from_utf8_lossy(&line);
                warnings += usize::from(line.starts_with("warning:"));
                eprintln!("{line}");
            }
        }
        if !child.wait()?.success() {
            return Err(Failure::of(self, self.program()));
        }
        if warnings > 0 {
            return Err(Failure::of(self, format!("{} warned", self.program())));
        }
        Ok(())
    }

    fn output(&self) -> Result<Output> {
        self.command().stdin(Stdio::null()).output().map_err(|error| self.not_started(&error))
    }
    fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure::of(self, format!("{} does not start: {error}", self.program()))
    }
    /// The program, and what it was asked to do.
    fn program(&self) -> String {
        let words = self.words.iter().map(String::as_str).filter(|word| !word.starts_with('+'));
        words.take(2).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let envs = self.envs.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
        let words = envs.chain(self.words.iter().map(|word| quoted(word)));
        f.write_str(&words.collect::<Vec<_>>().join(" "))
    }
}

/// The word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:+,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The program with this name, where it can be started. Servers stand in directories that users do not search.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).collect();
    dirs.extend(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    dirs.into_iter().map(|dir| dir.join(program)).find(|file| file.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let command =
            Cmd::new("cargo doc --no-deps").env("RUSTDOCFLAGS", "-D warnings").arg("it's");
        assert_eq!(
            command.to_string(),
            r"RUSTDOCFLAGS='-D warnings' cargo doc --no-deps 'it'\''s'"
        );
        assert_eq!(Cmd::new("true").arg("").to_string(), "true ''");
    }

    #[test]
    fn what_fails_is_shown_with_what_it_said() {
        let failure = Cmd::new("sh -c").arg("echo why >&2; exit 3").read().unwrap_err().to_string();
        assert_eq!(failure, "failed: sh -c\nwhy\nrepeat: sh -c 'echo why >&2; exit 3'");
        assert!(Cmd::new("no-such-program-at-all").run().is_err());
        assert!(!Cmd::new("false").succeeds() && Cmd::new("true").succeeds());
    }

    #[test]
    fn a_warning_is_a_failure_where_none_is_allowed() {
        let say = |text: &str| Cmd::new("sh -c").arg(format!("echo '{text}' >&2"));
        assert!(say("warning: no readme").run_without_warnings().is_err());
        assert!(say("   Packaged 3 files").run_without_warnings().is_ok());
    }
}
