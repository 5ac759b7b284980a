//! Processes that are stopped for a while.
use rustix::process::{Pid, Signal, kill_process};

use crate::failure::Result;

/// Stopped processes, which go on when this is dropped.
#[derive(Debug)]
pub(crate) struct Hung(Vec<Pid>);

impl Hung {
    /// Stops a process, and those that it has started.
    pub(super) fn new(pid: Pid) -> Result<Self> {
        let mut hung = Self(Vec::new());
        // First, so that it starts no more of them. It waits for none of them meanwhile either, so their ids stay theirs.
        hung.stop(pid)?;
        for child in children(pid)? {
            hung.stop(child)?;
        }
        Ok(hung)
    }
    fn stop(&mut self, pid: Pid) -> Result {
        kill_process(pid, Signal::STOP)?;
        self.0.push(pid);
        Ok(())
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        for pid in &self.0 {
            _ = kill_process(*pid, Signal::CONT);
        }
    }
}

fn children(of: Pid) -> Result<Vec<Pid>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let path = entry?.path();
        let pid = path.file_name().and_then(|name| name.to_str()?.parse().ok());
        let Some(pid) = pid.and_then(Pid::from_raw) else { continue };
        // One that has ended in this moment is nobody's child.
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        if parent(&stat) == Some(of) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// The fourth field. The second one is a name that may have spaces and brackets.
fn parent(stat: &str) -> Option<Pid> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    Pid::from_raw(behind_name.split(' ').nth(1)?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_read_where_it_stands() {
        assert_eq!(parent("12 (a) (b c) S 7 2 3"), Pid::from_raw(7));
        assert_eq!(parent("12 (a) S 0 2 3"), None);
        assert_eq!(parent(""), None);
    }
}
