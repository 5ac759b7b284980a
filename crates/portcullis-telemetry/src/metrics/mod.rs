//! Rate, errors and duration of every route, in the text format of Prometheus.
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use portcullis_core::MetricSource;

mod counters;
mod histogram;
mod recorder;
mod render;
mod route_series;
mod service;

pub(crate) use recorder::{Observation, Recorder};
pub(crate) use route_series::MethodLabel;
pub use service::MetricsService;

use route_series::RouteSeries;

/// What stands in place of a label value that is not one of a bounded set.
const OTHER: &str = "_OTHER";
/// How many templates of foreign routers have series of their own.
const MAX_FOREIGN: usize = 1_000;
/// How long the template of a foreign router may be, in bytes.
const MAX_FOREIGN_LENGTH: usize = 256;

/// Counts and durations of requests by route. Cheap to clone; all clones count into the same.
///
/// Hand the same metrics to every stack of a program, and to the stack that replaces one: the same route template
/// then is the same series. See the [crate docs](crate#metrics) for the list.
///
/// Every set of labels is bounded: templates come from a frozen route table, and those of foreign routers are
/// limited in number and length.
///
/// ```
/// use portcullis_telemetry::{Metrics, ObserveLayer};
/// let metrics = Metrics::default();
/// let layer = ObserveLayer::new().metrics(metrics.clone());
/// assert!(metrics.render().starts_with("# HELP http_server_request_duration_seconds "));
/// ```
#[derive(Clone, Default)]
pub struct Metrics(Arc<Registry>);

struct Registry {
    active: AtomicI64,
    /// Requests that no route matched.
    unmatched: Arc<RouteSeries>,
    /// Requests whose template has no series of its own.
    other: Arc<RouteSeries>,
    known: RwLock<Known>,
    /// What else is shown.
    sources: RwLock<Vec<Arc<dyn MetricSource>>>,
}

#[derive(Default)]
struct Known {
    by_template: HashMap<Arc<str>, (Arc<RouteSeries>, Origin)>,
    foreign: usize,
}

/// Whose template it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Of a frozen table: it always has series of its own.
    Table,
    /// What an adapter says of a foreign router.
    Foreign,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            active: AtomicI64::new(0),
            unmatched: Arc::new(RouteSeries::new("".into())),
            other: Arc::new(RouteSeries::new(OTHER.into())),
            known: RwLock::default(),
            sources: RwLock::default(),
        }
    }
}

impl Metrics {
    /// Also shows what somebody else counts, behind its own. All clones do. Add each source once for a program, not once for
    /// a stack.
    ///
    /// ```
    /// use portcullis_telemetry::Metrics;
    /// let metrics = Metrics::default().with_source(|out: &mut String| {
    ///     out.push_str("# HELP shop_open Whether the shop is open.\n# TYPE shop_open gauge\nshop_open 1\n");
    /// });
    /// assert!(metrics.render().ends_with("\nshop_open 1\n"));
    /// ```
    #[must_use = "it is the same metrics, with the source"]
    pub fn with_source(self, source: impl MetricSource + 'static) -> Self {
        let source = Arc::new(source);
        self.0.sources.write().unwrap_or_else(PoisonError::into_inner).push(source);
        self
    }
    /// Forgets the series of templates that are none of these, as a table that replaces another does not have them any more. What is
    /// still under way for one of them may begin it anew.
    pub fn retain(&self, is_kept: impl Fn(&str) -> bool) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known
            .by_template
            .retain(|template, (_, origin)| *origin == Origin::Foreign || is_kept(template));
    }
    /// The metrics as text, in the exposition format of Prometheus (version 0.0.4).
    pub fn render(&self) -> String {
        let mut routes: Vec<_> = {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            known.by_template.values().map(|(series, _)| Arc::clone(series)).collect()
        };
        routes.extend([&self.0.unmatched, &self.0.other].map(Arc::clone));
        routes.sort_unstable_by(|one, two| one.template().cmp(two.template()));
        let mut text = render::text(self.0.active.load(Ordering::Relaxed), &routes);
        // A source runs without the lock, whatever it does.
        let sources = self.0.sources.read().unwrap_or_else(PoisonError::into_inner).clone();
        for source in sources {
            source.write(&mut text);
            // A line that is not ended would spoil the next one.
            if !text.ends_with('\n') {
                text.push('\n');
            }
        }
        text
    }

    /// Answers GET with [`render`](Self::render)'s text, whatever the path.
    ///
    /// # Deployment
    /// Mount it at `/metrics` of a listener that only operators reach, not in the stack: it tells how an application
    /// is used, and asks nobody who they are.
    pub fn service(&self) -> MetricsService {
        MetricsService::new(self.clone())
    }

    pub(crate) fn request_begins(&self) {
        self.0.active.fetch_add(1, Ordering::Relaxed);
    }
    fn request_ends(&self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }

    fn unmatched(&self) -> &RouteSeries {
        &self.0.unmatched
    }

    /// The series of a template.
    fn series(&self, template: &str, origin: Origin) -> Arc<RouteSeries> {
        match template {
            "" => return Arc::clone(&self.0.unmatched),
            OTHER => return Arc::clone(&self.0.other),
            _ => {}
        }
        {
            let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
            if let Some((series, _)) = known.by_template.get(template) {
                return Arc::clone(series);
            }
            if origin == Origin::Foreign
                && (known.foreign >= MAX_FOREIGN || template.len() > MAX_FOREIGN_LENGTH)
            {
                return Arc::clone(&self.0.other);
            }
        }
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        known.add(template, origin).unwrap_or_else(|| Arc::clone(&self.0.other))
    }
}

impl Known {
    /// The series of a template, new or known meanwhile; none where there are too many already.
    fn add(&mut self, template: &str, origin: Origin) -> Option<Arc<RouteSeries>> {
        if let Some((series, _)) = self.by_template.get(template) {
            return Some(Arc::clone(series));
        }
        if origin == Origin::Foreign {
            if self.foreign >= MAX_FOREIGN {
                return None;
            }
            self.foreign += 1;
        }
        let template: Arc<str> = template.into();
        let series = Arc::new(RouteSeries::new(Arc::clone(&template)));
        self.by_template.insert(template, (Arc::clone(&series), origin));
        Some(series)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = self.0.known.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Metrics")
            .field("active", &self.0.active)
            .field("templates", &known.by_template.len())
            .finish()
    }
}
