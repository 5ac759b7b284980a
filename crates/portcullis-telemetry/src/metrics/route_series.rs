//! What is counted about one route template.
use std::sync::{Arc, OnceLock};

use http::Method;

use super::OTHER;
use super::counters::Counters;
use super::histogram::Histogram;
use crate::observe::Outcome;

/// How many combinations of method, status and outcome a template has series for. More than a client can bring about
/// where no route matches: it has the say over method and outcome only.
const MAX_KEYS: usize = 64;
/// How many kinds of problem.
const MAX_PROBLEMS: usize = 32;
/// How many verdicts.
const MAX_VERDICTS: usize = 8;

/// What is counted about one route template.
pub(super) struct RouteSeries {
    template: Arc<str>,
    /// Invariant: places are taken from the front, as in [`Counters`].
    durations: [OnceLock<(Key, Box<Histogram>)>; MAX_KEYS],
    /// Durations that found no place.
    rest: Histogram,
    problems: Counters<MAX_PROBLEMS>,
    decisions: Counters<MAX_VERDICTS>,
}

/// What tells series of one template apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) method: MethodLabel,
    pub(super) status: u16,
    pub(super) outcome: Outcome,
}

/// A method as a label: one of a fixed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodLabel(u8);

/// The methods that are labels; the last one stands for all others.
const METHODS: [&str; 10] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", OTHER];

impl MethodLabel {
    pub(crate) fn of(method: &Method) -> Self {
        // Indices into `METHODS`; a test holds the two together.
        Self(match *method {
            Method::CONNECT => 0,
            Method::DELETE => 1,
            Method::GET => 2,
            Method::HEAD => 3,
            Method::OPTIONS => 4,
            Method::PATCH => 5,
            Method::POST => 6,
            Method::PUT => 7,
            Method::TRACE => 8,
            _ => 9,
        })
    }
    pub(super) fn as_str(self) -> &'static str {
        METHODS.get(usize::from(self.0)).copied().unwrap_or(OTHER)
    }
}

impl RouteSeries {
    pub(super) fn new(template: Arc<str>) -> Self {
        Self {
            template,
            durations: [const { OnceLock::new() }; MAX_KEYS],
            rest: Histogram::default(),
            problems: Counters::new(),
            decisions: Counters::new(),
        }
    }
    pub(super) fn template(&self) -> &str {
        &self.template
    }
    pub(super) fn problems(&self) -> &Counters<MAX_PROBLEMS> {
        &self.problems
    }
    pub(super) fn decisions(&self) -> &Counters<MAX_VERDICTS> {
        &self.decisions
    }
    /// The durations of requests with this key.
    pub(super) fn durations(&self, key: Key) -> &Histogram {
        let found = self.durations.iter().find_map(|place| {
            let (taken, histogram) = place.get_or_init(|| (key, Box::default()));
            (*taken == key).then_some(&**histogram)
        });
        found.unwrap_or(&self.rest)
    }
    /// Every key with its durations; those that found no place have none.
    pub(super) fn all_durations(&self) -> impl Iterator<Item = (Option<Key>, &Histogram)> {
        let named = self.durations.iter().map_while(OnceLock::get);
        named
            .map(|(key, histogram)| (Some(*key), &**histogram))
            .chain((self.rest.count() > 0).then_some((None, &self.rest)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn known_methods_keep_their_name_and_others_share_one() {
        for name in METHODS {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(MethodLabel::of(&method).as_str(), name);
        }
        for name in ["get", "PURGE", "PROPFIND"] {
            let method = Method::from_bytes(name.as_bytes()).unwrap();
            assert_eq!(MethodLabel::of(&method).as_str(), OTHER);
        }
    }

    #[test]
    fn keys_beyond_the_last_place_share_one() {
        let series = RouteSeries::new("/".into());
        for _ in 0..2 {
            for status in 100..1000 {
                let method = MethodLabel::of(&Method::GET);
                let key = Key { method, status, outcome: Outcome::Complete };
                series.durations(key).record(Duration::ZERO);
            }
        }
        let counts: Vec<_> =
            series.all_durations().map(|(_, durations)| durations.count()).collect();
        assert_eq!(counts.len(), MAX_KEYS + 1);
        assert!(counts.iter().take(MAX_KEYS).all(|count| *count == 2));
        assert_eq!(counts.iter().sum::<u64>(), 1800);
    }
}
