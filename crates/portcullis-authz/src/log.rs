//! Who was let in, who was not, and by which rule: the decision log.
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_core::{Context, Identity, Requirement, Target, Verdict};
use serde_json::{Value, json};

use crate::Resource;
use crate::judge::{Head, Judgement};

/// Takes what is decided. It is called on the way of the request, so it keeps nobody waiting: what it cannot take at once it drops, and counts.
pub trait DecisionSink: Send + Sync + 'static {
    /// Takes one.
    fn write(&self, record: DecisionRecord);
}

impl<F: Fn(DecisionRecord) + Send + Sync + 'static> DecisionSink for F {
    fn write(&self, record: DecisionRecord) {
        self(record);
    }
}

/// What was decided about one request, or about one object. There is no credential in it and no query; `portcullis replay` judges it again by
/// another file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecisionRecord {
    /// When.
    pub time: SystemTime,
    /// The name of the request, in every log.
    pub request_id: Option<String>,
    /// Who vouches for the caller; `None` for one nobody knows.
    pub issuer: Option<String>,
    /// The caller's tenant.
    pub tenant: Option<String>,
    /// The caller; `None` also where it is not to be kept ([`DecisionLog::without_subjects`]).
    pub subject: Option<String>,
    /// The roles that the caller came with.
    pub roles: Vec<String>,
    /// The scopes that the caller came with.
    pub scopes: Vec<String>,
    /// The assurance level.
    pub assurance: Option<u8>,
    /// The method.
    pub method: String,
    /// The host that was asked.
    pub host: Option<String>,
    /// The path, without the query; the template where paths are not to be kept ([`DecisionLog::without_paths`]).
    pub path: String,
    /// The template of the route.
    pub route: Option<String>,
    /// What it was about, where the application asked about an object: its kind and its name.
    pub object: Option<String>,
    /// What was decided.
    pub verdict: Verdict,
    /// By which rule.
    pub rule: String,
    /// Why.
    pub reason: String,
}

impl DecisionRecord {
    /// As an object of JSON, for a line of a file.
    pub fn to_json(&self) -> Value {
        let since = self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        json!({
            "time": since.as_secs_f64(),
            "request_id": self.request_id,
            "issuer": self.issuer,
            "tenant": self.tenant,
            "subject": self.subject,
            "roles": self.roles,
            "scopes": self.scopes,
            "assurance": self.assurance,
            "method": self.method,
            "host": self.host,
            "path": self.path,
            "route": self.route,
            "object": self.object,
            "verdict": self.verdict.as_str(),
            "rule": self.rule,
            "reason": self.reason,
        })
    }
    /// What [`to_json`](Self::to_json) has written, or what [`DecisionLog::to_tracing`] has, as the JSON of `tracing-subscriber` with flat fields; `None` where
    /// it is something else. Times are kept to the microsecond; an event of `tracing` has none, and says the beginning of 1970.
    pub fn from_json(value: &Value) -> Option<Self> {
        let time = value.get("time").map_or(Some(0.0), Value::as_f64)?;
        let time = Duration::try_from_secs_f64(time).ok()?;
        // A float has not all the digits of a time.
        let micros = (time.as_nanos() + 500) / 1_000;
        let time = Duration::from_micros(u64::try_from(micros).ok()?);
        let maybe = |name: &str| match value.get(name) {
            None | Some(Value::Null) => Some(None),
            Some(text) => text.as_str().map(|text| Some(text.to_owned())),
        };
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let list = |name: &str| -> Option<Vec<String>> {
            match value.get(name)? {
                Value::String(text) if text.starts_with('[') => serde_json::from_str(text).ok(),
                Value::String(text) => {
                    Some(text.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect())
                }
                list => {
                    list.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
                }
            }
        };
        let assurance = match value.get("assurance") {
            None | Some(Value::Null) => None,
            Some(number) => Some(u8::try_from(number.as_u64()?).ok()?),
        };
        let verdict = text("verdict")?;
        let verdicts = [Verdict::Allow, Verdict::Deny, Verdict::StepUp, Verdict::Indeterminate];
        Some(Self {
            time: SystemTime::UNIX_EPOCH.checked_add(time)?,
            request_id: maybe("request_id")?,
            issuer: maybe("issuer")?,
            tenant: maybe("tenant")?,
            subject: maybe("subject")?,
            roles: list("roles")?,
            scopes: list("scopes")?,
            assurance,
            method: text("method")?,
            host: maybe("host")?,
            path: text("path")?,
            route: maybe("route")?,
            object: maybe("object")?,
            verdict: verdicts.into_iter().find(|it| it.as_str() == verdict)?,
            rule: text("rule")?,
            reason: text("reason")?,
        })
    }
}

