//! What is wrong with policies, a schema or entities, and where.
use std::error::Error;

use miette::Diagnostic;
use portcullis_core::ConfigError;

/// One fault in a text.
pub(super) fn fault(what: &str, text: &str, fault: &(impl Diagnostic + ?Sized)) -> ConfigError {
    let at = fault.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let place = match at.and_then(|at| text.get(..at)) {
        Some(before) => {
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            format!("{what}, line {line}, column {column}")
        }
        None => what.to_owned(),
    };
    let mut message = whole(fault.to_string(), fault.source());
    if let Some(help) = fault.help() {
        message.push_str(": ");
        message.push_str(&help.to_string());
    }
    ConfigError::new(place, message)
}

/// What an error says, and what those behind it say.
pub(super) fn whole(mut text: String, mut behind: Option<&dyn Error>) -> String {
    while let Some(error) = behind {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        behind = error.source();
    }
    text
}
