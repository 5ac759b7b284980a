//! What two files do differently, what somebody could not do before first.
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;

use ipnet::IpNet;
use portcullis_core::route::OnlyFrom;
use portcullis_core::{Requirement, Route};
use portcullis_gateway::IdentityTokens;
use serde_json::Value;

use crate::read::{NamedPolicy, network};
use crate::source::FileErrors;
use crate::{Gateway, cache_changes, limit_changes};

/// Keys of `[server]` that a running gateway follows; all others are read when it starts.
const FOLLOWED: [&str; 3] = ["limit_fields", "trusted_proxies", "widened_access"];
/// Keys whose values nobody need see.
const SECRET: [&str; 9] = [
    "hash",
    "sql",
    "redis",
    "admin_token",
    "client_secret",
    "request_headers",
    "response_headers",
    "headers",
    "query",
];
/// Keys that say whom a server takes a caller for, and whose pages may read: whatever changes there may let somebody do more.
const TRUST: [&str; 13] = [
    "identity",
    "request_headers",
    "cors",
    "client_ca",
    "jwt",
    "certificates",
    "basic",
    "session",
    "store",
    "stores",
    "policies",
    "separation",
    "explain",
];

/// What a gateway does differently from another one.
///
/// Access is compared by what becomes of requests: for each route of either file, requests that it is for go through both. So a route that
/// is gone, or that another one stands in front of, counts too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    widened: Vec<String>,
    narrowed: Vec<String>,
    other: Vec<String>,
}

impl Changes {
    /// What somebody can do now that they could not do before.
    pub fn widened(&self) -> &[String] {
        &self.widened
    }
    /// What somebody can no longer do.
    pub fn narrowed(&self) -> &[String] {
        &self.narrowed
    }
    /// Which values of the file differ.
    pub fn other(&self) -> &[String] {
        &self.other
    }
    /// How many there are.
    pub fn len(&self) -> usize {
        self.widened.len() + self.narrowed.len() + self.other.len()
    }
    /// A value of the file differs.
    fn at(&mut self, place: &str, what: &str) {
        self.with(place, what, &Value::Null);
    }
    /// The same of what has come or gone, with all that is in it.
    fn with(&mut self, place: &str, what: &str, inside: &Value) {
        let line = format!("{place}: {what}");
        let is_trusted = place.split(['.', '[']).any(|part| TRUST.contains(&part));
        // What limits let through, and who shares what is cached, is compared as a whole; `store` there is no matter of trust.
        let is_compared = ["limits", "cache"].contains(&place.split('.').next().unwrap_or(place));
        if !is_compared && (is_trusted || has_trust(inside)) {
            self.widened.push(line.clone());
        }
        self.other.push(line);
    }
    /// Whether both do the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One change a line; a line that says so where there is none.
impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds =
            [("widened", &self.widened), ("narrowed", &self.narrowed), ("changed", &self.other)];
        for (kind, lines) in kinds {
            for line in lines {
                writeln!(f, "{kind}: {line}")?;
            }
        }
        if self.is_empty() { f.write_str("nothing has changed\n") } else { Ok(()) }
    }
}

impl Gateway {
    /// What this gateway does differently from `before`.
    pub fn changes_since(&self, before: &Self) -> Changes {
        diff(before, self)
    }
}

