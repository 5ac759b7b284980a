//! `[limits.NAME]`: how much somebody may.
use std::collections::{HashMap, HashSet};
use std::time::Duration;

use portcullis_ratelimit::{Key, OnFailure, Quota, SharedCounts, Window};
use serde_json::Value;

use super::bounds::{bounds, joined, rates};
use super::{header_name, network};
use crate::keys;
use crate::limits::{self, Cost, Limit, Place, Shared, StoreCounts};
use crate::reader::{At, Given, Reading, Span, Table, nearest};
use crate::stores::Later;

/// How long a store may take unless the file says otherwise.
const STORE_TIMEOUT: Duration = Duration::from_millis(40);

/// Which limits routes may name, and which of them all routes have.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) all: Vec<String>,
    /// Those that count everywhere: no route names them.
    pub(super) everywhere: HashSet<String>,
    /// Of these, those that count behind the route.
    pub(super) of_all_routes: Vec<String>,
}

/// Who else is in the file.
pub(super) struct Known<'a> {
    pub(super) stores: &'a [Later],
    pub(super) store_names: &'a [String],
    pub(super) roles: &'a [String],
    /// Whether a store has further roles.
    pub(super) has_stored_roles: bool,
}

/// What `[limits]` says.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) limits: Vec<Limit>,
    pub(super) names: Names,
    pub(super) counts: StoreCounts,
}

