//! A process that never outlives this one's interest in it.
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::failed;
use crate::failure::{Failure, Result};

/// How long a process may take to end.
const END: Duration = Duration::from_secs(10);

/// How a program is started. Databases refuse to run as root, so each has an account.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    words: Vec<String>,
    account: &'static str,
    log: PathBuf,
    /// What makes it end at once, and whatever it has started with it.
    quit: Signal,
}

impl Program {
    pub(super) fn new(path: PathBuf, account: &'static str, log: &Path, quit: Signal) -> Self {
        Self { path, words: Vec::new(), account, log: log.to_owned(), quit }
    }
    pub(super) fn words(mut self, words: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }
    /// By way of `setpriv`, which becomes the program: its process id is the program's. The kernel kills it when this process dies without a word.
    fn command(&self) -> Result<Command> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", if self.quit == Signal::QUIT { "QUIT" } else { "KILL" }]);
        if geteuid().is_root() && !self.account.is_empty() {
            let (user, group) = (self.account, self.account);
            command.args([format!("--reuid={user}"), format!("--regid={group}")]);
            command.arg("--init-groups");
        }
        command.arg("--").arg(&self.path).args(&self.words).current_dir("/");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        Ok(command)
    }
    /// Runs it to its end.
    pub(super) async fn run(&self) -> Result {
        let status = self.command()?.status().await.map_err(|error| self.not_started(&error))?;
        if status.success() { Ok(()) } else { Err(self.failure(&status.to_string())) }
    }
    pub(super) fn start(&self) -> Result<Daemon> {
        let child = self.command()?.spawn().map_err(|error| self.not_started(&error))?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| Failure::new("the process has no id"))?;
        Ok(Daemon { child, pid, quit: self.quit })
    }
    fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure::new(format!("`{}` by `setpriv`: {error}", self.path.display()))
    }
    /// With the last that it said.
    pub(super) fn failure(&self, what: &str) -> Failure {
        let said = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = said.lines().rev().take(20).collect();
        let lines: String = lines.iter().rev().flat_map(|line| ["\n  ", line]).collect();
        Failure::new(format!("`{}`: {what}{lines}", self.path.display()))
    }
}

/// A process that runs in the background.
#[derive(Debug)]
pub(super) struct Daemon {
    child: Child,
    pid: Pid,
    quit: Signal,
}

impl Daemon {
    pub(super) fn pid(&self) -> Pid {
        self.pid
    }
    pub(super) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }
    /// Sends a signal and waits until the process has ended.
    pub(super) async fn end(&mut self, signal: Signal) -> Result {
        // A process that has not been waited for keeps its id, so the signal cannot reach another.
        if !self.has_ended()? {
            kill_process(self.pid, signal)?;
        }
        timeout(END, self.child.wait()).await.map_err(failed)??;
        Ok(())
    }
}

impl Drop for Daemon {
    /// Waits a little, so that nobody writes where the data is taken away.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        _ = kill_process(self.pid, self.quit);
        for _ in 0..300 {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.start_kill());
    }
}

/// Where a program is. Those for administrators are not on everybody's path.
pub(super) fn found(name: &str, more: impl IntoIterator<Item = PathBuf>) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = more.into_iter().chain(std::env::split_paths(&path)).chain(["/usr/sbin".into()]);
    let mut files = dirs.map(|dir| dir.join(name)).filter(|file| file.is_file());
    files.next().ok_or_else(|| Failure::new(format!("`{name}` is not installed")))
}

/// A place for data, which is gone with this value, and for a log beside it.
#[derive(Debug)]
pub(super) struct Place(PathBuf);

impl Place {
    /// Nothing is there yet: who needs it makes it, and owns it then.
    pub(super) fn new(name: &str) -> Self {
        let name = format!("portcullis-chaos-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
    pub(super) fn dir(&self) -> &Path {
        &self.0
    }
    pub(super) fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
    pub(super) fn log(&self) -> PathBuf {
        self.0.with_extension("log")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
        drop(std::fs::remove_file(self.log()));
    }
}