pub(crate) fn diff(before: &Gateway, after: &Gateway) -> Changes {
    let mut changes = Changes::default();
    for issuer in &after.issuers {
        let known = before.issuers.iter().find(|known| known.name == issuer.name);
        if known.is_some_and(|known| known.keys != issuer.keys) {
            changes.at(&format!("auth.jwt.{}.jwks", issuer.name), "the file has other keys");
        }
        let place = format!("/auth/jwt/{}", issuer.name);
        let says_the_same = before.document.pointer(&place) == after.document.pointer(&place);
        if says_the_same && known.is_some_and(|known| known.said != issuer.said) {
            changes.at(&format!("auth.jwt.{}", issuer.name), "a file of authorities has changed");
        }
    }
    for NamedPolicy { name, said, .. } in &after.policies {
        let known = before.policies.iter().find(|known| known.name == *name);
        let place = format!("/policies/{name}");
        let says_the_same = before.document.pointer(&place) == after.document.pointer(&place);
        if says_the_same && known.is_some_and(|known| known.said != *said) {
            changes.at(&format!("policies.{name}"), "its files say something else");
        }
    }
    let kids = |gateway: &Gateway| gateway.identity_tokens.as_ref().map(IdentityTokens::kids);
    if kids(before) != kids(after) {
        changes.at("identity_token.keys", "the files have other keys");
    }
    if before.document == after.document {
        return changes;
    }
    if ["routes", "roles"].iter().any(|key| before.document.get(key) != after.document.get(key)) {
        compare_access(before, after, &mut changes);
    }
    compare_keys(before, after, &mut changes);
    compare_networks(before, after, &mut changes);
    for method in after.methods().beside(before.methods()) {
        changes.widened.push(format!("methods: routes that name none take {method}"));
    }
    for method in before.methods().beside(after.methods()) {
        changes.narrowed.push(format!("methods: routes that name none no longer take {method}"));
    }
    let limits = limit_changes::compare(before, after);
    changes.widened.extend(limits.widened);
    changes.narrowed.extend(limits.narrowed);
    let cache = cache_changes::compare(before, after);
    changes.widened.extend(cache.widened);
    changes.narrowed.extend(cache.narrowed);
    compare("", &before.document, &after.document, &mut changes);
    changes
}

/// What cannot change while the gateway runs.
pub(crate) fn fixed(before: &Gateway, after: &Gateway) -> Result<(), FileErrors> {
    let mut errors = FileErrors::default();
    for section in ["server", "telemetry", "stores", "auth"] {
        let nothing = Value::Null;
        let of = |gateway: &Gateway, key: &str| {
            gateway.document.get(section).and_then(|table| table.get(key)).cloned()
        };
        let all = [before, after].map(|gateway| gateway.document.get(section).unwrap_or(&nothing));
        let keys: BTreeSet<_> = all
            .iter()
            .filter_map(|table| table.as_object())
            .flat_map(|table| table.keys())
            .collect();
        for key in keys {
            let is_followed = section == "server" && FOLLOWED.contains(&key.as_str());
            if is_followed || of(before, key) == of(after, key) {
                continue;
            }
            // Of who is known, what is open for it: the rest is followed.
            let store = |gateway: &Gateway| {
                gateway.document.pointer(&format!("/auth/{key}/store")).cloned()
            };
            let keeps_its_store = key != "api_key" || store(before) == store(after);
            if section == "auth" && key != "session" && keeps_its_store {
                continue;
            }
            let message = "it is read only when the gateway starts, and differs from what runs";
            let error = after.source().error(None, &format!("{section}.{key}"), message);
            errors.push(error.hint(
                "start the gateway anew, which loses no request with `handover` in `[server]`, or take the change back",
            ));
        }
    }
    errors.or(())
}

/// Who may do something.
#[derive(Clone, PartialEq, Eq)]
enum Who {
    Nobody,
    /// Those with one of these roles.
    Roles(BTreeSet<String>),
    /// Those with one of these roles, and whomever a store gives this permission.
    Stored(BTreeSet<String>, String),
    /// Whomever a policy allows.
    Policy(String),
    /// Everybody who says who they are.
    Known,
    Everybody,
}

