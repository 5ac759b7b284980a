//! The limits of this process, which its children inherit.
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::failure::{Failure, Result};

/// Raises the number of descriptors that may be open as far as it goes, and says how far that is.
pub(crate) fn raise_descriptors() -> Result<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    Ok(limit.current.unwrap_or(u64::MAX))
}

/// An experiment that needs so many descriptors in one process cannot be made with less.
pub(crate) fn require_descriptors(needed: u64) -> Result {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    if limit >= needed {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{needed} open descriptors are needed, but the hard limit is {limit}: raise it with `ulimit -Hn {needed}` as root"
    )))
}
