//! What the tables of a file mean.
use std::collections::HashMap;

use http::{HeaderName, HeaderValue};
use ipnet::IpNet;
use serde_json::Value;
use toml::de::DeTable;

use crate::Gateway;
use crate::document;
use crate::gateway::{AccessLog, Parts};
use crate::keys;
use crate::reader::{At, Known, Reading, Span, Table};

mod auth;
mod authorization;
mod bounds;
mod cache;
mod identity_token;
mod jwt;
mod limits;
mod overload;
mod routes;
mod server;
mod stores;
mod upstreams;

pub(crate) use authorization::{AuthorizationSettings, LogSettings, NamedPolicy};
pub(crate) use jwt::Issuer;
pub(crate) use server::ServerSettings;

/// Reads a whole file. What is wrong stands in `reading`; `None` is a file that is no TOML.
pub(crate) fn file(reading: &Reading<'_>, text: &str) -> Option<Parts> {
    let (parsed, syntax) = DeTable::parse_recoverable(text);
    for error in syntax {
        let error = reading.source.error(error.span().as_ref(), "", error.message().to_owned());
        reading.error(error.hint("the file is TOML"));
    }
    if !reading.errors.borrow().is_empty() {
        return None;
    }
    // What is read borrows from what was parsed, and both end here.
    let file = reading_table(reading, &parsed);
    let document = document::of_file(reading, parsed.get_ref());
    Some(parts(reading, &file, document))
}

fn reading_table<'a>(
    reading: &'a Reading<'a>,
    parsed: &'a toml::Spanned<DeTable<'a>>,
) -> Table<'a> {
    reading.table("", parsed.span(), parsed.get_ref(), keys::FILE)
}

fn access_log(file: &Table<'_>) -> Option<AccessLog> {
    let telemetry = file.table("telemetry", keys::TELEMETRY)?;
    Some(match telemetry.word("access_log", &["json", "text", "off"])? {
        "json" => AccessLog::Json,
        "off" => AccessLog::Off,
        _ => AccessLog::Text,
    })
}

fn parts(reading: &Reading<'_>, file: &Table<'_>, document: Value) -> Parts {
    let server = file.table("server", keys::SERVER);
    let settings = server::read(reading, server.as_ref());
    let asks_clients = server.as_ref().is_some_and(|server| server.get("client_ca").is_some());
    let access_log = access_log(file);
    let mut places: HashMap<String, Span> = HashMap::new();
    let auth = file.table("auth", keys::AUTH);
    let tokens = auth.as_ref().map_or_else(Vec::new, |auth| auth.named("jwt", keys::JWT));
    let store_tables = file.named("stores", keys::STORE);
    // What is open stays open: whoever asks a store may be known by its name alone.
    let before =
        reading.before.filter(|before| before.document.get("stores") == document.get("stores"));
    let open = before.map(Gateway::later_stores).unwrap_or_default();
    let stores = stores::stores(&store_tables, open);
    let store_names: Vec<_> = store_tables.iter().map(|(name, _)| name.clone()).collect();
    let sessions = stores::sessions(auth.as_ref(), (&stores, &store_names), &mut places);
    let api_keys = auth::keys(auth.as_ref(), (&stores, &store_names), &mut places);
    let certificates = auth::certificates(auth.as_ref(), asks_clients, &mut places);
    let issuers = jwt::issuers(&tokens, &mut places);
    let names = auth::names(auth.as_ref(), &tokens);
    let role_tables = file.named("roles", keys::ROLE);
    let roles =
        authorization::roles(reading, &role_tables, &file.named("separation", keys::SEPARATION));
    let policies = authorization::policies(&file.named("policies", keys::POLICY));
    let authorization = authorization::settings(
        reading,
        file.table("authorization", keys::AUTHORIZATION).as_ref(),
        (&stores, &store_names),
        &mut places,
    );
    let limit_tables = file.named("limits", keys::LIMIT);
    let role_names: Vec<_> = role_tables.iter().map(|(name, _)| name.clone()).collect();
    let known = limits::Known {
        stores: &stores,
        store_names: &store_names,
        roles: &role_names,
        has_stored_roles: authorization.store.is_some(),
    };
    let limits =
        limits::read(&limit_tables, &known, before.map(Gateway::store_counts), &mut places);
    limits::unused(reading, &limit_tables, &limits.names, &document);
    let overload_table = file.table("overload", keys::OVERLOAD);
    let overload = overload_table.as_ref().and_then(overload::read);
    let cache_table = file.table("cache", keys::CACHE);
    let cache = cache_table.as_ref().map(|table| cache::read(table, &stores, &store_names));
    let upstreams = upstreams::read(reading, &file.named("upstreams", keys::UPSTREAM));
    let identity_tokens = file.table("identity_token", keys::IDENTITY_TOKEN);
    let has_tokens = identity_tokens.is_some();
    let identity_tokens = identity_tokens.as_ref().and_then(identity_token::read);
    for token in upstreams.iter().filter_map(|read| read.token.as_ref()).filter(|_| !has_tokens) {
        let At { span, place, .. } = &token.audience;
        let message = "nobody signs it: there is no `[identity_token]`";
        let error = reading.source.error(Some(span), place, message);
        reading.error(error.hint("add it, with `issuer` and `keys`"));
    }
    let tables = file.tables("routes", keys::ROUTE);
    if tables.is_empty() && file.get("routes").is_none() {
        let example = "[[routes]]\n    match = { path = \"/{*rest}\" }\n    access = \"public\"\n    to = \"NAME\"";
        reading.error(
            reading.source.error(None, "", "there is no route").hint(format!("add\n    {example}")),
        );
    }
    let routes = routes::read(
        reading,
        &tables,
        &upstreams,
        (&limits.names, file.get("overload").is_some()),
        (&names, has_tokens, identity_tokens.as_ref()),
        &mut places,
    );
    Parts {
        settings,
        access_log: access_log.unwrap_or_default(),
        document,
        upstreams: upstreams
            .into_iter()
            .filter_map(|read| {
                let known = Known { said: read.said, upstream: read.built? };
                Some((read.name, known))
            })
            .collect(),
        routes,
        places,
        keys: api_keys,
        stores,
        sessions,
        issuers,
        certificates,
        identity_tokens,
        roles,
        policies,
        authorization,
        limits: limits.limits,
        store_counts: limits.counts,
        overload,
        cache: cache.unwrap_or_else(cache::defaults),
    }
}

pub(crate) fn network(text: &str) -> Result<IpNet, String> {
    let net = text.parse::<IpNet>();
    net.or_else(|_| text.parse::<std::net::IpAddr>().map(IpNet::from))
        .map_err(|_| format!("`{text}` is no network: write `10.0.0.0/8`, `::1/128` or an address"))
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    text.parse().map_err(|_| format!("`{text}` is no header name"))
}

fn header_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::try_from(text).map_err(|_| format!("`{text}` is no header value"))
}