impl Who {
    fn of(route: Option<&Route>, gateway: &Gateway) -> Self {
        let Some(route) = route else { return Self::Nobody };
        match route.access().requirement() {
            Requirement::Public | Requirement::Optional => Self::Everybody,
            Requirement::Authenticated => Self::Known,
            Requirement::Permission(permission) => {
                let roles = gateway.roles();
                let with = roles.names().filter(|role| roles.grants(role, permission));
                let with = with.map(str::to_owned).collect();
                if gateway.has_stored_roles() {
                    return Self::Stored(with, permission.to_string());
                }
                Self::Roles(with)
            }
            other => Self::Policy(other.to_string()),
        }
    }
    /// Whether all of these are among the others.
    fn is_within(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nobody, _) | (_, Self::Everybody) => true,
            (Self::Roles(these), _) if these.is_empty() => true,
            (Self::Roles(some), Self::Roles(others) | Self::Stored(others, _)) => {
                some.is_subset(others)
            }
            // What a store gives is not known here: only the same permission is given to the same.
            (Self::Stored(some, this), Self::Stored(others, that)) => {
                this == that && some.is_subset(others)
            }
            (Self::Roles(_) | Self::Stored(..) | Self::Policy(_) | Self::Known, Self::Known) => {
                true
            }
            (Self::Policy(this), Self::Policy(that)) => this == that,
            _ => false,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Roles(roles) if roles.is_empty() => f.write_str("nobody"),
            Self::Roles(roles) => f.write_str(&listed(roles)),
            Self::Stored(roles, permission) => {
                if !roles.is_empty() {
                    write!(f, "{}, and ", listed(roles))?;
                }
                write!(f, "whomever the store gives `{permission}`")
            }
            Self::Policy(name) => f.write_str(name),
            Self::Known => f.write_str("everybody who says who they are"),
            Self::Everybody => f.write_str("everybody"),
        }
    }
}

fn listed(roles: &BTreeSet<String>) -> String {
    let names: Vec<_> = roles.iter().map(String::as_str).collect();
    if names.is_empty() { "no role".to_owned() } else { format!("role {}", names.join(", ")) }
}

/// Whether every network of `inner` lies in one of `outer`; no list at all is every network.
fn are_within(inner: Option<&[IpNet]>, outer: Option<&[IpNet]>) -> bool {
    let Some(outer) = outer else { return true };
    inner.is_some_and(|inner| inner.iter().all(|net| outer.iter().any(|wide| wide.contains(net))))
}

fn networks(route: Option<&Route>) -> Option<Vec<IpNet>> {
    Some(route?.options().get::<OnlyFrom>()?.networks().to_vec())
}

/// Whether one asks for fewer scopes, for more issuers, or for a weaker proof, than the other.
fn asks_less(one: Option<&Route>, other: Option<&Route>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return false };
    let (one, other) = (one.access(), other.access());
    let has_scope = |scope| one.scopes().any(|own| own == scope);
    let is_weaker = match (one.step_up(), other.step_up()) {
        (None, Some(_)) => true,
        (Some(one), Some(other)) => {
            one.level < other.level
                || other.max_age.is_some_and(|age| one.max_age.is_none_or(|own| own > age))
        }
        (_, None) => false,
    };
    let takes_more = match (one.issuers().len(), other.issuers().len()) {
        (_, 0) => false,
        (0, _) => true,
        _ => !one.issuers().all(|issuer| other.takes(issuer)),
    };
    takes_more || is_weaker || !other.scopes().all(has_scope)
}

/// Whether a route is for the same requests, and asks the same of them. Which of several routes a request gets depends on nothing else
/// but, sometimes, their order.
fn is_alike(one: &Route, other: &Route) -> bool {
    one.template() == other.template()
        && one.methods() == other.methods()
        && one.matching() == other.matching()
        && one.access() == other.access()
        && networks(Some(one)) == networks(Some(other))
}

/// What a route is for, so that no two are alike that differ.
fn key_of(route: &Route) -> String {
    format!("{} {:?} {}", route.methods(), route.matching(), route.template())
}

/// What a route is for, without the values of headers and queries, which may be secret.
fn place_of(route: &Route) -> String {
    let mut place = route.template().to_owned();
    let conditions = route.matching().conditions();
    let names = conditions.map(|it| it.split('=').next().unwrap_or_default().to_owned());
    for part in route.matching().hosts().chain(names) {
        place.push(' ');
        place.push_str(&part);
    }
    place
}

