//! Why it stopped, and how to see it again.
use std::fmt;

use crate::command::Cmd;

pub(crate) type Result<T = ()> = std::result::Result<T, Failure>;

/// What went wrong, and the command that shows it again.
#[derive(Debug)]
pub(crate) struct Failure {
    what: String,
    repeat: Option<String>,
}

impl Failure {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), repeat: None }
    }
    pub(crate) fn of(command: &Cmd, what: impl Into<String>) -> Self {
        Self { what: what.into(), repeat: Some(command.to_string()) }
    }
    /// The same failure, as a part of a larger one.
    pub(crate) fn within(self, whole: impl fmt::Display) -> Self {
        Self { what: format!("{whole}: {}", self.what), ..self }
    }
    /// Several failures as one.
    pub(crate) fn join(failures: &[Self]) -> Self {
        let all: Vec<String> = failures.iter().map(Self::text).collect();
        Self::new(all.join("\n"))
    }
    fn text(&self) -> String {
        match &self.repeat {
            Some(command) => format!("{}\nrepeat: {command}", self.what),
            None => self.what.clone(),
        }
    }
    /// Names the command to repeat, unless it is known already.
    pub(crate) fn repeat(mut self, command: impl Into<String>) -> Self {
        self.repeat.get_or_insert(command.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed: {}", self.text())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(error.to_string())
    }
}
