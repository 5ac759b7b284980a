//! The text format of Prometheus.
use std::fmt::{self, Write};
use std::sync::Arc;

use super::OTHER;
use super::histogram::Histogram;
use super::route_series::{Key, RouteSeries};

const DURATION: &str = "http_server_request_duration_seconds";
const ACTIVE: &str = "http_server_active_requests";
const PROBLEMS: &str = "portcullis_problems_total";
const DECISIONS: &str = "portcullis_decisions_total";

/// All metrics: the requests under way, and the series of these routes.
pub(super) fn text(active: i64, routes: &[Arc<RouteSeries>]) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    _ = write(&mut out, active, routes);
    out
}

fn write(out: &mut String, active: i64, routes: &[Arc<RouteSeries>]) -> fmt::Result {
    let duration_help = "Duration of HTTP server requests, until the end of the response body.";
    family(out, DURATION, "histogram", duration_help)?;
    for route in routes {
        for (key, durations) in route.all_durations() {
            histogram(out, route.template(), key, durations)?;
        }
    }
    family(out, ACTIVE, "gauge", "Number of HTTP server requests that are not over.")?;
    writeln!(out, "{ACTIVE} {active}")?;
    family(out, PROBLEMS, "counter", "Problems that were answered, by their kind.")?;
    for route in routes {
        counters(out, PROBLEMS, route.template(), "problem", route.problems().counts())?;
    }
    family(out, DECISIONS, "counter", "Decisions about access, by their verdict.")?;
    for route in routes {
        counters(out, DECISIONS, route.template(), "verdict", route.decisions().counts())?;
    }
    Ok(())
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn histogram(
    out: &mut String,
    template: &str,
    key: Option<Key>,
    durations: &Histogram,
) -> fmt::Result {
    let method = key.map_or(OTHER, |key| key.method.as_str());
    let outcome = key.map_or(OTHER, |key| key.outcome.as_str());
    let mut labels = format!("http_request_method=\"{method}\",http_route=\"{}\"", Label(template));
    match key {
        Some(key) => write!(labels, ",http_response_status_code=\"{}\"", key.status)?,
        None => write!(labels, ",http_response_status_code=\"{OTHER}\"")?,
    }
    write!(labels, ",outcome=\"{outcome}\"")?;
    let mut count = 0;
    for (bound, so_far) in durations.cumulative() {
        writeln!(out, "{DURATION}_bucket{{{labels},le=\"{bound}\"}} {so_far}")?;
        count = so_far;
    }
    let nanos = durations.nanos();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    writeln!(out, "{DURATION}_sum{{{labels}}} {seconds}.{fraction:09}")?;
    // Invariant: it is the value of the last bucket, also while others count.
    writeln!(out, "{DURATION}_count{{{labels}}} {count}")
}

fn counters(
    out: &mut String,
    name: &str,
    template: &str,
    label: &str,
    mut counts: impl Iterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    counts.try_for_each(|(value, count)| {
        let (template, value) = (Label(template), Label(value));
        writeln!(out, "{name}{{http_route=\"{template}\",{label}=\"{value}\"}} {count}")
    })
}

/// The value of a label, escaped as the format asks.
struct Label<'a>(&'a str);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}
