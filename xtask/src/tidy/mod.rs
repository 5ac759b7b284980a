//! Our own rules, which no other tool knows.
use crate::{Failure, Result, Workspace};

mod files;
mod manifests;
mod texts;

/// What a rule finds: where, and what is wrong there.
type Findings = Vec<String>;

/// Says everything that is wrong at once.
pub(crate) fn check(workspace: &Workspace) -> Result {
    let mut findings = manifests::check(workspace)?;
    findings.extend(texts::check(workspace)?);
    if findings.is_empty() {
        return Ok(());
    }
    for finding in &findings {
        println!("{finding}");
    }
    Err(Failure::new(format!("{} findings", findings.len())))
}
