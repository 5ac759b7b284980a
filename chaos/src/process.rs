//! What the kernel knows of a process.
use std::time::Duration;

use rustix::param::clock_ticks_per_second;
use rustix::process::Pid;

use crate::failure::{Failure, Result};

/// The memory of a process, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What is resident now.
    pub(crate) now: u64,
    /// The most that has been resident.
    pub(crate) peak: u64,
}

pub(crate) fn memory(pid: Pid) -> Result<Memory> {
    let status = read(pid, "status")?;
    let field = |name| kilobytes_of(&status, name).ok_or_else(|| unreadable("status"));
    Ok(Memory { now: field("VmRSS:")? * 1024, peak: field("VmHWM:")? * 1024 })
}

/// How long the process has been on a processor, in user and kernel mode.
pub(crate) fn processor_time(pid: Pid) -> Result<Duration> {
    let ticks = ticks_of(&read(pid, "stat")?).ok_or_else(|| unreadable("stat"))?;
    Ok(Duration::from_millis(ticks * 1000 / clock_ticks_per_second().max(1)))
}

/// How many descriptors it has open.
pub(crate) fn descriptors(pid: Pid) -> Result<u64> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))?;
    Ok(entries.map(|_| 1).sum())
}

fn read(pid: Pid, file: &str) -> Result<String> {
    Ok(std::fs::read_to_string(format!("/proc/{}/{file}", pid.as_raw_nonzero()))?)
}

fn unreadable(file: &str) -> Failure {
    Failure::new(format!("`{file}` of the process cannot be read; has it ended?"))
}

fn kilobytes_of(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The sum of `utime` and `stime`, fields 14 and 15. The second field is a name that may have spaces and brackets.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, behind_name) = stat.rsplit_once(") ")?;
    let mut fields = behind_name.split(' ').skip(11).map(str::parse::<u64>);
    Some(fields.next()?.ok()? + fields.next()?.ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_it_stands() {
        let status = "Name:\tserver\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";
        assert_eq!(kilobytes_of(status, "VmRSS:"), Some(1024));
        assert_eq!(kilobytes_of(status, "VmHWM:"), Some(2048));
        assert_eq!(kilobytes_of("Name:\tgone\n", "VmRSS:"), None);
    }

    #[test]
    fn the_name_of_a_process_may_be_anything() {
        let stat = "12 (a) (b c) S 1 2 3 4 5 6 7 8 9 10 30 12 0 0 20 0";
        assert_eq!(ticks_of(stat), Some(42));
        assert_eq!(ticks_of("12 (a) S 1 2"), None);
    }
}
