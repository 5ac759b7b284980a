//! One fault under load.
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::load::Load;
use super::outcome::{Outcome, Times};
use crate::report::Report;

/// How long the load goes on before the fault, and behind it.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_secs(4);

pub(super) struct Trial {
    begin: Instant,
    fault: Instant,
    load: Load,
}

impl Trial {
    pub(super) async fn begin(gateways: &[SocketAddr]) -> Self {
        let load = Load::start(gateways);
        let begin = Instant::now();
        sleep(BEFORE).await;
        Self { begin, fault: Instant::now(), load }
    }
    /// Redis answers again now. It surely did not from the one time of `away` to the other; without, that was too short to say anything about.
    pub(super) async fn end(
        self,
        what: &str,
        away: Option<(Instant, Instant)>,
        forgets: bool,
        report: &mut Report,
    ) {
        let (begin, fault, back) = (self.begin, self.fault, Instant::now());
        sleep(AFTER).await;
        let times = Times { begin, fault, away, forgets, back, end: Instant::now() };
        eprintln!("{what}");
        Outcome::of(&self.load.stop().await, &times).judge(what, report);
    }
}
