//! The layer and its settings.
use std::sync::Arc;

use portcullis_core::stack::Staged;
use portcullis_core::{Clock, stage};
use tower_layer::Layer;

use super::Observe;
use crate::Metrics;
use crate::metrics::Recorder;

/// Applies [`Observe`]: context, span, access log, metrics, and an answer where the inner service panics.
///
/// ```
/// use portcullis_core::{EdgeLayer, Stack};
/// use portcullis_telemetry::{Metrics, ObserveLayer};
/// let metrics = Metrics::default();
/// let stack = Stack::new()
///     .layer(ObserveLayer::new().metrics(metrics.clone()))
///     .layer(EdgeLayer::new());
/// assert!(metrics.render().contains("http_server_active_requests 0"));
/// ```
///
/// # Deployment
/// - Keep one in a stack: two would count every request twice.
/// - A stack that replaces another (a reload) gets a new layer with the same [`Metrics`]: the series go on, and the
///   way to them is without a lock again.
#[derive(Clone, Debug, Default)]
pub struct ObserveLayer {
    pub(super) clock: Clock,
    pub(super) recorder: Arc<Recorder>,
}

impl ObserveLayer {
    /// On the machine's clocks, with metrics of its own.
    pub fn new() -> Self {
        Self::default()
    }
    /// Where time comes from, here and in every layer further in. Default: the machine's clocks.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
    /// What to count into. Default: metrics of its own.
    #[must_use]
    pub fn metrics(self, metrics: Metrics) -> Self {
        Self { recorder: Arc::new(Recorder::new(metrics)), ..self }
    }
    /// What this layer counts into, to be rendered elsewhere.
    pub fn metrics_handle(&self) -> Metrics {
        self.recorder.metrics().clone()
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;
    fn layer(&self, inner: S) -> Self::Service {
        Observe { inner, layer: self.clone() }
    }
}

impl Staged for ObserveLayer {
    type Stage = stage::Observe;
    type Needs = ();
    type Provides = ();
}
