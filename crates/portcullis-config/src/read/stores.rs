//! `[stores.NAME]`, `[auth.session]`, and who else keeps something in a store.
use std::collections::HashMap;
use std::time::Duration;

use http::HeaderValue;
use portcullis_authn::{CachedSessions, Sessions};

use crate::keys;
use crate::reader::{At, Span, Table, nearest};
use crate::stores::{Later, Store};

/// The stores of the file, by their names; those that are open already where the file says the same of them.
pub(super) fn stores(tables: &[(String, Table<'_>)], open: &[Later]) -> Vec<Later> {
    let stores = tables.iter().filter_map(|(name, table)| store(name, table));
    stores
        .map(|store| {
            let known = open.iter().find(|known| known.store().name() == store.name());
            known.cloned().unwrap_or_else(|| Later::new(store))
        })
        .collect()
}

fn store(name: &str, table: &Table<'_>) -> Option<Store> {
    let (has_sql, has_redis) = (table.get("sql").is_some(), table.get("redis").is_some());
    if has_sql == has_redis {
        let error = table.error(if has_sql {
            "it is in two places: `sql` and `redis`"
        } else {
            "it says not where it is"
        });
        table.push(error.hint(
            "say `sql = \"sqlite://portcullis.db\"` or `redis = \"redis://127.0.0.1:6379\"`",
        ));
        return None;
    }
    if has_sql {
        if table.get("prefix").is_some() {
            table.push(
                table
                    .error("`prefix` means nothing for a database")
                    .hint("drop it: its tables are called `portcullis_..`"),
            );
        }
        return Some(table.parsed("sql", |url| Store::sql(name, url))?.value);
    }
    let prefix = table.text("prefix").map_or_else(|| "portcullis".to_owned(), |text| text.value);
    Some(table.parsed("redis", |url| Store::redis(name, url, &prefix))?.value)
}

/// The store that a table names.
pub(super) fn named(table: &Table<'_>, stores: &[Later], names: &[String]) -> Option<Later> {
    find(table, &table.text("store")?, stores, names)
}

/// The store of this name.
pub(super) fn find(
    table: &Table<'_>,
    wanted: &At<String>,
    stores: &[Later],
    names: &[String],
) -> Option<Later> {
    let found = stores.iter().find(|known| known.store().name() == wanted.value);
    if found.is_none() && !names.contains(&wanted.value) {
        let message = format!("there is no store `{}`", wanted.value);
        let error = table.error_as(wanted, message);
        table.push(match nearest(&wanted.value, names.iter().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint(format!("add `[stores.{}]`", wanted.value)),
        });
    }
    found.cloned()
}

/// Sessions of browsers; `None` where there are none.
pub(super) fn sessions(
    auth: Option<&Table<'_>>,
    (stores, names): (&[Later], &[String]),
    places: &mut HashMap<String, Span>,
) -> Option<Sessions> {
    let table = auth?.table("session", keys::SESSION)?;
    places.insert("Sessions".to_owned(), table.span.clone());
    if table.get("store").is_none() {
        table.missing("store", "store = \"main\"");
    }
    let store = named(&table, stores, names);
    let plain = table.flag("insecure_plain_http") == Some(true);
    let cookie = table.text("cookie");
    let (idle, absolute) = (table.duration("idle"), table.duration("absolute"));
    let origins = table.parsed_all("trusted_origins", |text| {
        HeaderValue::try_from(text).map_err(|_| format!("`{text}` is no origin"))
    });
    let log_in = table.text("log_in_page");
    let cache = table.duration("cache").filter(|time| !time.is_zero());
    if cache.is_some_and(|time| time > Duration::from_secs(1)) {
        let error =
            table.error("`cache` is longer than 1s: what has ended would go on for so long");
        table.push(error.hint("write `cache = \"500ms\"`"));
    }
    let mut sessions = match (store?, cache) {
        (store, Some(time)) => Sessions::new(CachedSessions::new(store).lasting(time)),
        (store, None) => Sessions::new(store),
    };
    if plain {
        sessions = sessions.insecure_plain_http();
    }
    sessions = cookie.into_iter().fold(sessions, |it, name| it.cookie(name.value));
    sessions = idle.into_iter().fold(sessions, Sessions::idle);
    sessions = absolute.into_iter().fold(sessions, Sessions::absolute);
    sessions = origins.into_iter().fold(sessions, Sessions::trusted_origin);
    sessions = log_in.into_iter().fold(sessions, |it, path| it.log_in_page(path.value));
    Some(sessions)
}
