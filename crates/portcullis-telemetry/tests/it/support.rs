//! A clock, a log and a client for tests.
use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context as Cx, Poll};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use http_body::Frame;
use portcullis_core::{Body, BoxError, Clock, Time};
use tracing::field::{Field, Visit};
use tracing::{Dispatch, Event, Level, Subscriber, span};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context as LayerContext, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

/// Time that passes only when told.
#[derive(Clone, Debug)]
pub(crate) struct FakeTime {
    start: Instant,
    passed: Arc<AtomicU64>,
}

impl FakeTime {
    pub(crate) fn new() -> Self {
        Self { start: Clock::system().now(), passed: Arc::default() }
    }
    pub(crate) fn pass(&self, millis: u64) {
        self.passed.fetch_add(millis, Ordering::SeqCst);
    }
    pub(crate) fn clock(&self) -> Clock {
        Clock::new(self.clone())
    }
}

impl Time for FakeTime {
    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.passed.load(Ordering::SeqCst))
    }
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }
}

/// One event, or one span with what was recorded in it.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    pub(crate) fields: BTreeMap<&'static str, String>,
    /// The names of the spans around it.
    pub(crate) spans: Vec<&'static str>,
}

/// While a program has only one subscriber, `tracing` takes the word of whatever thread meets an event first for all
/// threads, and a test without a log would silence one that has it. So there is always another one.
static SILENT: LazyLock<Dispatch> =
    LazyLock::new(|| tracing_subscriber::registry().with(LevelFilter::OFF).into());

/// The events and closed spans that were seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub(crate) events: Arc<Mutex<Vec<Line>>>,
    pub(crate) spans: Arc<Mutex<Vec<Line>>>,
}

impl Log {
    /// Does `work` with this log as its subscriber.
    pub(crate) fn during<R>(&self, work: impl FnOnce() -> R) -> R {
        LazyLock::force(&SILENT);
        let subscriber = tracing_subscriber::registry().with(self.clone());
        tracing::subscriber::with_default(subscriber, work)
    }
    /// The lines of the access log.
    pub(crate) fn access(&self) -> Vec<Line> {
        let events = self.events.lock().unwrap();
        events.iter().filter(|line| line.target == "portcullis::access").cloned().collect()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Log {
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        all: LayerContext<'_, S>,
    ) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        all.span(id).unwrap().extensions_mut().insert(fields);
    }
    fn on_record(&self, id: &span::Id, values: &span::Record<'_>, all: LayerContext<'_, S>) {
        let span = all.span(id).unwrap();
        values.record(span.extensions_mut().get_mut::<Fields>().unwrap());
    }
    fn on_close(&self, id: span::Id, all: LayerContext<'_, S>) {
        let span = all.span(&id).unwrap();
        let fields = span.extensions_mut().remove::<Fields>().unwrap().0;
        let (level, target) = (*span.metadata().level(), span.metadata().target());
        self.spans.lock().unwrap().push(Line { level, target, fields, spans: vec![span.name()] });
    }
    fn on_event(&self, event: &Event<'_>, all: LayerContext<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let spans = all.event_scope(event).into_iter().flatten().map(|span| span.name()).collect();
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        self.events.lock().unwrap().push(Line { level, target, fields: fields.0, spans });
    }
}

#[derive(Default)]
struct Fields(BTreeMap<&'static str, String>);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let twice = self.0.insert(field.name(), format!("{value:?}"));
        assert_eq!(twice, None, "{field} is recorded once");
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

/// What a [`Script`] does next.
#[derive(Clone, Copy)]
pub(crate) enum Step {
    Data(&'static str),
    Fail,
    Panic,
    Pass(u64),
}

/// A body that does one step after the other.
pub(crate) struct Script {
    pub(crate) time: FakeTime,
    pub(crate) steps: std::vec::IntoIter<Step>,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = BoxError;
    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            return Poll::Ready(match self.steps.next() {
                None => None,
                Some(Step::Data(text)) => {
                    Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))
                }
                Some(Step::Fail) => Some(Err("the upstream hung up".into())),
                Some(Step::Panic) => panic!("boom in the body"),
                Some(Step::Pass(millis)) => {
                    self.time.pass(millis);
                    continue;
                }
            });
        }
    }
}

impl Script {
    pub(crate) fn body<const N: usize>(time: &FakeTime, steps: [Step; N]) -> Body {
        Body::new(Self { time: time.clone(), steps: Vec::from(steps).into_iter() })
    }
}

/// Polls a future once.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Cx::from_waker(std::task::Waker::noop()))
}
