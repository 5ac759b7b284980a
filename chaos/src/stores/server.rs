//! A server of a database, which may end and be started again.
use std::time::Duration;

use rustix::process::Signal;

use super::daemon::{Daemon, Program};
use super::hung::Hung;
use super::until;
use crate::failure::{Failure, Result};

/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub(super) struct Server {
    program: Program,
    running: Option<Daemon>,
}

impl Server {
    pub(super) fn new(program: Program) -> Self {
        Self { program, running: None }
    }
    /// Starts it and waits until it answers.
    pub(super) async fn start(&mut self, answers: impl AsyncFn() -> bool) -> Result {
        let Self { program, running } = self;
        let mut tries = 0;
        until(START, async || {
            let has_ended = running.as_mut().map_or(Ok(true), Daemon::has_ended)?;
            if has_ended {
                // What a killed server has left behind may be in the way for a moment.
                tries += 1;
                if tries > 20 {
                    return Err(program.failure("it ends as soon as it is started"));
                }
                *running = Some(program.start()?);
            }
            Ok(answers().await)
        })
        .await
    }
    pub(super) async fn end(&mut self, signal: Signal) -> Result {
        let mut running = self.running.take().ok_or_else(not_there)?;
        running.end(signal).await
    }
    /// It does nothing until what this gives is dropped.
    pub(super) fn hang(&self) -> Result<Hung> {
        Hung::new(self.running.as_ref().ok_or_else(not_there)?.pid())
    }
}

fn not_there() -> Failure {
    Failure::new("the server does not run")
}
