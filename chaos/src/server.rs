//! The server program under test, as a real process.
use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use crate::failing::backend::RECORD;
use crate::failure::{Failure, Result};
use crate::overload::backend::{AT_ONCE, MILLIS};
use crate::process::{self, Memory};

/// How long a server may take to say `ready`.
const READY: Duration = Duration::from_secs(10);
/// How much of what it said last is shown when it fails.
const LAST_LINES: usize = 20;

/// How a server is started. It may be started several times.
#[derive(Clone, Debug)]
pub(crate) struct Launch {
    program: PathBuf,
    listen: SocketAddr,
    observe: Option<SocketAddr>,
    words: Vec<String>,
    descriptors: Option<u32>,
    /// The configuration file, for a program that is told everything by one.
    config: Option<PathBuf>,
    /// What stands in it before anything else.
    head: String,
}

impl Launch {
    /// On a free port of loopback. The experiments bring more connections from one address than any user has.
    pub(crate) fn new(program: &Path) -> Result<Self> {
        let launch = Self::bare(program.to_owned())?;
        let launch = launch.option("--max-connections", "20000");
        Ok(launch.option("--max-connections-per-address", "20000"))
    }
    /// This very program as a back end, which writes requests down in `record` and answers so many of a hundred with 503.
    pub(crate) fn backend(record: &Path, failing: u32) -> Result<Self> {
        let launch = Self::bare(std::env::current_exe()?)?;
        let launch = launch.option(RECORD, record.display().to_string());
        Ok(launch.option("--failing", failing.to_string()))
    }
    /// This very program as a back end that does so many requests at once, each in so many milliseconds.
    pub(crate) fn limited(at_once: u32, millis: u32) -> Result<Self> {
        let launch = Self::bare(std::env::current_exe()?)?;
        let launch = launch.option(AT_ONCE, at_once.to_string());
        Ok(launch.option(MILLIS, millis.to_string()))
    }
    /// On a free port of loopback.
    fn bare(program: PathBuf) -> Result<Self> {
        Ok(Self {
            program,
            listen: free_address()?,
            observe: None,
            words: Vec::new(),
            descriptors: None,
            config: None,
            head: String::new(),
        })
    }
    /// A gateway with this configuration, but for its addresses, on free ports of loopback.
    pub(crate) fn gateway(program: &Path, name: &str, text: &str) -> Result<Self> {
        Self::gateway_with(program, name, "", text)
    }
    /// The same, with more about the server.
    pub(crate) fn gateway_with(program: &Path, name: &str, more: &str, text: &str) -> Result<Self> {
        let (listen, observe) = (free_address()?, free_address()?);
        let file = format!("portcullis-chaos-{}-{name}.toml", std::process::id());
        let config = std::env::temp_dir().join(file);
        let head = format!(
            "[server]\nlisten = [\"http://{listen}\"]\nobserve = \"{observe}\"\nworkers = 1\nadmin = \"unix:{}\"\n\
             max_connections = 20000\nmax_connections_per_address = 20000\n{more}\
             [telemetry]\naccess_log = \"off\"\n",
            config.with_extension("sock").display()
        );
        let launch = Self {
            program: program.to_owned(),
            listen,
            observe: Some(observe),
            words: Vec::new(),
            descriptors: None,
            config: Some(config),
            head,
        };
        launch.rewrite(text)?;
        Ok(launch)
    }
    /// Listens there besides. Say it before the first start, and write the configuration again.
    pub(crate) fn also_listening(mut self, place: &str) -> Self {
        self.head = self.head.replacen("listen = [", &format!("listen = [\"{place}\", "), 1);
        self
    }
    /// Writes the configuration anew, but for the addresses.
    pub(crate) fn rewrite(&self, text: &str) -> Result {
        let config = self.config.as_ref().ok_or_else(|| Failure::new("it has no file"))?;
        Ok(std::fs::write(config, format!("{}{text}", self.head))?)
    }
    pub(crate) fn option(mut self, name: &str, value: impl Into<String>) -> Self {
        self.words.extend([name.to_owned(), value.into()]);
        self
    }
    /// Has health and metrics told on a port of its own.
    pub(crate) fn observed(mut self) -> Result<Self> {
        self.observe = Some(free_address()?);
        Ok(self)
    }
    /// Gives the process no more than so many descriptors.
    pub(crate) fn descriptors(self, limit: u32) -> Self {
        Self { descriptors: Some(limit), ..self }
    }
    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(&self) -> Result<Server> {
        let spawned = Instant::now();
        let mut child = self.command().spawn().map_err(|error| self.not_started(&error))?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| Failure::new("the server has no process id"))?;
        let ready = child.stdout.take().map(until_ready);
        let said = child.stderr.take().map(LastLines::of).unwrap_or_default();
        let (listen, observe) = (self.listen, self.observe);
        let admin = self.config.as_ref().map(|config| config.with_extension("sock"));
        let server = Server { child, pid, listen, observe, admin, spawned, said };
        match timeout(READY, async { Some(ready?.await) }).await {
            Ok(Some(true)) => Ok(server),
            Ok(_) => Err(server.failure("ended before it was ready").await),
            Err(_) => Err(server.failure("is not ready after 10 seconds").await),
        }
    }
    fn command(&self) -> Command {
        let mut command = match self.descriptors {
            None => Command::new(&self.program),
            Some(limit) => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--nofile={limit}")).arg(&self.program);
                limited
            }
        };
        if let Some(config) = &self.config {
            command.arg("serve").arg("--config").arg(config);
        } else {
            command.arg("--listen").arg(format!("http://{}", self.listen)).args(&self.words);
            if let Some(observe) = self.observe {
                command.arg("--observe").arg(observe.to_string());
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }
    fn not_started(&self, error: &std::io::Error) -> Failure {
        Failure::new(format!("`{}` cannot be started: {error}", self.program.display()))
    }
}