/// Where decisions are written, and which. Cheap to clone.
///
/// Everything that is not allowed is written; of what is allowed, [a share](Self::share_of_allowed).
#[derive(Clone)]
pub struct DecisionLog {
    sink: Arc<dyn DecisionSink>,
    allowed: f64,
    subjects: bool,
    paths: bool,
}

impl DecisionLog {
    /// Writes to this sink.
    pub fn new(sink: impl DecisionSink) -> Self {
        Self { sink: Arc::new(sink), allowed: 1.0, subjects: true, paths: true }
    }
    /// Writes events of `tracing`, whose target is `portcullis::decision`, at level `INFO`.
    pub fn to_tracing() -> Self {
        Self::new(|record: DecisionRecord| trace(&record))
    }
    /// Which share of what is allowed is written, from 0 to 1. Default: all of it.
    #[must_use]
    pub fn share_of_allowed(self, share: f64) -> Self {
        Self { allowed: share.clamp(0.0, 1.0), ..self }
    }
    /// Does not say who it was, but for their roles and tenant. Default: it says so.
    #[must_use]
    pub fn without_subjects(self) -> Self {
        Self { subjects: false, ..self }
    }
    /// Says the template of the route instead of the path, in which there may be names. Default: the path, without its query.
    #[must_use]
    pub fn without_paths(self) -> Self {
        Self { paths: false, ..self }
    }
    fn takes(&self, verdict: Verdict) -> bool {
        verdict != Verdict::Allow
            || self.allowed >= 1.0
            || (self.allowed > 0.0 && chance() < self.allowed)
    }
    pub(crate) fn request(&self, context: &Context, head: Head<'_>, judged: &Judgement<'_>) {
        if self.takes(judged.verdict) {
            let mut record = self.record(context, context.identity(), judged.rule, judged.verdict);
            head.method.as_str().clone_into(&mut record.method);
            record.path = self.path(context, head.uri.path());
            record.host = record.host.or_else(|| head.uri.host().map(str::to_owned));
            judged.reason.as_ref().clone_into(&mut record.reason);
            self.sink.write(record);
        }
    }
    pub(crate) fn object(
        &self,
        context: &Context,
        identity: &Identity,
        rule: &Requirement,
        resource: Option<&Resource>,
        verdict: Verdict,
        reason: &str,
    ) {
        if self.takes(verdict) {
            let mut record = self.record(context, Some(identity), rule, verdict);
            record.path = self.path(context, "");
            record.object = resource.map(|resource| {
                let id = if self.paths { resource.id() } else { "" };
                format!("{} {id}", resource.kind()).trim_end().to_owned()
            });
            reason.clone_into(&mut record.reason);
            self.sink.write(record);
        }
    }
    fn path(&self, context: &Context, otherwise: &str) -> String {
        let template = || context.route_template().unwrap_or_default();
        let path = || context.target().map_or(otherwise, Target::path);
        if self.paths { path() } else { template() }.to_owned()
    }
    fn record(
        &self,
        context: &Context,
        identity: Option<&Identity>,
        rule: &Requirement,
        verdict: Verdict,
    ) -> DecisionRecord {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let texts = |texts: Option<Vec<String>>| texts.unwrap_or_default();
        DecisionRecord {
            time: context.clock().wall(),
            request_id: context.request_id().map(ToString::to_string),
            issuer: text(identity.map(Identity::issuer)),
            tenant: text(identity.and_then(Identity::tenant)),
            subject: text(identity.map(Identity::subject).filter(|_| self.subjects)),
            roles: texts(identity.map(|it| it.roles().map(str::to_owned).collect())),
            scopes: texts(identity.map(|it| it.scopes().map(str::to_owned).collect())),
            assurance: identity.and_then(Identity::assurance),
            method: String::new(),
            host: text(context.target().map(Target::authority).filter(|host| !host.is_empty())),
            path: String::new(),
            route: text(context.route_template()),
            object: None,
            verdict,
            rule: rule.to_string(),
            reason: String::new(),
        }
    }
}

