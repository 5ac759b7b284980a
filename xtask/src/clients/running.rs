//! Programs that run beside us and say where they listen.
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::command::Cmd;
use crate::{Failure, Result};

/// How long a program may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(30);

/// A program, until this is dropped.
pub(super) struct Running {
    child: Child,
    lines: Receiver<String>,
    address: String,
}

impl Running {
    /// Starts it. What it writes to its standard error goes to the log.
    pub(super) fn start(command: &Cmd, log: &Path) -> Result<Self> {
        let mut starting = command.command();
        starting.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(log)?);
        let mut child =
            starting.spawn().map_err(|error| Failure::of(command, error.to_string()))?;
        let (sender, lines) = channel();
        let output = child.stdout.take();
        // To its end, for a program whose output nobody reads stands still at last.
        std::thread::spawn(move || {
            for line in output.into_iter().flat_map(|output| BufReader::new(output).lines()) {
                let Ok(line) = line else { return };
                // Nobody may be listening any more.
                drop(sender.send(line));
            }
        });
        Ok(Self { child, lines, address: String::new() })
    }
    /// What follows this beginning in the next line that has it; none when no such line comes.
    pub(super) fn line_with(&mut self, beginning: &str) -> Option<String> {
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            if let Some(rest) = line.strip_prefix(beginning) {
                return Some(rest.to_owned());
            }
        }
        None
    }
    /// The same, known to listen there.
    pub(super) fn at(mut self, address: String) -> Self {
        self.address = address;
        self
    }
    pub(super) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_says_what_it_says_and_is_gone_with_its_value() {
        let log = std::env::temp_dir().join(format!("xtask-running-{}.log", std::process::id()));
        let command =
            Cmd::new("sh -c").arg("echo starting; echo at 1234; echo why >&2; exec sleep 600");
        let mut running = Running::start(&command, &log).unwrap();
        assert_eq!(running.line_with("at ").as_deref(), Some("1234"));
        let pid = running.child.id();
        drop(running);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());

        let mut silent = Running::start(&Cmd::new("true"), &log).unwrap();
        assert_eq!(silent.line_with(""), None);
        std::fs::remove_file(log).unwrap();
    }
}
