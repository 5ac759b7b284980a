//! What stands on the command line.
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use portcullis::Readiness;
use portcullis::server::{Admin, Limits, Server, Tls};
use portcullis::telemetry::{Metrics, Operations};

/// What can be asked for.
pub const USAGE: &str = "\
frontdoor [--listen http://127.0.0.1:8080]... [--cert FILE --key FILE] [--observe ADDRESS]
          [--admin unix:/PATH] [--handover PATH]
          [--workers N]   0: one runtime for all; otherwise a single-threaded one for each worker
          [--drain SECONDS] [--linger SECONDS] [--header-timeout SECONDS] [--idle-timeout SECONDS]
          [--body-idle SECONDS] [--write-idle SECONDS] [--max-connections N] [--max-connections-per-address N]";

/// The command line, read.
#[derive(Debug, Default)]
pub struct Options {
    listen: Vec<String>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    observe: Option<String>,
    admin: Option<String>,
    handover: Option<PathBuf>,
    limits: Limits,
    /// How many workers; none is one runtime for all.
    pub workers: Option<NonZeroUsize>,
}

impl Options {
    /// Reads the words behind the program's name.
    ///
    /// # Errors
    /// Which word is wrong.
    pub fn read(words: impl IntoIterator<Item = String>) -> Result<Self, String> {
        let mut options = Self::default();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value\n{USAGE}"))?;
            options = options.with(&word, value)?;
        }
        Ok(options)
    }

    fn with(mut self, word: &str, value: String) -> Result<Self, String> {
        let number = || {
            let number: Result<usize, _> = value.parse();
            number.map_err(|error| format!("`{word} {value}`: {error}"))
        };
        let seconds = || number().map(|seconds| Duration::from_secs(seconds as u64));
        let limits = self.limits.clone();
        match word {
            "--listen" => self.listen.push(value),
            "--cert" => self.cert = Some(value.into()),
            "--key" => self.key = Some(value.into()),
            "--observe" => self.observe = Some(value),
            "--admin" => self.admin = Some(value),
            "--handover" => self.handover = Some(value.into()),
            "--workers" => self.workers = NonZeroUsize::new(number()?),
            "--drain" => self.limits = limits.drain(seconds()?),
            "--linger" => self.limits = limits.linger(seconds()?),
            "--header-timeout" => self.limits = limits.header_time(seconds()?),
            "--idle-timeout" => self.limits = limits.idle_time(seconds()?),
            "--body-idle" => self.limits = limits.body_idle(seconds()?),
            "--write-idle" => self.limits = limits.write_idle(seconds()?),
            "--max-connections" => self.limits = limits.connections(number()?),
            "--max-connections-per-address" => {
                self.limits = limits.connections_per_address(number()?);
            }
            _ => return Err(format!("there is no `{word}`\n{USAGE}")),
        }
        Ok(self)
    }

    /// The server that they describe.
    ///
    /// # Errors
    /// What is wrong with the certificate.
    pub fn server(self) -> Result<Server, Box<dyn std::error::Error>> {
        let mut listen = self.listen.into_iter();
        let mut server = Server::bind(listen.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned()));
        for listen in listen {
            server = server.listen(listen);
        }
        let mut admin = Admin::new(server.handle(), server.stats());
        if let (Some(cert), Some(key)) = (self.cert, self.key) {
            let tls = Tls::new().certificate(cert, key).build()?;
            admin = admin.tls(tls.clone());
            server = server.tls(tls);
        }
        if let Some(place) = self.admin {
            server = server.admin(place, admin);
        }
        if let Some(path) = self.handover {
            server = server.handover(path);
        }
        let readiness = Readiness::new();
        if let Some(observe) = self.observe {
            let metrics = Metrics::default().with_source(server.stats());
            let operations = Operations::new().readiness(readiness.clone()).metrics(metrics);
            server = server.side(observe, operations);
        }
        if let Some(workers) = self.workers {
            server = server.workers(workers);
        }
        Ok(server.limits(self.limits).readiness(readiness).drain_on_signals())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_word_is_named() {
        let read = |line: &str| Options::read(line.split_whitespace().map(str::to_owned));
        assert!(read("--listen 127.0.0.1:0 --workers 2 --drain 5").is_ok());
        for (line, want) in
            [("--lisen x", "--lisen"), ("--drain", "needs a value"), ("--drain x", "--drain x")]
        {
            assert!(read(line).unwrap_err().contains(want), "{line}");
        }
    }
}
