//! What a program and all that it has started take: processor time and memory.
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use crate::Result;

/// The process and all below it.
fn family(process: u32) -> Result<Vec<u32>> {
    let mut all = vec![process];
    let mut at = 0;
    while let Some(parent) = all.get(at) {
        for thread in fs::read_dir(format!("/proc/{parent}/task"))? {
            let children = fs::read_to_string(thread?.path().join("children")).unwrap_or_default();
            all.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
        at += 1;
    }
    Ok(all)
}

/// In user space and in the kernel, in nanoseconds rather than in the ticks of `/proc/PID/stat`.
pub(super) fn processor_time(process: u32) -> Result<Duration> {
    let mut nanos = 0;
    for process in family(process)? {
        for thread in fs::read_dir(format!("/proc/{process}/task"))? {
            let text = fs::read_to_string(thread?.path().join("schedstat")).unwrap_or_default();
            let first = text.split(' ').next().and_then(|first| first.parse::<u64>().ok());
            nanos += first.unwrap_or(0);
        }
    }
    Ok(Duration::from_nanos(nanos))
}

/// The bytes that are in memory, those that are shared with other processes included.
pub(super) fn resident(process: u32) -> Result<f64> {
    let mut all = 0.0;
    for process in family(process)? {
        all += resident_in(&fs::read_to_string(format!("/proc/{process}/status"))?);
    }
    Ok(all)
}

fn resident_in(status: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok());
    kib.map_or(0.0, |kib| kib * 1024.0)
}

/// The bytes of the blocks of all files below a folder; none where there is no such folder.
pub(super) fn files(folder: &Path) -> Result<f64> {
    use std::os::unix::fs::MetadataExt;
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0.0),
        entries => entries?,
    };
    let mut blocks = 0.0;
    for entry in entries {
        let entry = entry?;
        let about = entry.metadata()?;
        if about.is_dir() {
            blocks += files(&entry.path())?;
        } else {
            // Blocks of 512 bytes, whatever the file system's own are.
            blocks += f64::from(u32::try_from(about.blocks()).unwrap_or(u32::MAX)) * 512.0;
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_family_has_its_children() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let family = family(std::process::id()).unwrap();
        assert!(family.contains(&std::process::id()) && family.contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn memory_is_read_where_it_stands() {
        let status = "Name:\tnginx\nVmSize:\t   999 kB\nVmRSS:\t    12 kB\n";
        assert!((resident_in(status) - 12_288.0).abs() < f64::EPSILON);
        assert!(resident(std::process::id()).unwrap() > 100_000.0);
    }
}
