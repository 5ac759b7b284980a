//! `[cache]`: what is kept of answers, and where; and `cache` of a route.
use http::{HeaderName, Method};
use portcullis_cache::{Cached, Preset, Scope};
use portcullis_core::route::Methods;
use portcullis_core::{Access, Requirement};

use super::header_name;
use crate::cache::{CacheRules, CacheSettings, Keep, SharedCache};
use crate::keys;
use crate::reader::{At, Table};
use crate::stores::{Later, Store};

/// How much memory has room for, in bytes, unless the file says otherwise.
const CAPACITY: u64 = 64 << 20;
/// How many refreshes may be under way at once.
const BACKGROUND: usize = 64;

/// What a file says that has no `[cache]`.
pub(super) fn defaults() -> CacheSettings {
    CacheSettings {
        keep: Keep { memory: Some(CAPACITY), shared: None, largest: None },
        rules: CacheRules {
            preset: Preset::Application,
            targeted: vec![HeaderName::from_static("cdn-cache-control")],
        },
        name: "portcullis".to_owned(),
        ignored: Vec::new(),
        hide_tags: true,
        background: BACKGROUND,
    }
}

pub(super) fn read(table: &Table<'_>, stores: &[Later], store_names: &[String]) -> CacheSettings {
    let defaults = defaults();
    let preset = match table.word("preset", &["application", "rfc"]) {
        Some("rfc") => Preset::Rfc,
        _ => Preset::Application,
    };
    let targeted = match table.get("targeted") {
        Some(_) => table.parsed_all("targeted", targeted),
        None => defaults.rules.targeted,
    };
    let name = table.parsed("name", token).map_or(defaults.name, |name| name.value);
    let hide_tags = table.flag("hide_tags").unwrap_or(preset == Preset::Application);
    let background = table.whole("background", 1..=100_000);
    let background = background.and_then(|most| usize::try_from(most.value).ok());
    CacheSettings {
        keep: keep(table, stores, store_names),
        rules: CacheRules { preset, targeted },
        name,
        ignored: table.parsed_all("ignore_headers", header_name),
        hide_tags,
        background: background.unwrap_or(defaults.background),
    }
}

fn keep(table: &Table<'_>, stores: &[Later], store_names: &[String]) -> Keep {
    let places = table.texts("store");
    if places.is_empty() && table.get("store").is_some_and(|store| store.get_ref().is_array()) {
        let error = table.error_at(&table.span_of("store"), "store", "it is kept nowhere");
        table.push(error.hint("say `store = \"memory\"`, or take the key out"));
    }
    let (in_memory, named): (Vec<_>, Vec<_>) =
        places.iter().partition(|place| place.value == "memory");
    let mut named = named.into_iter();
    let store = named.next();
    for further in named {
        let error = table.error_as(further, "answers are kept in one store");
        table.push(error.hint("name one, and `memory` where each gateway has some at hand too"));
    }
    let is_in_memory = store.is_none() || !in_memory.is_empty();
    let redis = store.and_then(|store| {
        let found = super::stores::find(table, store, stores, store_names)?;
        redis(table, store, found.store())
    });
    let (compress, capacity) = (table.flag("compress") == Some(true), size(table, "capacity"));
    if compress && store.is_none() {
        let message =
            "memory has answers as they are given out: only what a store has is compressed";
        let error = table.error_at(&table.span_of("compress"), "compress", message);
        table.push(error.hint("name a Redis store in `store`, or drop `compress`"));
    }
    if let (false, Some(_), Some(store)) = (is_in_memory, capacity, store) {
        let message =
            format!("it is that of memory, and answers are kept in `{}` alone", store.value);
        let error = table.error_at(&table.span_of("capacity"), "capacity", message);
        let both = &store.value;
        table.push(
            error.hint(format!("say `store = [\"memory\", \"{both}\"]`, or drop `capacity`")),
        );
    }
    let memory = is_in_memory.then(|| capacity.unwrap_or(CAPACITY));
    let largest = size(table, "largest");
    if let (Some(largest), Some(memory), None) = (largest, memory, store)
        && largest > memory / 2
    {
        let message =
            format!("one answer has at most half of the `capacity`, which is {memory} bytes");
        let error = table.error_at(&table.span_of("largest"), "largest", message);
        table.push(error.hint("say a larger `capacity`, or a smaller `largest`"));
    }
    let shared = redis.map(|store| SharedCache { name: store.name().to_owned(), compress, store });
    Keep { memory, shared, largest }
}

