//! The command line.
use std::path::PathBuf;

use crate::experiment::Experiment;
use crate::failure::{Failure, Result};

pub(crate) const USAGE: &str = "usage: portcullis-chaos --server PROGRAM [--gateway PROGRAM] [--write FILE] [--note TEXT] restart|slow|floods|faults|gateway|failing|reload|upgrade|stores|overload|limits|all";

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Options {
    /// The server program under test.
    pub(crate) server: PathBuf,
    /// The gateway program under test, where an experiment needs one.
    pub(crate) gateway: Option<PathBuf>,
    /// The file between whose marks the figures go.
    pub(crate) write: Option<PathBuf>,
    /// A line below the figures: the machine and the command.
    pub(crate) note: String,
    pub(crate) experiments: Vec<Experiment>,
}

impl Options {
    pub(crate) fn read(words: impl IntoIterator<Item = String>) -> Result<Self> {
        let (mut server, mut gateway, mut write, mut note) = (None, None, None, String::new());
        let mut experiments = Vec::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let mut value =
                || words.next().ok_or_else(|| Failure::new(format!("`{word}` needs a value")));
            match word.as_str() {
                "--server" => server = Some(PathBuf::from(value()?)),
                "--gateway" => gateway = Some(PathBuf::from(value()?)),
                "--write" => write = Some(PathBuf::from(value()?)),
                "--note" => note = value()?,
                "all" => experiments.extend(Experiment::ALL),
                name => experiments.push(Experiment::named(name).ok_or_else(|| unknown(name))?),
            }
        }
        match server {
            Some(server) if !experiments.is_empty() => {
                Ok(Self { server, gateway, write, note, experiments })
            }
            _ => Err(Failure::new(USAGE)),
        }
    }
}

fn unknown(word: &str) -> Failure {
    Failure::new(format!("there is no experiment `{word}`\n{USAGE}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options> {
        Options::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn options_and_names_stand_in_any_order() {
        let options =
            read("restart --server a/b --gateway g --write c.md floods --note hello").unwrap();
        assert_eq!(options.server, PathBuf::from("a/b"));
        assert_eq!(options.gateway, Some(PathBuf::from("g")));
        assert_eq!(options.write, Some(PathBuf::from("c.md")));
        assert_eq!(options.note, "hello");
        assert_eq!(options.experiments, [Experiment::Restart, Experiment::Floods]);
        assert_eq!(read("--server a all").unwrap().experiments, Experiment::ALL);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for line in ["", "restart", "--server a", "--server a nothing", "--server", "--port 1"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