/// What examples cannot prove: a route that is for other requests than any before may take some that a narrower one had or nobody
/// answered, and one that is gone, or has another place, may leave some to a wider one.
fn unproven(before: &Gateway, after: &Gateway, changes: &mut Changes) {
    let by_key = |gateway: &Gateway| -> BTreeMap<String, Route> {
        gateway.table().routes().map(|route| (key_of(&route), route)).collect()
    };
    let (old, new) = (by_key(before), by_key(after));
    for (_, route) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
        let is = Who::of(Some(route), after);
        if !is.is_within(&Who::Nobody) {
            let place = place_of(route);
            changes.widened.push(format!("{} {place}: a new route, for {is}", route.methods()));
        }
    }
    for (_, route) in old.iter().filter(|(key, _)| !new.contains_key(*key)) {
        let was = Who::of(Some(route), before);
        let is_guard = networks(Some(route)).is_some()
            || new.values().any(|has| !Who::of(Some(has), after).is_within(&was));
        if is_guard {
            let place = place_of(route);
            changes.widened.push(format!(
                "{} {place}: is gone, for {was}; a wider route may take its requests",
                route.methods()
            ));
        }
    }
    // Of routes with as many conditions the first one counts.
    let in_order = |gateway: &Gateway, other: &BTreeMap<String, Route>| -> Vec<String> {
        let routes = gateway.table().routes();
        let routes = routes.filter(|route| route.matching().conditions().len() > 0);
        routes.map(|route| key_of(&route)).filter(|key| other.contains_key(key)).collect()
    };
    if in_order(before, &new) != in_order(after, &old) {
        let what = "routes with conditions stand in another order, and of several the first counts";
        changes.widened.push(what.to_owned());
    }
}

fn compare_access(before: &Gateway, after: &Gateway, changes: &mut Changes) {
    let (old, new) = (before.table(), after.table());
    let are_alike = old.len() == new.len()
        && old.routes().zip(new.routes()).all(|(one, other)| is_alike(&one, &other));
    if are_alike && before.document.get("roles") == after.document.get("roles") {
        return;
    }
    unproven(before, after, changes);
    // By what is said of it, the methods of one route together.
    let (mut widened, mut narrowed) = (BTreeMap::new(), BTreeMap::new());
    let mut seen = HashSet::new();
    for route in new.routes().chain(old.routes()) {
        if !seen.insert(key_of(&route)) {
            continue;
        }
        let place = place_of(&route);
        for example in route.examples() {
            let (then, now) = (old.route_of(&example), new.route_of(&example));
            let (was, is) = (Who::of(then.as_ref(), before), Who::of(now.as_ref(), after));
            let tell = |to: &mut BTreeMap<(String, String), BTreeSet<String>>, what| {
                let methods = to.entry((place.clone(), what)).or_default();
                methods.insert(example.method().to_string());
            };
            let (from_then, from_now) = (networks(then.as_ref()), networks(now.as_ref()));
            let in_both = was != Who::Nobody && is != Who::Nobody;
            if in_both && asks_less(now.as_ref(), then.as_ref()) {
                tell(
                    &mut widened,
                    "with fewer scopes, by more issuers, or with a weaker step-up".to_owned(),
                );
            }
            if in_both && asks_less(then.as_ref(), now.as_ref()) {
                tell(
                    &mut narrowed,
                    "with more scopes, by fewer issuers, or with a stronger step-up".to_owned(),
                );
            }
            if !is.is_within(&was) {
                tell(&mut widened, format!("for {is}; before, for {was}"));
            } else if in_both && !are_within(from_now.as_deref(), from_then.as_deref()) {
                tell(&mut widened, "from more networks".to_owned());
            }
            if !was.is_within(&is) {
                tell(&mut narrowed, format!("for {is}; before, for {was}"));
            } else if in_both && !are_within(from_then.as_deref(), from_now.as_deref()) {
                tell(&mut narrowed, "from fewer networks".to_owned());
            }
        }
    }
    for (from, to) in [(widened, &mut changes.widened), (narrowed, &mut changes.narrowed)] {
        to.extend(from.into_iter().map(|((place, what), methods)| {
            let methods: Vec<_> = methods.into_iter().collect();
            format!("{} {place}: {what}", methods.join("|"))
        }));
    }
}

/// What a key opens.
struct Key {
    id: String,
    roles: BTreeSet<String>,
    tenant: Option<String>,
    /// Its scopes, until when it is good, and its plan.
    rest: [Option<Value>; 3],
}

