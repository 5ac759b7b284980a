//! The text of a file, and what is wrong with it.
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file that was read.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    /// Where files are looked for that it names.
    folder: PathBuf,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let lines = std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect();
        let folder = Path::new(name).parent().unwrap_or(Path::new("")).to_owned();
        Self { name: name.into(), folder, lines }
    }
    /// Where the file is.
    pub(crate) fn path(&self) -> &Path {
        Path::new(&*self.name)
    }
    /// A path in the file, which is relative to where the file is.
    pub(crate) fn beside(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
    /// The line of a place, from 1.
    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|begin| *begin <= at)
    }
    pub(crate) fn error(
        &self,
        span: Option<&Range<usize>>,
        place: &str,
        message: impl Into<String>,
    ) -> FileError {
        FileError {
            file: Arc::clone(&self.name),
            line: span.map(|span| self.line(span.start)),
            place: place.to_owned(),
            message: message.into(),
            hint: None,
        }
    }
}

/// One thing that is wrong with a file: where, what, and how to mend it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    file: Arc<str>,
    line: Option<usize>,
    place: String,
    message: String,
    hint: Option<String>,
}

impl FileError {
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
    /// The line, from 1, where it is known.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
    /// Which key or table, such as `upstreams.catalog.servers`.
    pub fn place(&self) -> &str {
        &self.place
    }
    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }
    /// How to mend it, where there is something to say.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.message)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "\n    hint: {hint}"))
    }
}

/// Everything that is wrong with a file, in the order of its lines.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FileErrors(Vec<FileError>);

impl FileErrors {
    pub(crate) fn push(&mut self, error: FileError) {
        if !self.0.contains(&error) {
            self.0.push(error);
        }
    }
    pub(crate) fn or<T>(mut self, value: T) -> Result<T, Self> {
        if self.0.is_empty() {
            return Ok(value);
        }
        self.0.sort_by_key(|error| error.line);
        Err(self)
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// The errors.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &FileError> {
        self.0.iter()
    }
}

impl fmt::Display for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

/// As it is displayed, since `main` shows the error that it returns by `Debug`.
impl fmt::Debug for FileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for FileErrors {}
