//! The words of the command line.
use crate::{Failure, Result};

/// What of the command line is still to be read.
#[derive(Debug)]
pub(crate) struct Args(Vec<String>);

impl Args {
    pub(crate) fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self(words.into_iter().collect())
    }
    /// Takes the next word, unless it is an option.
    pub(crate) fn word(&mut self) -> Option<String> {
        let is_word = self.0.first().is_some_and(|word| !word.starts_with('-'));
        is_word.then(|| self.0.remove(0))
    }
    /// Takes an option that stands alone, and says whether it was there.
    pub(crate) fn flag(&mut self, name: &str) -> bool {
        let at = self.0.iter().position(|word| word == name);
        at.map(|at| self.0.remove(at)).is_some()
    }
    /// Takes an option and the value behind it.
    pub(crate) fn option(&mut self, name: &str) -> Result<Option<String>> {
        let Some(at) = self.0.iter().position(|word| word == name) else { return Ok(None) };
        let taken: Vec<String> = self.0.drain(at..self.0.len().min(at + 2)).collect();
        match taken.into_iter().nth(1) {
            Some(value) => Ok(Some(value)),
            None => Err(Failure::new(format!("`{name}` needs a value"))),
        }
    }
    /// Everything must have been read.
    pub(crate) fn end(self) -> Result {
        match self.0.first() {
            Some(word) => Err(Failure::new(format!("unexpected `{word}`"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn words_flags_and_options_stand_in_any_order() {
        let mut args = args("fuzz --seconds 5 --list target");
        assert_eq!(args.word().as_deref(), Some("fuzz"));
        assert_eq!(args.word(), None);
        assert_eq!(args.option("--seconds").unwrap().as_deref(), Some("5"));
        assert!(args.flag("--list") && !args.flag("--list"));
        assert_eq!(args.word().as_deref(), Some("target"));
        args.end().unwrap();
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        assert!(args("--only").option("--only").is_err());
        assert!(args("more").end().is_err());
    }
}
