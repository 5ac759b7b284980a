//! Faults: handlers that panic, descriptors that run out, and a start from nothing.
use std::path::Path;

use crate::failure::{Failure, Result};
use crate::report::Report;

mod cold_start;
mod descriptors;
mod panics;

pub(crate) async fn run(program: &Path) -> Result<Report> {
    let mut report = Report::figures();
    let within = |part: &'static str| move |failure| Failure::new(format!("{part}: {failure}"));
    panics::run(program, &mut report).await.map_err(within("panics"))?;
    descriptors::run(program, &mut report).await.map_err(within("descriptors"))?;
    cold_start::run(program, &mut report).await.map_err(within("cold start"))?;
    Ok(report)
}
