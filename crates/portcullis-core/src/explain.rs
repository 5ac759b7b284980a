//! Why a request was answered as it was.
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// What each layer decided about one request, and why. Off unless asked for, and then it costs nothing.
#[derive(Debug, Default)]
pub struct Explain(Mutex<Vec<Note>>);

/// How many notes are kept of one request.
const MOST: usize = 200;

/// What one layer decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The stage of the layer, such as `authorize`.
    pub stage: &'static str,
    /// What it decided and why, without any credential.
    pub text: Cow<'static, str>,
    /// When, since the request began.
    pub after: Duration,
}

impl Explain {
    /// Adds a note. No more than 200 are kept.
    pub fn add(&self, note: Note) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if notes.len() < MOST {
            notes.push(note);
        }
    }
    /// The notes so far, in the order in which the layers decided.
    pub fn notes(&self) -> Vec<Note> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