/// The keys by their digests: whoever has the secret has what stands there, whatever it is called.
fn api_keys(gateway: &Gateway) -> BTreeMap<String, Key> {
    let keys = gateway.document.pointer("/auth/api_key/keys").and_then(Value::as_array);
    let of = |key: &Value| {
        let roles = key.get("roles").and_then(Value::as_array).into_iter().flatten();
        let roles = roles.filter_map(Value::as_str).map(str::to_owned).collect();
        let tenant = key.get("tenant").and_then(Value::as_str).map(str::to_owned);
        let digest = key.get("hash")?.as_str()?.to_ascii_lowercase();
        let rest = ["scopes", "expires", "plan"].map(|name| key.get(name).cloned());
        Some((digest, Key { id: key.get("id")?.as_str()?.to_owned(), roles, tenant, rest }))
    };
    keys.into_iter().flatten().filter_map(of).collect()
}

fn compare_keys(before: &Gateway, after: &Gateway, changes: &mut Changes) {
    let (old, new) = (api_keys(before), api_keys(after));
    for (digest, key) in &new {
        let Key { id, roles, tenant, rest } = key;
        let Some(had) = old.get(digest) else {
            changes.widened.push(format!("API key `{id}`: a new secret, with {}", listed(roles)));
            continue;
        };
        if *rest != had.rest {
            changes.widened.push(format!(
                "API key `{id}`: other scopes, another plan, or good until another time"
            ));
        }
        if (tenant, id) != (&had.tenant, &had.id) {
            changes.widened.push(format!("API key `{id}`: stands for somebody else than before"));
        }
        let difference = |one: &BTreeSet<_>, other: &BTreeSet<_>| -> BTreeSet<String> {
            one.difference(other).cloned().collect()
        };
        let (gained, taken) = (difference(roles, &had.roles), difference(&had.roles, roles));
        if !gained.is_empty() {
            changes.widened.push(format!("API key `{id}`: gains {}", listed(&gained)));
        }
        if !taken.is_empty() {
            changes.narrowed.push(format!("API key `{id}`: loses {}", listed(&taken)));
        }
    }
    for (_, key) in old.iter().filter(|(digest, _)| !new.contains_key(*digest)) {
        changes.narrowed.push(format!("API key `{}`: is gone", key.id));
    }
}

/// Networks of the server as a whole. Only a list that stands there limits anything.
fn compare_networks(before: &Gateway, after: &Gateway, changes: &mut Changes) {
    let list = |gateway: &Gateway, key: &str| -> Option<Vec<IpNet>> {
        let list = gateway.document.get("server")?.get(key)?.as_array()?;
        Some(list.iter().filter_map(Value::as_str).filter_map(|net| network(net).ok()).collect())
    };
    let mut tell = |key: &str, is_wider: bool, is_narrower: bool, what: &str| {
        if is_wider {
            changes.widened.push(format!("server.{key}: {what}"));
        } else if is_narrower {
            changes.narrowed.push(format!("server.{key}: {what}"));
        }
    };
    let (old, new) = (list(before, "allow"), list(after, "allow"));
    let (wider, narrower) =
        (!are_within(new.as_deref(), old.as_deref()), !are_within(old.as_deref(), new.as_deref()));
    tell("allow", wider, narrower, "other networks may connect");
    for (key, adding_widens, what) in [
        ("deny", false, "other networks may not connect"),
        ("trusted_proxies", true, "others are believed what they say of clients"),
        ("proxy_protocol", true, "others are believed what they say of clients"),
    ] {
        let (old, new) =
            (list(before, key).unwrap_or_default(), list(after, key).unwrap_or_default());
        let (more, less) =
            (!are_within(Some(&new), Some(&old)), !are_within(Some(&old), Some(&new)));
        let (wider, narrower) = if adding_widens { (more, less) } else { (less, more) };
        tell(key, wider, narrower, what);
    }
}

