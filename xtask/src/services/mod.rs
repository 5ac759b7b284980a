//! `cargo xtask services`: the servers that tests talk to answer on loopback.
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::Duration;

use crate::command::{Cmd, find};
use crate::{Failure, Result, tools};

mod probe;
mod start;

use probe::Answer;

/// A server, and the port at which tests expect it.
pub(crate) struct Service {
    name: &'static str,
    port: u16,
    /// The account that tests use.
    account: &'static str,
    /// The Debian packages that bring it.
    packages: &'static [&'static str],
    /// Its name as a service of the operating system.
    system: &'static str,
    probe: fn(&mut TcpStream) -> io::Result<Answer>,
    /// Where its program is, when it is installed.
    program: fn() -> Option<PathBuf>,
    start: fn(&start::Place) -> Result,
}

const SERVICES: [Service; 3] = [
    Service {
        name: "PostgreSQL",
        port: 5432,
        account: "user postgres without a password",
        packages: &["postgresql"],
        system: "postgresql",
        probe: probe::postgresql,
        program: start::postgresql_program,
        start: start::postgresql,
    },
    Service {
        name: "MariaDB",
        port: 3306,
        account: "user root without a password",
        packages: &["mariadb-server"],
        system: "mariadb",
        probe: probe::mariadb,
        program: start::mariadb_program,
        start: start::mariadb,
    },
    Service {
        name: "Redis",
        port: 6379,
        account: "no password",
        packages: &["redis-server"],
        system: "redis-server",
        probe: probe::redis,
        program: start::redis_program,
        start: start::redis,
    },
];

/// How often we ask a server that was started, and how long we wait in between.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) fn main() -> Result {
    let mut failures = Vec::new();
    for service in &SERVICES {
        match service.provide() {
            Ok(how) => println!("{service}: {how}"),
            Err(failure) => failures.push(failure.within(service)),
        }
    }
    // Tests give a process another clock by it.
    if find("faketime").is_none()
        && let Err(failure) = tools::apt(&["faketime"])
    {
        failures.push(failure);
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::join(&failures)) }
}

impl Service {
    /// Makes it answer, and says what was done for that.
    fn provide(&self) -> Result<&'static str> {
        match self.ask() {
            Answer::Ready => return Ok("is running"),
            // A server of somebody's, which is not ours to change.
            Answer::Refuses(why) => return Err(self.refused(&why)),
            Answer::Nothing => {}
        }
        let is_installed = (self.program)().is_some();
        if !is_installed {
            tools::apt(self.packages).map_err(|failure| self.wanted(failure))?;
            // Debian may have started it with an account that tests cannot use. It was not there before.
            if !matches!(self.ask(), Answer::Nothing) {
                Cmd::new("service").args([self.system, "stop"]).read()?;
            }
        }
        (self.start)(&start::Place::of(self.system, self.port))?;
        for _ in 0..TRIES {
            match self.ask() {
                Answer::Ready if is_installed => return Ok("was started"),
                Answer::Ready => return Ok("was installed and started"),
                Answer::Refuses(why) => return Err(self.refused(&why)),
                Answer::Nothing => sleep(PAUSE),
            }
        }
        Err(Failure::new("was started and does not answer"))
    }

    /// What answers at the port.
    fn ask(&self) -> Answer {
        probe::ask(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)), self.probe)
    }
    fn wanted(&self, failure: Failure) -> Failure {
        failure.within(format!("install it, or start one that lets tests in ({})", self.account))
    }
    fn refused(&self, why: &str) -> Failure {
        Failure::new(format!(
            "something answers, but not to us: {why}\n  stop it, or let tests in: {}",
            self.account
        ))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on 127.0.0.1:{}", self.name, self.port)
    }
}
