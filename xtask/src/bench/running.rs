//! Programs that are measured from outside.
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::command::Cmd;
use crate::{Failure, Result};

/// A process on one core. It is killed when this is dropped.
pub(super) struct Running(Child);

impl Running {
    pub(super) fn start(words: &[String], core: u32) -> Result<Self> {
        let mut command = Command::new("taskset");
        command.arg("-c").arg(core.to_string()).args(words);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = command.spawn();
        Ok(Self(started.map_err(|error| Failure::new(format!("{}: {error}", words.join(" "))))?))
    }
    /// Its number.
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
    /// Ends it as an operator does, and waits until it has. What a tool runs is its child.
    pub(super) fn end(&mut self) -> Result {
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.0.id()))?;
        let child =
            children.split_whitespace().next().map_or(self.0.id().to_string(), str::to_owned);
        Cmd::new("kill -INT").arg(child).read()?;
        self.0.wait()?;
        Ok(())
    }
    /// The same of a program that is no tool around another: it ends its children by itself.
    pub(super) fn end_alone(&mut self) -> Result {
        Cmd::new("kill -INT").arg(self.0.id().to_string()).read()?;
        self.0.wait()?;
        Ok(())
    }
    /// Of all its threads.
    pub(super) fn processor_time(&self) -> Result<Duration> {
        let mut nanos = 0;
        for thread in fs::read_dir(format!("/proc/{}/task", self.0.id()))? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))?;
            nanos +=
                text.split(' ').next().and_then(|first| first.parse::<u64>().ok()).unwrap_or(0);
        }
        Ok(Duration::from_nanos(nanos))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Waits until somebody listens there.
pub(super) fn wait_for(port: u16) -> Result {
    for _ in 0..1_000 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Err(Failure::new(format!("nobody listens on port {port} after 10 s")))
}

/// The instructions of a whole run, in what callgrind wrote.
pub(super) fn total(profile: &str) -> Result<f64> {
    let total = profile.lines().find_map(|line| line.strip_prefix("summary: ")?.parse().ok());
    total.ok_or_else(|| Failure::new("callgrind said no sum"))
}
