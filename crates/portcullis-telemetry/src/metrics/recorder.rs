//! How a request gets to its series without a lock.
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use portcullis_core::{Context, Decision, Problem, RouteTable};

use super::route_series::{Key, MethodLabel, RouteSeries};
use super::{Metrics, Origin};
use crate::observe::Outcome;

/// The way of one stack to its series.
///
/// A stack has one route table, so the series are looked up once a route and then found by the route's index. Another
/// table, and the templates of foreign routers, go through the map in [`Metrics`], which has a lock.
#[derive(Default)]
pub(crate) struct Recorder {
    metrics: Metrics,
    table: OnceLock<TableSeries>,
}

/// The series of one table's routes, by index. Holding the table keeps its address from being used again.
struct TableSeries {
    table: Arc<RouteTable>,
    routes: Box<[OnceLock<Arc<RouteSeries>>]>,
}

/// A request that is over.
pub(crate) struct Observation<'a> {
    pub(crate) context: &'a Context,
    pub(crate) method: MethodLabel,
    pub(crate) status: u16,
    pub(crate) outcome: Outcome,
    pub(crate) problem: Option<&'a Problem>,
    pub(crate) duration: Duration,
}

impl Recorder {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { metrics, table: OnceLock::new() }
    }
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Counts a request that is over.
    pub(crate) fn request_ends(&self, seen: &Observation<'_>) {
        self.metrics.request_ends();
        let Some(route) = seen.context.route() else {
            return match seen.context.route_template() {
                Some(label) => seen.count_in(&self.metrics.series(label, Origin::Foreign)),
                None => seen.count_in(self.metrics.unmatched()),
            };
        };
        let lookup = || self.metrics.series(route.template(), Origin::Table);
        let ours = self.table.get_or_init(|| TableSeries::new(route.table()));
        match ours.routes.get(route.index()) {
            Some(series) if Arc::ptr_eq(&ours.table, route.table()) => {
                seen.count_in(series.get_or_init(lookup));
            }
            _ => seen.count_in(&lookup()),
        }
    }
}

impl TableSeries {
    fn new(table: &Arc<RouteTable>) -> Self {
        let routes = (0..table.len()).map(|_| OnceLock::new()).collect();
        Self { table: Arc::clone(table), routes }
    }
}

impl Observation<'_> {
    fn count_in(&self, series: &RouteSeries) {
        let key = Key { method: self.method, status: self.status, outcome: self.outcome };
        series.durations(key).record(self.duration);
        if let Some(problem) = self.problem {
            series.problems().add(problem.kind().slug());
        }
        if let Some(verdict) = self.context.decision().map(Decision::verdict) {
            series.decisions().add(verdict.as_str());
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("metrics", &self.metrics).finish_non_exhaustive()
    }
}
