//! A strict reader of the text format of Prometheus, and the property that our text can be read.
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use http::{Request, Response};
use portcullis_core::{Body, Context};
use portcullis_telemetry::{Metrics, ObserveLayer};
use proptest::prelude::*;
use tower::{Layer, Service, service_fn};

use super::support::poll_once;

pub(crate) type Labels = BTreeMap<String, String>;

/// Every sample by its name and labels. A value is in billionths, so that it can be compared.
#[derive(Debug, Default)]
pub(crate) struct Samples(BTreeMap<(String, Labels), i128>);

const ONE: i128 = 1_000_000_000;

impl Samples {
    /// Reads the text; panics at the first thing that is not as the format wants it.
    pub(crate) fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line ends too");
        let mut samples = Self::default();
        let mut families = BTreeSet::new();
        let mut current = (String::new(), String::new());
        for line in text.split_terminator('\n') {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, words) = help.split_once(' ').unwrap();
                assert!(!words.is_empty() && families.insert(name.to_owned()), "twice: {line}");
                name.clone_into(&mut current.0);
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert_eq!(name, current.0, "{line}");
                assert!(matches!(kind, "counter" | "gauge" | "histogram"), "{line}");
                kind.clone_into(&mut current.1);
            } else {
                let (name, labels, value) = sample(line);
                let suffix =
                    name.strip_prefix(&current.0).expect("samples stand with their family");
                let allowed: &[_] =
                    if current.1 == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                assert!(allowed.contains(&suffix), "{line}");
                assert!(samples.0.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        samples.check_histograms();
        samples
    }
    fn check_histograms(&self) {
        let mut buckets = BTreeMap::<(&str, Labels), Vec<(f64, i128)>>::new();
        for ((name, labels), count) in &self.0 {
            let Some(family) = name.strip_suffix("_bucket") else { continue };
            let mut labels = labels.clone();
            let bound = labels.remove("le").unwrap().replace('+', "").parse().unwrap();
            buckets.entry((family, labels)).or_default().push((bound, *count));
        }
        for ((family, labels), mut buckets) in buckets {
            buckets.sort_by(|one, two| one.0.total_cmp(&two.0));
            assert_eq!(buckets.len(), 15, "{labels:?}");
            assert!(buckets.is_sorted_by(|one, two| one.1 <= two.1), "{labels:?}");
            let count = self.0[&(format!("{family}_count"), labels)];
            let last = buckets.last().unwrap();
            assert!(last.0.is_infinite() && last.1 == count, "{buckets:?}");
        }
    }
    /// The samples of this name whose labels include these.
    pub(crate) fn with(&self, name: &str, labels: &[(&str, &str)]) -> Vec<(&Labels, i128)> {
        let has = |of: &Labels| labels.iter().all(|(k, v)| of.get(*k).is_some_and(|x| x == v));
        let wanted = self.0.iter().filter(|((n, of), _)| n == name && has(of));
        wanted.map(|((_, of), value)| (of, *value)).collect()
    }
    /// Their sum, in billionths.
    pub(crate) fn billionths(&self, name: &str, labels: &[(&str, &str)]) -> i128 {
        self.with(name, labels).into_iter().map(|(_, value)| value).sum()
    }
    /// Their sum, which is a whole number.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> i128 {
        let sum = self.billionths(name, labels);
        assert_eq!(sum % ONE, 0);
        sum / ONE
    }
}

fn sample(line: &str) -> (String, Labels, i128) {
    let name_len = line.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap();
    let (name, mut rest) = line.split_at(name_len);
    assert!(!name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()), "{line}");
    let mut labels = Labels::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, quoted) = rest.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
            assert!(label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'), "{line}");
            let (value, behind) = unquote(quoted);
            assert!(labels.insert(label.to_owned(), value).is_none(), "{line}");
            if let Some(behind) = behind.strip_prefix('}') {
                rest = behind;
                break;
            }
            rest = behind.strip_prefix(',').unwrap_or_else(|| panic!("{line}"));
        }
    }
    let number = rest.strip_prefix(' ').unwrap_or_else(|| panic!("{line}"));
    (name.to_owned(), labels, billionths(number))
}

/// A number with no fraction, or with one of nine digits.
fn billionths(number: &str) -> i128 {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "000000000"));
    assert_eq!(fraction.len(), 9, "{number}");
    whole.parse::<i128>().unwrap() * ONE + fraction.parse::<i128>().unwrap()
}

/// The value up to the closing quote, and what stands behind it.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.push(match chars.next() {
                Some((_, 'n')) => '\n',
                Some((_, c @ ('\\' | '"'))) => c,
                other => panic!("no escape: {other:?}"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}")
}

/// Sends one request whose foreign router says `label`.
pub(crate) fn request_with_label(metrics: &Metrics, label: &str) {
    let label: Arc<str> = label.into();
    let mut service = ObserveLayer::new().metrics(metrics.clone()).layer(service_fn(
        move |mut request: Request<()>| {
            Context::of(&mut request).set_route_label(Arc::clone(&label));
            async { Ok::<_, std::convert::Infallible>(Response::new(Body::empty())) }
        },
    ));
    let call = std::pin::pin!(service.call(Request::new(())));
    assert!(poll_once(call).is_ready());
}

proptest! {
    #[test]
    fn every_line_can_be_read_and_says_the_label_that_was_given(
        labels in prop::collection::vec("(\\PC|[\"\\\\\n\r{},= ]){0,20}", 1..8)
    ) {
        let metrics = Metrics::default();
        for label in &labels {
            request_with_label(&metrics, label);
        }
        let samples = Samples::read(&metrics.render());
        for label in &labels {
            let want = labels.iter().filter(|other| *other == label).count();
            let count = samples.sum("http_server_request_duration_seconds_count", &[("http_route", label)]);
            prop_assert_eq!(count, i128::try_from(want).unwrap());
        }
    }
}
