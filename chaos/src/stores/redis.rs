//! Redis, which writes each change to its file before it answers.
use std::net::SocketAddr;
use std::time::Duration;

use portcullis_redis::RedisSessions;
use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::daemon::{Place, Program, found};
use super::hung::Hung;
use super::trial::Trial;
use super::{App, KILLS, LOOK, OUTAGE, Server, failed};
use crate::failure::{Failure, Result};
use crate::report::Report;
use crate::server::free_address;

/// How long a command may take.
const COMMAND: Duration = Duration::from_secs(2);
const PASSWORD: &str = "chaos";

pub(super) async fn run(report: &mut Report) -> Result {
    let mut redis =
        Redis::open("redis", &["--appendonly", "yes", "--appendfsync", "always"]).await?;
    let store = RedisSessions::connect(&redis.url(), "chaos").await.map_err(failed)?;
    let app = App::open(store)?;

    for (signal, what) in [(Signal::TERM, "is stopped"), (Signal::KILL, "is killed")] {
        let trial = Trial::begin(&app).await?;
        redis.end(signal).await?;
        // So long that a client which waits longer and longer between its tries is found.
        sleep(LOOK).await;
        redis.start().await?;
        trial.end(&format!("Redis {what}"), COMMAND, true, report).await?;
    }

    let trial = Trial::begin(&app).await?;
    let mut own = redis.connect().await?;
    for _ in 0..KILLS.0 {
        own.kill_others().await?;
        sleep(KILLS.1).await;
    }
    let what = "Redis: its connection is killed, ten times";
    trial.end(what, COMMAND, false, report).await?;

    let trial = Trial::begin(&app).await?;
    own.ask("CONFIG SET maxclients 1").await?;
    own.kill_others().await?;
    sleep(COMMAND + OUTAGE).await;
    own.ask("CONFIG SET maxclients 1000").await?;
    trial.end("Redis takes no connection", COMMAND, true, report).await?;

    let trial = Trial::begin(&app).await?;
    own.ask("CONFIG SET requirepass other").await?;
    own.kill_others().await?;
    sleep(COMMAND + OUTAGE).await;
    own.ask(&format!("CONFIG SET requirepass {PASSWORD}")).await?;
    trial.end("Redis has another password", COMMAND, true, report).await?;
    drop(own);

    let trial = Trial::begin(&app).await?;
    let hung = redis.hang()?;
    sleep(LOOK).await;
    drop(hung);
    trial.end("Redis hangs", COMMAND, true, report).await
}

/// A server on a free port, with its data in a directory of its own.
#[derive(Debug)]
pub(crate) struct Redis {
    // First, so that it has ended when its place is taken away.
    server: Server,
    address: SocketAddr,
    _place: Place,
}

impl Redis {
    /// Starts one, with these words on its command line besides, and waits until it answers.
    pub(crate) async fn open(name: &str, words: &[&str]) -> Result<Self> {
        let (place, address) = (Place::new(name), free_address()?);
        std::fs::create_dir(place.dir())?;
        let program = Program::new(found("redis-server", [])?, "", &place.log(), Signal::KILL);
        let port = address.port().to_string();
        let program = program.words(["--bind", "127.0.0.1", "--port", &port, "--save", ""]);
        let program = program.words(["--requirepass", PASSWORD]).words(words.iter().copied());
        let server = Server::new(program.words(["--dir".to_owned(), place.file("")]));
        let mut redis = Self { server, address, _place: place };
        redis.start().await?;
        Ok(redis)
    }
    pub(crate) async fn start(&mut self) -> Result {
        let address = self.address;
        self.server.start(async || answers(address).await).await
    }
    pub(crate) async fn end(&mut self, signal: Signal) -> Result {
        self.server.end(signal).await
    }
    /// It does nothing until what this gives is dropped.
    pub(crate) fn hang(&self) -> Result<Hung> {
        self.server.hang()
    }
    pub(crate) async fn connect(&self) -> Result<Own> {
        Own::open(self.address).await
    }
    pub(crate) fn url(&self) -> String {
        format!("redis://:{PASSWORD}@{}", self.address)
    }
}

async fn answers(address: SocketAddr) -> bool {
    let asked = async { Own::open(address).await?.ask("PING").await };
    asked.await.is_ok_and(|said| said == "+PONG")
}

/// A connection of our own.
pub(crate) struct Own(BufReader<TcpStream>);

impl Own {
    async fn open(address: SocketAddr) -> Result<Self> {
        let mut own = Self(BufReader::new(TcpStream::connect(address).await?));
        own.ask(&format!("AUTH {PASSWORD}")).await?;
        Ok(own)
    }
    /// The first line of the answer to a command.
    pub(crate) async fn ask(&mut self, command: &str) -> Result<String> {
        let exchange = async {
            self.0.write_all(format!("{command}\r\n").as_bytes()).await?;
            let mut line = String::new();
            self.0.read_line(&mut line).await?;
            Result::Ok(line.trim_end().to_owned())
        };
        let line = timeout(COMMAND, exchange).await.map_err(failed)??;
        if line.is_empty() || line.starts_with('-') {
            return Err(Failure::new(format!("`{command}` is answered `{line}`")));
        }
        Ok(line)
    }
    async fn kill_others(&mut self) -> Result {
        let killed = self.ask("CLIENT KILL TYPE normal SKIPME yes").await?;
        if killed == ":0" { Err(Failure::new("there is no connection to kill")) } else { Ok(()) }
    }
}
