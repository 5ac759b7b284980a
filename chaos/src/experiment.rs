//! The experiments by name.
use std::path::Path;
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::report::Report;
use crate::{failing, faults, floods, gateway, overload, quotas, reload, restart, slow, stores};

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Experiment {
    Restart,
    Slow,
    Floods,
    Faults,
    Gateway,
    Failing,
    Reload,
    Upgrade,
    Stores,
    Overload,
    Limits,
}

impl Experiment {
    pub(crate) const ALL: [Self; 11] = [
        Self::Restart,
        Self::Slow,
        Self::Floods,
        Self::Faults,
        Self::Gateway,
        Self::Failing,
        Self::Reload,
        Self::Upgrade,
        Self::Stores,
        Self::Overload,
        Self::Limits,
    ];

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
            Self::Failing => "failing",
            Self::Reload => "reload",
            Self::Upgrade => "upgrade",
            Self::Stores => "stores",
            Self::Overload => "overload",
            Self::Limits => "limits",
        }
    }
    /// After this time it is given up, whatever it waits for.
    fn limit(self) -> Duration {
        Duration::from_secs(match self {
            Self::Restart | Self::Upgrade => 420,
            Self::Slow | Self::Gateway | Self::Reload => 240,
            Self::Floods => 300,
            Self::Faults | Self::Failing | Self::Limits => 120,
            Self::Stores => 150,
            Self::Overload => 220,
        })
    }
    /// Makes the experiment. Dropping the future kills every process that it has started.
    pub(crate) async fn run(self, server: &Path, gateway: Option<&Path>) -> Result<Report> {
        let missing = || Failure::new("name the gateway with `--gateway PROGRAM`");
        let work = async {
            match self {
                Self::Restart => restart::run(server).await,
                Self::Slow => slow::run(server).await,
                Self::Floods => floods::run(server).await,
                Self::Faults => faults::run(server).await,
                Self::Gateway => gateway::run(gateway.ok_or_else(missing)?, server).await,
                Self::Failing => failing::run(gateway.ok_or_else(missing)?).await,
                Self::Reload => reload::run(gateway.ok_or_else(missing)?).await,
                Self::Stores => stores::run().await,
                Self::Overload => overload::run(gateway.ok_or_else(missing)?).await,
                Self::Limits => quotas::run(gateway.ok_or_else(missing)?).await,
                Self::Upgrade => restart::run_gateway(gateway.ok_or_else(missing)?, server).await,
            }
        };
        let late = || Failure::new(format!("not done after {} seconds", self.limit().as_secs()));
        tokio::time::timeout(self.limit(), work).await.map_err(|_| late())?
    }
}