/// A running server. It is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pid: Pid,
    listen: SocketAddr,
    observe: Option<SocketAddr>,
    admin: Option<PathBuf>,
    spawned: Instant,
    said: LastLines,
}

impl Server {
    /// Where it serves.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listen
    }
    /// Where it tells its health.
    pub(crate) fn observed_at(&self) -> Result<SocketAddr> {
        self.observe.ok_or_else(|| Failure::new("the server was started without `--observe`"))
    }
    /// The socket at which it is told what to do.
    pub(crate) fn admin(&self) -> Result<&Path> {
        self.admin.as_deref().ok_or_else(|| Failure::new("it has no administration"))
    }
    /// How long ago its process was made.
    pub(crate) fn age(&self) -> Duration {
        self.spawned.elapsed()
    }
    pub(crate) fn memory(&self) -> Result<Memory> {
        process::memory(self.pid)
    }
    pub(crate) fn processor_time(&self) -> Result<Duration> {
        process::processor_time(self.pid)
    }
    pub(crate) fn descriptors(&self) -> Result<u64> {
        process::descriptors(self.pid)
    }
    /// Stops it where it stands, as a machine does that hangs.
    pub(crate) fn stop(&self) -> Result {
        Ok(kill_process(self.pid, Signal::STOP)?)
    }
    /// Lets it go on.
    pub(crate) fn go_on(&self) -> Result {
        Ok(kill_process(self.pid, Signal::CONT)?)
    }
    pub(crate) fn is_running(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }
    /// Asks it to drain, unless it has ended by itself.
    pub(crate) fn terminate(&mut self) -> Result {
        // A process that has not been waited for keeps its id, so the signal cannot reach another.
        if self.is_running()? {
            kill_process(self.pid, Signal::TERM)?;
        }
        Ok(())
    }
    /// Waits until it ends. What has not ended in time is killed.
    pub(crate) async fn exit(mut self, within: Duration) -> Result<ExitStatus> {
        if let Ok(status) = timeout(within, self.child.wait()).await {
            return Ok(status?);
        }
        let what = format!("has not ended within {} seconds", within.as_secs());
        Err(self.failure(&what).await)
    }
    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> Result {
        Ok(self.child.kill().await?)
    }
    /// Kills it and says why.
    async fn failure(mut self, what: &str) -> Failure {
        let killed = self.child.kill().await.err();
        let trouble = killed.map_or_else(String::new, |error| format!(" (killing it: {error})"));
        Failure::new(format!("the server {what}{trouble}{}", self.said.text()))
    }
}

/// An address that nobody listens on.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Whether the line `ready` came. Goes on reading behind it, so that the server never waits for a full pipe.
async fn until_ready(output: impl AsyncRead + Unpin + Send + 'static) -> bool {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.trim() == "ready" {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return true;
        }
    }
    false
}

/// The last lines that a process wrote.
#[derive(Clone, Debug, Default)]
struct LastLines(Arc<Mutex<VecDeque<String>>>);

impl LastLines {
    /// Reads them as they come.
    fn of(output: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let last = Self::default();
        let kept = last.clone();
        tokio::spawn(async move {
            let mut lines = BufReader::new(output).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                kept.push(line);
            }
        });
        last
    }
    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }
    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().flat_map(|line| ["\n  ", line]).collect()
    }
}