pub(super) fn read(
    tables: &[(String, Table<'_>)],
    known: &Known<'_>,
    before: Option<&StoreCounts>,
    places: &mut HashMap<String, Span>,
) -> Read {
    let mut read = Read::default();
    for (name, table) in tables {
        places.insert(format!("quota `{name}`"), table.span.clone());
        read.names.all.push(name.clone());
        let everywhere = table.flag("everywhere") == Some(true);
        if everywhere {
            read.names.everywhere.insert(name.clone());
        }
        let told = table.told();
        let limit = limit(name, table, known, &mut |store: &Later, timeout| {
            let at = (store.store().name().to_owned(), timeout);
            let counts = read.counts.entry(at.clone()).or_insert_with(|| {
                let known = before.and_then(|before| before.get(&at)).cloned();
                known.unwrap_or_else(|| limits::counts(store.clone(), Some(timeout)))
            });
            counts.clone()
        });
        let Some(limit) = limit.filter(|_| table.told() == told) else { continue };
        if everywhere && limit.stage != Place::Front {
            read.names.of_all_routes.push(name.clone());
        }
        read.limits.push(limit);
    }
    read
}

/// Tells which limits no route names.
pub(super) fn unused(
    reading: &Reading<'_>,
    tables: &[(String, Table<'_>)],
    names: &Names,
    document: &Value,
) {
    let routes = document.get("routes").and_then(Value::as_array);
    let said = routes.into_iter().flatten().filter_map(|route| route.get("limits"));
    let is_used = |name: &str| {
        said.clone().any(|limits| match limits {
            Value::Array(all) => all.iter().any(|one| one.as_str() == Some(name)),
            one => one.as_str() == Some(name),
        })
    };
    for (name, table) in tables {
        if !names.everywhere.contains(name) && !is_used(name) {
            let error = table.error("no route names it, so it limits nothing");
            let hint =
                format!("add `limits = [\"{name}\"]` to a route, or say `everywhere = true`");
            reading.error(error.hint(hint));
        }
    }
}

fn limit(
    name: &str,
    table: &Table<'_>,
    known: &Known<'_>,
    counts: &mut dyn FnMut(&Later, Duration) -> SharedCounts,
) -> Option<Limit> {
    let count = table.word("count", &["requests", "bytes", "refusals"]);
    let of_bytes = count == Some("bytes");
    let own = bounds(table, of_bytes);
    if table.get("rate").is_none() && table.get("at_once").is_none() {
        let error = table.error("`rate` is missing, and so is `at_once`");
        table.push(
            error.hint("add `rate = \"100/s\"`, or `at_once = 20` for how many may be under way"),
        );
    }
    let by = key(table);
    let mut plans = Vec::new();
    for (plan, given) in table.by_name("plans", keys::BOUNDS) {
        let told = table.told();
        let (quota, says) = match given {
            Given::Table(own) => {
                let says = own.get("rate").is_some() || own.get("at_once").is_some();
                (bounds(&own, of_bytes), says)
            }
            Given::Texts(texts) => (rates(table, &texts, of_bytes).map(joined), !texts.is_empty()),
        };
        if !says && table.told() == told {
            let error = table.error_as(&plan, "it does not say how much");
            table.push(error.hint("say `\"600/min\"`, or `\"unlimited\"`"));
        }
        plans.push((plan, quota));
    }
    plans_fit(table, &plans, by.as_ref());
    let exempt_roles = roles(table, known);
    let exempt = table.some("exempt", network);
    let cost = cost(table, count);
    let wait = table.duration("wait").unwrap_or_default();
    let shadow = table.flag("shadow") == Some(true);
    let everywhere = table.flag("everywhere") == Some(true);
    let shared = shared(table, known, counts);
    let mut quota = own?;
    let by = by?;
    quota = quota.by(by.key);
    let mut names = Vec::new();
    for (plan, bounds) in plans {
        quota = quota.plan(&plan.value, bounds?);
        names.push(plan.value);
    }
    fits(table, &quota, &names, &cost, shared.as_ref());
    let needs_caller = by.needs_caller || !names.is_empty() || !exempt_roles.is_empty();
    let stage = match (needs_caller, everywhere && !by.needs_route) {
        (true, _) => Place::Caller,
        (false, true) => Place::Front,
        (false, false) => Place::Route,
    };
    Some(Limit {
        name: name.to_owned(),
        quota,
        plans: names,
        by: by.text,
        cost,
        wait,
        shadow,
        exempt,
        exempt_roles,
        everywhere,
        stage,
        shared,
    })
}

/// By what is counted.
struct By {
    key: Key,
    text: String,
    needs_caller: bool,
    needs_route: bool,
}

fn key(table: &Table<'_>) -> Option<By> {
    if table.get("key").is_none() {
        let text = "address".to_owned();
        return Some(By { key: Key::Address, text, needs_caller: false, needs_route: false });
    }
    let texts = table.texts("key");
    if texts.is_empty() {
        let error = table.error("`key` says nothing that is counted by");
        table.push(error.hint("say `key = \"everyone\"` for all requests together"));
    }
    let mut keys = Vec::new();
    for text in &texts {
        match one_key(&text.value) {
            Ok(key) => keys.push(key),
            Err((message, near)) => {
                let error = table.error_as(text, message);
                table.push(match near {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error,
                });
            }
        }
    }
    if keys.len() != texts.len() || keys.is_empty() {
        return None;
    }
    let needs_caller =
        keys.iter().any(|key| matches!(key, Key::Identity | Key::Tenant | Key::ApiKey));
    let needs_route = keys.iter().any(|key| matches!(key, Key::Route));
    let text: Vec<_> = texts.into_iter().map(|text| text.value).collect();
    let mut keys = keys.into_iter();
    let key = match (keys.next(), keys.len()) {
        (Some(only), 0) => only,
        (first, _) => first.into_iter().chain(keys).collect::<Vec<_>>().into(),
    };
    Some(By { key, text: text.join(" and "), needs_caller, needs_route })
}

fn one_key(text: &str) -> Result<Key, (String, Option<&'static str>)> {
    const WORDS: [&str; 6] = ["address", "identity", "tenant", "key", "route", "everyone"];
    Ok(match text {
        "address" => Key::Address,
        "identity" => Key::Identity,
        "tenant" => Key::Tenant,
        "key" => Key::ApiKey,
        "route" => Key::Route,
        "everyone" => Key::Everyone,
        _ => {
            let Some(name) = text.strip_prefix("header:") else {
                let message = format!("`{text}` is not one of {}, header:NAME", WORDS.join(", "));
                return Err((message, nearest(text, WORDS)));
            };
            Key::Header(header_name(name).map_err(|message| (message, None))?)
        }
    })
}

/// Plans are those of callers.
fn plans_fit(table: &Table<'_>, plans: &[(At<String>, Option<Quota>)], by: Option<&By>) {
    let Some((first, _)) = plans.first() else { return };
    if let Some(by) = by.filter(|by| !by.needs_caller) {
        let message = format!("a plan is a caller's, and `key` counts by {}", by.text);
        let error = table.error_as(first, message);
        table.push(error.hint("say `key = \"identity\"` or `\"tenant\"`, or drop `plans`"));
    }
}

fn roles(table: &Table<'_>, known: &Known<'_>) -> Vec<String> {
    let roles = table.texts("exempt_roles");
    for role in &roles {
        if known.has_stored_roles || known.roles.contains(&role.value) {
            continue;
        }
        let error = table.error_as(role, format!("there is no role `{}`", role.value));
        table.push(match nearest(&role.value, known.roles.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("add `[roles.{}]`", role.value)),
        });
    }
    roles.into_iter().map(|role| role.value).collect()
}

fn cost(table: &Table<'_>, count: Option<&str>) -> Cost {
    let value = table.get("cost");
    if let (Some(value), Some(count @ ("bytes" | "refusals"))) = (value, count) {
        let message = format!("`count = \"{count}\"` says already what a request costs");
        let error = table.error_at(&value.span(), "cost", message);
        table.push(error.hint("keep one of `count` and `cost`"));
    }
    match count {
        Some("bytes") => return Cost::Bytes,
        Some("refusals") => return Cost::Refusals,
        _ => {}
    }
    if value.is_some_and(|value| value.get_ref().is_table()) {
        let Some(of) = table.table("cost", keys::COST) else { return Cost::Units(1) };
        if of.get("header").is_none() {
            of.missing("header", "header = \"x-tokens\"");
        }
        let first = of.whole("first", 0..=u64::MAX).map_or(1, |first| first.value);
        let header = of.parsed("header", header_name);
        let header = header.map_or_else(String::new, |header| header.value.as_str().to_owned());
        return Cost::Settled { header, first };
    }
    Cost::Units(table.whole("cost", 1..=u64::MAX).map_or(1, |cost| cost.value))
}

/// The store, and what only a store has.
fn shared(
    table: &Table<'_>,
    known: &Known<'_>,
    counts: &mut dyn FnMut(&Later, Duration) -> SharedCounts,
) -> Option<Shared> {
    const MODES: &[&str] = &["local", "open", "closed"];
    let leased = table.flag("leased") == Some(true);
    let mode = table.word("on_store_failure", MODES);
    let replicas = table.whole("replicas", 1..=100_000);
    let timeout = table.time("store_timeout").unwrap_or(STORE_TIMEOUT);
    let value = table.get("store");
    if value.is_none_or(|value| value.get_ref().as_str() == Some("memory")) {
        // A file may say what holds anyway.
        for key in ["leased", "on_store_failure", "replicas", "store_timeout"] {
            let Some(value) = table.get(key) else { continue };
            let says_default = match key {
                "on_store_failure" => mode == Some("local"),
                "replicas" => replicas.as_ref().is_some_and(|count| count.value == 1),
                "leased" => !leased,
                _ => false,
            };
            if !says_default {
                let message = "it means nothing without a `store`: each gateway counts for itself";
                let error = table.error_at(&value.span(), key, message);
                table.push(error.hint(format!("name a store of `[stores]`, or drop `{key}`")));
            }
        }
        return None;
    }
    if let (Some(replicas), Some(mode @ ("open" | "closed"))) = (&replicas, mode) {
        let message = format!("it means nothing with `on_store_failure = \"{mode}\"`");
        let error = table.error_at(&replicas.span, "replicas", message);
        table.push(error.hint("it is for `local`, where each gateway counts its share: drop one"));
    }
    let store = super::stores::named(table, known.stores, known.store_names)?;
    let replicas = replicas.and_then(|count| u32::try_from(count.value).ok()).unwrap_or(1);
    let on_failure = match mode {
        Some("open") => OnFailure::Open,
        Some("closed") => OnFailure::Closed,
        _ => OnFailure::Local { replicas },
    };
    let own = counts(&store, timeout).on_failure(on_failure);
    let own = if leased { own.leased() } else { own };
    let store = store.store().name().to_owned();
    Some(Shared { store, counts: own, leased, on_failure })
}

/// What is wrong with the whole that each part does not show.
fn fits(table: &Table<'_>, quota: &Quota, plans: &[String], cost: &Cost, shared: Option<&Shared>) {
    let windows = || {
        let all = [None].into_iter().chain(plans.iter().map(|plan| Some(plan.as_str())));
        all.flat_map(|plan| quota.bounds(plan))
    };
    let bursts = windows().filter_map(|window| match window {
        Window::Rate(rate) => Some(rate.at_once()),
        _ => None,
    });
    let smallest = bursts.min();
    if windows().next().is_none() {
        let error = table.error("it has no bound, for no plan");
        table.push(error.hint("say a `rate`, or drop the limit"));
        return;
    }
    if smallest.is_none() {
        for key in ["store", "cost", "count", "wait"] {
            let Some(value) = table.get(key) else { continue };
            if matches!(value.get_ref().as_str(), Some("memory" | "requests")) {
                continue;
            }
            let message = match key {
                "store" => "how many are `at_once` is counted in each gateway",
                "wait" => "nobody waits for one of those that are `at_once`",
                _ => "of requests that are `at_once` each counts one",
            };
            let error =
                table.error_at(&value.span(), key, format!("{message}, and there is no `rate`"));
            table.push(error.hint(format!("add `rate = \"100/s\"`, or drop `{key}`")));
        }
    }
    let (Cost::Units(needs) | Cost::Settled { first: needs, .. }) = cost else {
        return waits(table, shared);
    };
    if let Some(burst) = smallest.filter(|burst| needs > burst) {
        let span = table.span_of("cost");
        let message = format!(
            "a request costs {needs}, and there is room for {burst} at once: none would ever get through"
        );
        let error = table.error_at(&span, "cost", message);
        table.push(
            error.hint(format!("say `burst = {needs}` or more, of plans too, or a smaller cost")),
        );
    }
    waits(table, shared);
}

fn waits(table: &Table<'_>, shared: Option<&Shared>) {
    if let Some(wait) = table.get("wait").filter(|_| shared.is_some_and(|shared| shared.leased)) {
        let message = "what is `leased` does not say when there is more, so nobody can wait for it";
        let error = table.error_at(&wait.span(), "wait", message);
        table.push(error.hint("drop `wait` or `leased`"));
    }
}
