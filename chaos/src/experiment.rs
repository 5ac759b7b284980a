//! The experiments by name.
use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::report::Report;
use crate::{faults, floods, gateway, restart, slow};

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Experiment {
    Restart,
    Slow,
    Floods,
    Faults,
    Gateway,
}

impl Experiment {
    pub(crate) const ALL: [Self; 5] =
        [Self::Restart, Self::Slow, Self::Floods, Self::Faults, Self::Gateway];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|experiment| experiment.name() == name)
    }
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Slow => "slow",
            Self::Floods => "floods",
            Self::Faults => "faults",
            Self::Gateway => "gateway",
        }
    }
    /// After this time it is given up, whatever it waits for.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Restart => 420,
            Self::Slow | Self::Gateway => 240,
            Self::Floods => 300,
            Self::Faults => 120,
        })
    }
    /// Makes the experiment. Dropping the future kills every process that it has started.
    pub(crate) async fn run(self, server: &Path, gateway: Option<&Path>) -> Result<Report> {
        let work = async {
            match self {
                Self::Restart => restart::run(server).await,
                Self::Slow => slow::run(server).await,
                Self::Floods => floods::run(server).await,
                Self::Faults => faults::run(server).await,
                Self::Gateway => {
                    let missing = || Failure::new("name the gateway with `--gateway PROGRAM`");
                    gateway::run(gateway.ok_or_else(missing)?, server).await
                }
            }
        };
        let late = || Failure::new(format!("not done after {} seconds", self.limit().as_secs()));
        tokio::time::timeout(self.limit(), work).await.map_err(|_| late())?
    }
}
