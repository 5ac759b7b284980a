//! What roles cannot say: policies.
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use portcullis_core::{Context, Identity, Route, Target, Verdict};

use crate::Resource;
use crate::live::LiveRoles;
use crate::roles::Roles;

/// Decides what roles cannot say. A route asks it by its name: `policy("owners")` in code, `access = { policy = "owners" }` in the file.
///
/// It is asked about callers who are known; one who is not gets 401 before. A function is one:
///
/// ```
/// use portcullis_authz::{AuthorizeLayer, Opinion, Question, Roles};
/// let by_day = |question: &Question<'_>| match question.identity().claim("department") {
///     Some(department) if department == "night" => Opinion::deny("not by day"),
///     Some(_) => Opinion::allow("works by day"),
///     None => Opinion::indeterminate("no department"),
/// };
/// let layer = AuthorizeLayer::new(Roles::default()).policy("by-day", by_day);
/// ```
#[async_trait]
pub trait Policy: Send + Sync + 'static {
    /// What it thinks, where nobody need be asked for it. `None` has [`decide`](Self::decide) called.
    fn decide_now(&self, question: &Question<'_>) -> Option<Opinion>;
    /// What it thinks, when somebody must be asked: a database, another server. It has the time that the request has, and five seconds at most;
    /// a request that is gone drops it at any await point. Default: it cannot tell.
    async fn decide(&self, question: &Question<'_>) -> Opinion {
        let opinion = self.decide_now(question);
        opinion.unwrap_or_else(|| Opinion::indeterminate("the policy has no answer"))
    }
}

impl<F> Policy for F
where
    F: Fn(&Question<'_>) -> Opinion + Send + Sync + 'static,
{
    fn decide_now(&self, question: &Question<'_>) -> Option<Opinion> {
        Some(self(question))
    }
}

/// What a [`Policy`] thinks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opinion {
    verdict: Verdict,
    reason: Cow<'static, str>,
}

impl Opinion {
    /// The caller may, and why: a word or two for logs and for whoever asks for an explanation.
    pub fn allow(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict: Verdict::Allow, reason: reason.into() }
    }
    /// The caller may not.
    pub fn deny(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict: Verdict::Deny, reason: reason.into() }
    }
    /// The caller may, after a stronger proof of identity.
    pub fn step_up(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict: Verdict::StepUp, reason: reason.into() }
    }
    /// It cannot be told: 503, and never access.
    pub fn indeterminate(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { verdict: Verdict::Indeterminate, reason: reason.into() }
    }
    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }
    /// Why.
    pub fn reason(&self) -> &str {
        &self.reason
    }
    pub(crate) fn into_parts(self) -> (Verdict, Cow<'static, str>) {
        (self.verdict, self.reason)
    }
}

/// What a [`Policy`] is asked: who wants to do what with what.
#[derive(Clone, Copy)]
pub struct Question<'a> {
    pub(crate) context: &'a Context,
    pub(crate) identity: &'a Identity,
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) action: Option<&'a str>,
    pub(crate) resource: Option<&'a Resource>,
    pub(crate) roles: Option<&'a LiveRoles>,
}