impl fmt::Debug for DecisionLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecisionLog").field("allowed", &self.allowed).finish_non_exhaustive()
    }
}

fn trace(record: &DecisionRecord) {
    let DecisionRecord { request_id, issuer, tenant, subject, host, route, object, .. } = record;
    let (roles, scopes) = (joined(&record.roles), joined(&record.scopes));
    tracing::info!(
        target: "portcullis::decision",
        request_id,
        issuer,
        tenant,
        subject,
        roles,
        scopes,
        assurance = record.assurance,
        method = record.method,
        host,
        path = record.path,
        route,
        object,
        verdict = record.verdict.as_str(),
        rule = record.rule,
        reason = record.reason,
        "decided"
    );
}

/// Words with a space between them; a list of JSON where one of them is no word.
fn joined(all: &[String]) -> String {
    let is_odd = |word: &String| word.is_empty() || word.contains([' ', '[']);
    if all.iter().any(is_odd) { json!(all).to_string() } else { all.join(" ") }
}

/// A number from 0 to 1, that nobody need be unable to guess.
fn chance() -> f64 {
    thread_local!(static STATE: Cell<u64> = const { Cell::new(0x9e37_79b9_7f4a_7c15) });
    STATE.with(|state| {
        // Marsaglia, "Xorshift RNGs" (2003).
        let mut next = state.get();
        next ^= next << 13;
        next ^= next >> 7;
        next ^= next << 17;
        state.set(next);
        #[expect(clippy::cast_precision_loss, reason = "what is lost is far below what counts")]
        let share = (next >> 11) as f64 / (1_u64 << 53) as f64;
        share
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let full = DecisionRecord {
            time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_999_999_999_123_457),
            request_id: Some("r-1".to_owned()),
            issuer: Some("https://id.example".to_owned()),
            tenant: Some("acme".to_owned()),
            subject: Some("ada \0 \u{1f600} \"'".to_owned()),
            roles: vec!["clerk".to_owned(), "reader".to_owned()],
            scopes: vec!["orders".to_owned()],
            assurance: Some(2),
            method: "GET".to_owned(),
            host: Some("shop.example".to_owned()),
            path: "/orders/7".to_owned(),
            route: Some("/orders/{id}".to_owned()),
            object: Some("order 7".to_owned()),
            verdict: Verdict::StepUp,
            rule: "permission orders:read".to_owned(),
            reason: "too weak".to_owned(),
        };
        let verdicts = [Verdict::Allow, Verdict::Deny, Verdict::StepUp, Verdict::Indeterminate];
        let bare = verdicts.map(|verdict| DecisionRecord {
            time: SystemTime::UNIX_EPOCH,
            request_id: None,
            issuer: None,
            tenant: None,
            subject: None,
            roles: Vec::new(),
            scopes: Vec::new(),
            assurance: None,
            host: None,
            route: None,
            object: None,
            verdict,
            ..full.clone()
        });
        for record in bare.into_iter().chain([full.clone()]) {
            let text = record.to_json().to_string();
            let read = DecisionRecord::from_json(&serde_json::from_str(&text).unwrap());
            assert_eq!(read, Some(record), "{text}");
        }
        for micros in (1_700_000_000_000_000..).step_by(7_919).take(2_000) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_micros(micros);
            let record = DecisionRecord { time, ..full.clone() };
            assert_eq!(DecisionRecord::from_json(&record.to_json()), Some(record));
        }
        for name in ["time", "roles", "scopes", "method", "path", "verdict", "rule", "reason"] {
            let mut odd = full.to_json();
            odd[name] = Value::Bool(true);
            assert_eq!(DecisionRecord::from_json(&odd), None, "{name}");
        }
    }
}
