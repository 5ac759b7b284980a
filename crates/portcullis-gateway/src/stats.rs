//! What is counted of an upstream.
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use portcullis_core::MetricSource;

use crate::upstream::Upstream;

/// What came of requests and of attempts to send them.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) answered: AtomicU64,
    pub(crate) unreachable: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) timed_out: AtomicU64,
    pub(crate) unavailable: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    /// The client's own body failed.
    pub(crate) client: AtomicU64,
    /// Sent again on another connection.
    pub(crate) resent: AtomicU64,
    /// Sent again although a server may have seen it.
    pub(crate) retried: AtomicU64,
    /// Sent to a second server while the first took its time.
    pub(crate) hedged: AtomicU64,
    pub(crate) ejected: AtomicU64,
}

impl Counters {
    fn outcomes(&self) -> [(&'static str, u64); 7] {
        [
            ("answered", self.answered.load(Relaxed)),
            ("unreachable", self.unreachable.load(Relaxed)),
            ("failed", self.failed.load(Relaxed)),
            ("timed_out", self.timed_out.load(Relaxed)),
            ("unavailable", self.unavailable.load(Relaxed)),
            ("cancelled", self.cancelled.load(Relaxed)),
            ("client", self.client.load(Relaxed)),
        ]
    }
}

/// Figures of upstreams: `portcullis_upstream_requests_total` by outcome, `.._resent_total`, `.._ejections_total`, and for each server
/// `.._available`, `.._in_flight` and `.._connections`.
#[derive(Clone, Debug, Default)]
pub struct UpstreamStats(Vec<Upstream>);

impl UpstreamStats {
    /// Of these upstreams.
    pub fn new(upstreams: impl IntoIterator<Item = Upstream>) -> Self {
        Self(upstreams.into_iter().collect())
    }
}

/// A name, what it means, and where its value is.
struct Family<S, T>(&'static str, &'static str, Of<S, T>);
type Of<S, T> = fn(&S) -> T;

impl MetricSource for UpstreamStats {
    fn write(&self, out: &mut String) {
        let mut family =
            |name: &str, kind: &str, help: &str, lines: &mut dyn FnMut(&mut String)| {
                let before = out.len();
                let mut text = String::new();
                lines(&mut text);
                if !text.is_empty() {
                    _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
                    out.push_str(&text);
                }
                out.len() > before
            };
        let requests = "portcullis_upstream_requests_total";
        family(
            requests,
            "counter",
            "Requests for an upstream, by what came of them.",
            &mut |out| {
                for upstream in &self.0 {
                    for (outcome, count) in upstream.0.counters.outcomes() {
                        let name = escape(upstream.name());
                        _ = writeln!(
                            out,
                            "{requests}{{upstream=\"{name}\",outcome=\"{outcome}\"}} {count}"
                        );
                    }
                }
            },
        );
        let counters: [Family<Counters, u64>; 4] = [
            Family(
                "portcullis_upstream_resent_total",
                "Requests sent again, because nobody had seen them or it was safe.",
                |counters| counters.resent.load(Relaxed),
            ),
            Family(
                "portcullis_upstream_retries_total",
                "Requests sent again that failed, or may have, within the budget.",
                |counters| counters.retried.load(Relaxed),
            ),
            Family(
                "portcullis_upstream_hedges_total",
                "Requests sent to a second server because the first was slow.",
                |counters| counters.hedged.load(Relaxed),
            ),
            Family(
                "portcullis_upstream_ejections_total",
                "How often a server was left alone for a while.",
                |counters| counters.ejected.load(Relaxed),
            ),
        ];
        for Family(metric, help, of) in counters {
            family(metric, "counter", help, &mut |out| {
                for upstream in &self.0 {
                    let (name, count) = (escape(upstream.name()), of(&upstream.0.counters));
                    _ = writeln!(out, "{metric}{{upstream=\"{name}\"}} {count}");
                }
            });
        }
        let states: Vec<_> =
            self.0.iter().map(|upstream| (escape(upstream.name()), upstream.servers())).collect();
        let gauges: [Family<crate::ServerState, usize>; 3] = [
            Family(
                "portcullis_upstream_available",
                "Whether requests are sent to a server.",
                |state| usize::from(state.is_well && !state.is_ejected),
            ),
            Family(
                "portcullis_upstream_in_flight",
                "Requests that a server has not answered.",
                |state| state.in_flight,
            ),
            Family("portcullis_upstream_connections", "Open connections to a server.", |state| {
                state.connections
            }),
        ];
        for Family(metric, help, of) in gauges {
            family(metric, "gauge", help, &mut |out| {
                for (name, servers) in &states {
                    for state in servers {
                        let server = escape(&state.url);
                        _ = writeln!(
                            out,
                            "{metric}{{upstream=\"{name}\",server=\"{server}\"}} {}",
                            of(state)
                        );
                    }
                }
            });
        }
    }
}

/// A label value of the exposition format.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