/// Each value that differs, by its place.
fn compare(place: &str, before: &Value, after: &Value, changes: &mut Changes) {
    if before == after {
        return;
    }
    if !is_secret(place)
        && let Some((old, new)) = members(before, after)
    {
        let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for key in keys {
            let is_listed = key.starts_with('[') || place.is_empty();
            let inner = if is_listed { format!("{place}{key}") } else { format!("{place}.{key}") };
            match (old.get(key), new.get(key)) {
                (Some(old), Some(new)) => compare(&inner, old, new, changes),
                (None, Some(new)) => {
                    let what = format!("is new: {}", shown(&inner, new));
                    changes.with(&inner, &what, new);
                }
                (Some(old), None) => changes.with(&inner, "is gone", old),
                (None, None) => {}
            }
        }
        return;
    }
    changes.at(place, &format!("{} -> {}", shown(place, before), shown(place, after)));
}

/// Whether something of what servers take a caller for stands in there.
fn has_trust(value: &Value) -> bool {
    match value {
        Value::Object(table) => {
            table.iter().any(|(key, it)| TRUST.contains(&key.as_str()) || has_trust(it))
        }
        Value::Array(list) => list.iter().any(has_trust),
        _ => false,
    }
}

/// Whether nobody need see what stands there.
fn is_secret(place: &str) -> bool {
    SECRET.contains(&place.rsplit('.').next().unwrap_or(place))
}

type Members<'a> = BTreeMap<String, &'a Value>;

/// What is inside of both, by name: also of lists of tables, each of which is known by what it is called or what it is for.
fn members<'a>(before: &'a Value, after: &'a Value) -> Option<(Members<'a>, Members<'a>)> {
    let are_tables = |list: &[Value]| list.iter().all(Value::is_object);
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let all = |table: &'a serde_json::Map<String, Value>| {
                table.iter().map(|(key, it)| (key.clone(), it)).collect()
            };
            Some((all(before), all(after)))
        }
        (Value::Array(before), Value::Array(after)) if are_tables(before) && are_tables(after) => {
            // What is alike at the beginning and at the end, which is nearly all of a long list.
            let alike = before.iter().zip(after).take_while(|(one, other)| one == other).count();
            let (before, after) = (before.get(alike..)?, after.get(alike..)?);
            let ends = before.iter().rev().zip(after.iter().rev());
            let end = ends.take_while(|(one, other)| one == other).count();
            let named = |list: &'a [Value]| Some(named(list.get(..list.len() - end)?, alike));
            Some((named(before)?, named(after)?))
        }
        _ => None,
    }
}

fn named(list: &[Value], first: usize) -> Members<'_> {
    let mut named = BTreeMap::new();
    for (at, one) in (first..).zip(list) {
        let name = format!("[{}]", called(one).unwrap_or_else(|| at.to_string()));
        // The second of one name is known by its place.
        let name = if named.contains_key(&name) { format!("{name}#{at}") } else { name };
        named.insert(name, one);
    }
    named
}

/// What a table in a list is called, or what it is for.
fn called(one: &Value) -> Option<String> {
    let name = ["name", "id", "cert", "url"].iter().find_map(|key| one.get(key)?.as_str());
    if let Some(name) = name {
        return Some(name.to_owned());
    }
    let matching = one.get("match")?.as_object()?;
    let path = matching.get("path")?.as_str()?;
    let others = matching.iter().filter(|(key, _)| *key != "path");
    // Their values may be secret.
    let others: Vec<_> = others
        .map(|(key, it)| match it {
            Value::Object(inner) => {
                let names: Vec<_> = inner.keys().map(String::as_str).collect();
                format!(" {key} {}", names.join(","))
            }
            it => format!(" {key}={it}"),
        })
        .collect();
    Some(format!("{path}{}", others.concat()))
}

fn shown(place: &str, value: &Value) -> String {
    if is_secret(place) {
        return "(not shown)".to_owned();
    }
    match value {
        Value::Object(table) => {
            let inner = table.iter().map(|(key, it)| format!("{key} = {}", shown(key, it)));
            format!("{{ {} }}", inner.collect::<Vec<_>>().join(", "))
        }
        Value::Array(list) => {
            let inner = list.iter().map(|it| shown("", it));
            format!("[{}]", inner.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