/// A size that is not nothing.
fn size(table: &Table<'_>, key: &str) -> Option<u64> {
    let size = table.size(key)?;
    if size == 0 {
        let error = table.error_at(&table.span_of(key), key, "there would be room for nothing");
        table.push(error.hint(
            "leave the key out for the default; what is not cached has no `cache` at its route",
        ));
        return None;
    }
    Some(size)
}

/// A store that keeps answers.
fn redis(table: &Table<'_>, wanted: &At<String>, store: &Store) -> Option<Store> {
    if !store.has_tables() {
        return Some(store.clone());
    }
    let message = format!("`{}` is a database, which keeps no answers", wanted.value);
    let error = table.error_as(wanted, message);
    table.push(error.hint("say `memory`, or name a store with `redis`"));
    None
}

/// A field that is meant for caches such as this one (RFC 9213).
fn targeted(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    if name == http::header::CACHE_CONTROL {
        return Err("`cache-control` counts anyway, where none of these is there".to_owned());
    }
    Ok(name)
}

/// A token of structured fields (RFC 9651, section 3.3.4).
fn token(text: &str) -> Result<String, String> {
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '*');
    let goes_on = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~:/".contains(c);
    if begins && text.chars().all(goes_on) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no token: write a word of letters, digits, `-`, `.` and `_`, such as `shop-edge`"
    ))
}

/// What a route says of caching; `None` where it says nothing, or something that is wrong.
pub(super) fn of_route(
    table: &Table<'_>,
    access: &Access,
    methods: Option<&Methods>,
) -> Option<Cached> {
    let value = table.get("cache")?;
    let own = value.get_ref().is_table().then(|| table.table("cache", keys::ROUTE_CACHE)).flatten();
    if own.is_none() && table.flag("cache") != Some(true) {
        return None;
    }
    let wrong = |message: &str, hint: &str| {
        table.push(table.error_at(&value.span(), "cache", message).hint(hint));
    };
    if table.flag("streaming") == Some(true) {
        wrong(
            "what is streamed goes on as it comes, and is not kept",
            "drop `streaming` or `cache`",
        );
    }
    let has = |wanted: &[&str]| match methods {
        Some(Methods::These(methods)) => {
            methods.iter().map(Method::as_str).any(|method| wanted.contains(&method))
        }
        _ => true,
    };
    if !has(&["GET", "HEAD", "QUERY", "POST", "PURGE"]) {
        let message = "answers to none of the route's methods are kept";
        wrong(message, "those to GET, HEAD and QUERY are, and some to POST: drop `cache`");
    }
    let mut cached = Cached::new().scope(scope(own.as_ref(), access));
    let Some(own) = own else { return Some(cached) };
    if let Some(ttl) = own.time("default_ttl") {
        cached = cached.default_ttl(ttl);
    }
    if own.flag("purge") == Some(true) {
        let wrong = |message: &str, hint: &str| {
            table.push(own.error_at(&own.span_of("purge"), "purge", message).hint(hint));
        };
        if matches!(access.requirement(), Requirement::Public | Requirement::Optional) {
            let message = "everybody may call the route, and so could purge";
            wrong(
                message,
                "add a route for `methods = [\"PURGE\"]` with `access = { permission = \"cache:purge\" }`, and say it there",
            );
        }
        // The server knows no other methods than the usual ones, and those that routes name.
        if matches!(methods, Some(Methods::Any)) || !has(&["PURGE"]) {
            let message = "PURGE is not named among the route's methods";
            wrong(message, "add it to `methods` of `match`, or drop `purge`");
        }
        cached = cached.purges();
    }
    Some(cached)
}

/// Who shares what is kept.
fn scope(own: Option<&Table<'_>>, access: &Access) -> Scope {
    let is_public = access.is_public();
    let default = if is_public { Scope::Public } else { Scope::Identity };
    let Some(own) = own else { return default };
    let wrong = |message: &str, hint: &str| {
        own.push(own.error_at(&own.span_of("scope"), "scope", message).hint(hint));
    };
    match own.word("scope", &["public", "tenant", "identity"]) {
        Some("public") if !is_public => {
            let message = "the route is not public, and what one caller gets would be everybody's";
            wrong(
                message,
                "say `\"tenant\"` or `\"identity\"`; an answer that says `public` is shared anyway",
            );
        }
        Some("tenant" | "identity") if is_public => {
            let message = "the route is public, so nobody is asked who they are";
            wrong(message, "drop `scope`, or say `access = \"authenticated\"` or more");
        }
        Some("tenant") => return Scope::Tenant,
        _ => {}
    }
    default
}
