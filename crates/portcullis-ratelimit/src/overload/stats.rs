//! What is counted, for metrics.
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use portcullis_core::MetricSource;

use super::layer::OverloadLayer;
use super::reason::Reason;
use super::state::State;

/// Figures of overload layers, each under a name: `portcullis_overload_in_flight`, `.._limit`, `.._waiting`, `.._admitted_total`, and by
/// reason `.._shed_total`.
///
/// ```
/// use portcullis_core::MetricSource;
/// use portcullis_ratelimit::{Concurrency, OverloadLayer, OverloadStats};
/// let layer = OverloadLayer::new(Concurrency::fixed(200));
/// let stats = OverloadStats::new().with("shop", &layer);
/// let mut text = String::new();
/// stats.write(&mut text);
/// assert!(text.contains("portcullis_overload_limit{layer=\"shop\"} 200\n"));
/// ```
#[derive(Clone, Debug, Default)]
pub struct OverloadStats(Vec<(Arc<str>, Arc<State>)>);

impl OverloadStats {
    /// Of no layer yet.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds the figures of a layer, as it is configured now, under a name that no other has.
    #[must_use]
    pub fn with<S>(mut self, name: &str, layer: &OverloadLayer<S>) -> Self {
        let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        self.0.push((name.into(), Arc::clone(layer.state())));
        self
    }
}

impl MetricSource for OverloadStats {
    fn write(&self, out: &mut String) {
        let mut gauge = |name: &str, help: &str, of: fn(&State) -> usize| {
            // Writing to a string never fails.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
            for (layer, state) in &self.0 {
                let _ = writeln!(out, "{name}{{layer=\"{layer}\"}} {}", of(state));
            }
        };
        gauge("portcullis_overload_in_flight", "Requests under way.", State::in_flight);
        gauge("portcullis_overload_limit", "Requests that may be under way.", State::limit);
        gauge("portcullis_overload_waiting", "Requests in the queue.", State::waiting);
        let name = "portcullis_overload_admitted_total";
        let _ = writeln!(out, "# HELP {name} Requests that were admitted.\n# TYPE {name} counter");
        for (layer, state) in &self.0 {
            let count = state.admitted.load(Relaxed);
            let _ = writeln!(out, "{name}{{layer=\"{layer}\"}} {count}");
        }
        let name = "portcullis_overload_shed_total";
        let _ = writeln!(out, "# HELP {name} Requests that were shed.\n# TYPE {name} counter");
        for (layer, state) in &self.0 {
            for (reason, count) in Reason::ALL.iter().zip(&state.shed) {
                let (reason, count) = (reason.label(), count.load(Relaxed));
                let _ = writeln!(out, "{name}{{layer=\"{layer}\",reason=\"{reason}\"}} {count}");
            }
        }
    }
}
