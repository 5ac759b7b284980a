//! A server of a test's own, which may be stopped, killed and asked for everything it has done.
use std::collections::HashMap;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;

/// It ends with the test.
pub(crate) struct OwnServer {
    child: Child,
    port: u16,
    dir: PathBuf,
    words: &'static [&'static str],
}

impl OwnServer {
    /// Starts a server with these words besides, and waits until it answers.
    pub(crate) async fn start(words: &'static [&'static str]) -> Self {
        // Somebody else may take it before the server does, and is not likely to.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir =
            std::env::temp_dir().join(format!("portcullis-redis-{port}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let own = Self { child: spawn(port, &dir, words), port, dir, words };
        own.is_there().await;
        own
    }
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
    /// Waits until it answers.
    async fn is_there(&self) {
        let there = async {
            loop {
                let client = redis::Client::open(self.url()).unwrap();
                if let Ok(mut connection) = client.get_multiplexed_async_connection().await
                    && redis::cmd("INFO").exec_async(&mut connection).await.is_ok()
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let there = tokio::time::timeout(Duration::from_secs(10), there).await;
        there.expect("`redis-server` is installed and answers: `cargo xtask services`");
    }
    /// A connection beside the one of a store.
    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        connection(&self.url()).await
    }
    /// What a command with these words says.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut self.connection().await).await.unwrap()
    }
    /// How often each command was given, by whomever, scripts included.
    async fn all_calls(&self) -> HashMap<String, u64> {
        let info: String = self.ask(&["INFO", "commandstats"]).await;
        let lines = info.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().unwrap()))
        });
        lines.collect()
    }
    pub(crate) async fn calls(&self, command: &str) -> u64 {
        self.all_calls().await.get(command).copied().unwrap_or_default()
    }
    /// How often quotas have asked the server since its scripts were there: fails unless a script is all they asked it, but for connecting. `asked` are the times it was asked
    /// for the time by a test.
    pub(crate) async fn round_trips(&self, asked: u64) -> u64 {
        let all = self.all_calls().await;
        let scripts = all.get("evalsha").copied().unwrap_or_default();
        let known = ["client|setinfo", "evalsha", "info", "mget", "script|load", "set", "time"];
        assert!(all.keys().all(|name| known.contains(&name.as_str())), "{all:?}");
        for (once_in_a_script, besides) in [("mget", 0), ("time", asked)] {
            assert_eq!(all.get(once_in_a_script), Some(&(scripts + besides)), "{all:?}");
        }
        scripts
    }
    pub(crate) async fn micros(&self) -> u64 {
        micros(&self.url()).await
    }
    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }
    pub(crate) fn stop(&self) {
        self.signal("-STOP");
    }
    pub(crate) fn go_on(&self) {
        self.signal("-CONT");
    }
    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
    /// Starts it again, at the same port and with nothing in it.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.port, &self.dir, self.words);
        self.is_there().await;
    }
}

async fn connection(url: &str) -> MultiplexedConnection {
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

/// A server's time in microseconds.
pub(crate) async fn micros(url: &str) -> u64 {
    let time = redis::cmd("TIME").query_async(&mut connection(url).await).await;
    let (seconds, micros): (u64, u64) = time.unwrap();
    seconds * 1_000_000 + micros
}

fn spawn(port: u16, dir: &std::path::Path, words: &[&str]) -> Child {
    let mut server = Command::new("redis-server");
    server.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""]);
    server.args(["--appendonly", "no", "--dir"]).arg(dir).args(words);
    let quiet = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.spawn().expect("`redis-server` is installed: `cargo xtask services`")
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(std::fs::remove_dir_all(&self.dir));
    }
}
