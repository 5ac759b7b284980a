//! How the limit is found, and divided.
use std::time::Duration;

use super::concurrency::{Concurrency, Kind};
use super::gradient::Gradient;
use super::priority::{LEVELS, Shares};

/// How the limit is found, and divided.
#[derive(Debug)]
pub(super) struct Sizing {
    limit: Limit,
    shares: Shares,
}

#[derive(Debug)]
enum Limit {
    Fixed(usize),
    Adaptive(Box<Gradient>),
}

impl Limit {
    fn new(limit: &Concurrency) -> Self {
        match &limit.0 {
            Kind::Fixed(limit) => Self::Fixed(*limit),
            Kind::Adaptive(settings) => Self::Adaptive(Box::new(Gradient::new(settings.clone()))),
        }
    }
}

impl Sizing {
    pub(super) fn new(limit: &Concurrency, shares: Shares) -> Self {
        Self { limit: Limit::new(limit), shares }
    }
    /// Goes on with other settings. What was learned stays.
    pub(super) fn adopt(&mut self, limit: &Concurrency, shares: Shares) {
        self.shares = shares;
        match (&mut self.limit, &limit.0) {
            (Limit::Adaptive(gradient), Kind::Adaptive(settings)) => {
                gradient.adopt(settings.clone());
            }
            (old, _) => *old = Limit::new(limit),
        }
    }
    /// Learns from a request: how long it took, or `None` where the service was overloaded.
    pub(super) fn learn(&mut self, latency: Option<Duration>, in_flight: usize) {
        match (&mut self.limit, latency) {
            (Limit::Fixed(_), _) => {}
            (Limit::Adaptive(gradient), Some(latency)) => gradient.sample(latency, in_flight),
            (Limit::Adaptive(gradient), None) => gradient.overloaded(in_flight),
        }
    }
    pub(super) fn limit(&self) -> usize {
        match &self.limit {
            Limit::Fixed(limit) => *limit,
            Limit::Adaptive(gradient) => gradient.limit(),
        }
    }
    /// How many may be under way for each priority, by rank.
    pub(super) fn rooms(&self) -> [usize; LEVELS] {
        let steady = match &self.limit {
            Limit::Fixed(limit) => *limit,
            Limit::Adaptive(gradient) => gradient.steady(),
        };
        self.shares.rooms(self.limit(), steady)
    }
}