impl<'a> Question<'a> {
    /// The same question as one about a request's head. For tests of policies.
    pub fn about(context: &'a Context, identity: &'a Identity, request: &'a Parts) -> Self {
        Self {
            context,
            identity,
            method: &request.method,
            uri: &request.uri,
            headers: &request.headers,
            action: None,
            resource: None,
            roles: None,
        }
    }
    /// The roles that count for the caller, as the layer decides it: those that they came with and those of bindings (everywhere, or in the caller's own
    /// tenant), with what these inherit from; of a session that has activated some, those alone; none of those that are kept apart where the caller has too many.
    pub fn roles(&self) -> BTreeSet<String> {
        match self.roles {
            Some(roles) => roles.with(|roles| roles.counting(self.identity)),
            None => Roles::default().counting(self.identity),
        }
    }
    /// Who asks.
    pub fn identity(&self) -> &'a Identity {
        self.identity
    }
    /// What our layers know about the request: client address, connection, clock.
    pub fn context(&self) -> &'a Context {
        self.context
    }
    /// The route, where there is one.
    pub fn route(&self) -> Option<&'a Route> {
        self.context.route()
    }
    /// The method.
    pub fn method(&self) -> &'a Method {
        self.method
    }
    /// The path, in its one spelling where the edge has been.
    pub fn path(&self) -> &'a str {
        self.context.target().map_or_else(|| self.uri.path(), Target::path)
    }
    /// What is asked for, query included.
    pub fn uri(&self) -> &'a Uri {
        self.uri
    }
    /// The headers, as the client sent them: whoever decides by one looks at all its lines, and at every part of each
    /// ([`header_values`](Self::header_values)).
    pub fn headers(&self) -> &'a HeaderMap {
        self.headers
    }
    /// Everything that a header says: all its lines, and the parts of each that commas separate, without quotes. Bytes that are no UTF-8 stand as `U+FFFD`,
    /// so that a value cannot hide behind them.
    pub fn header_values(&self, name: &str) -> Vec<String> {
        let lines = self.headers.get_all(name).iter();
        let lines = lines.map(|line| String::from_utf8_lossy(line.as_bytes()).into_owned());
        lines.flat_map(|line| members(&line)).collect()
    }
    /// A parameter of the path, as the route's template calls it.
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        let template = self.route()?.template();
        let mut have = self.path().split('/');
        for part in template.split('/') {
            let Some(parameter) = part.strip_prefix('{').and_then(|it| it.strip_suffix('}')) else {
                have.next()?;
                continue;
            };
            if let Some(rest) = parameter.strip_prefix('*') {
                let start = have.next()?;
                return (rest == name).then(|| self.path().get(offset(self.path(), start)..))?;
            }
            let value = have.next()?;
            if parameter == name {
                return Some(value);
            }
        }
        None
    }
    /// What the caller wants to do with the [resource](Self::resource), where the application asks about one.
    pub fn action(&self) -> Option<&'a str> {
        self.action
    }
    /// What it is about, where the application asks about an object. `None` on the way in: then it is about the route.
    pub fn resource(&self) -> Option<&'a Resource> {
        self.resource
    }
}

/// Where a part of a text begins in it.
fn offset(whole: &str, part: &str) -> usize {
    part.as_ptr() as usize - whole.as_ptr() as usize
}

/// The parts of a list that commas separate (RFC 9110, section 5.6.1), each without its quotes.
fn members(line: &str) -> Vec<String> {
    let (mut all, mut current, mut quoted, mut escaped) = (Vec::new(), String::new(), false, false);
    for c in line.chars() {
        match c {
            _ if escaped => {
                current.push(c);
                escaped = false;
            }
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => all.push(std::mem::take(&mut current)),
            _ => current.push(c),
        }
    }
    all.push(current);
    if quoted {
        // A quote that nobody closes hides nothing from whoever does not look at quotes either.
        all = line.split(',').map(|member| member.replace('"', "")).collect();
    }
    let all = all.into_iter().map(|member| member.trim().to_owned());
    all.filter(|member| !member.is_empty()).collect()
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("identity", &self.identity.key())
            .field("method", &self.method)
            .field("path", &self.path())
            .field("action", &self.action)
            .field("resource", &self.resource)
            .finish_non_exhaustive()
    }
}

/// Policies by their names.
#[derive(Clone, Default)]
pub(crate) struct Policies(Vec<(Arc<str>, Arc<dyn Policy>)>);

impl Policies {
    pub(crate) fn put(&mut self, name: Arc<str>, policy: Arc<dyn Policy>) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, policy));
    }
    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn Policy>> {
        self.0.iter().find(|(known, _)| **known == *name).map(|(_, policy)| policy)
    }
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &**name)
    }
}

impl fmt::Debug for Policies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_list_is_seen() {
        for (line, parts) in [
            ("user, admin", &["user", "admin"][..]),
            ("\"admin\"", &["admin"]),
            ("\"a,b\" ,c", &["a,b", "c"]),
            ("\"ad\\min\"", &["admin"]),
            ("ad\"min\"", &["admin"]),
            (" , ,", &[]),
            ("\"open", &["open"]),
            ("\"user, admin", &["user", "admin"]),
            ("\"a\", \"user, admin", &["a", "user", "admin"]),
        ] {
            assert_eq!(members(line), parts, "{line}");
        }
    }
}
