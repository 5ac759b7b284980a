//! `[server]`: where clients connect.
use std::num::NonZeroUsize;

use ipnet::IpNet;
use portcullis_core::{Secret, TrustedProxies};
use portcullis_ratelimit::Fields;
use portcullis_server::{ClientCa, Limits, Listen, Tls, TlsBuilder};

use super::network;
use crate::keys;
use crate::limits::LimitSettings;
use crate::reader::{Reading, Table};

/// What `[server]` says.
#[derive(Debug, Default)]
pub(crate) struct ServerSettings {
    pub(crate) listen: Vec<String>,
    pub(crate) observe: Option<String>,
    pub(crate) admin: Option<String>,
    pub(crate) admin_token: Option<Secret<String>>,
    pub(crate) admin_host: Option<String>,
    pub(crate) workers: Option<NonZeroUsize>,
    pub(crate) trusted_proxies: TrustedProxies,
    /// Whether a reload may widen access without being asked twice.
    pub(crate) may_widen: bool,
    pub(crate) proxy_protocol: Vec<IpNet>,
    pub(crate) allow: Vec<IpNet>,
    pub(crate) deny: Vec<IpNet>,
    pub(crate) limits: Limits,
    /// Of those who call, and not of connections.
    pub(crate) quotas: LimitSettings,
    pub(crate) handover: Option<String>,
    pub(crate) tls: Option<TlsBuilder>,
}

pub(super) fn read(reading: &Reading<'_>, table: Option<&Table<'_>>) -> ServerSettings {
    let Some(table) = table else { return ServerSettings::default() };
    let place = |text: &str| Listen::from(text).check().map(|()| text.to_owned());
    let listen = table.parsed_all("listen", place);
    let tls = tls(reading, table);
    if tls.is_none()
        && let Some(secure) = listen.iter().find(|listen| is_https(listen))
    {
        let error = table.error(format!("`{secure}` needs a certificate"));
        table.push(
            error.hint("add `certs = [{ cert = \"tls.crt\", key = \"tls.key\" }]`, or say `http`"),
        );
    }
    let side = |key| {
        table.parsed(key, |text| {
            if is_https(text) {
                return Err("it speaks no TLS: say `http`, or a Unix socket".to_owned());
            }
            place(text)
        })
    };
    if let Some(ca) = table.get("client_ca")
        && !listen.iter().any(|listen| is_https(listen))
    {
        let error = table.error_at(
            &ca.span(),
            "client_ca",
            "no listener speaks TLS, so no client shows a certificate",
        );
        table.push(error.hint("listen at an `https` place, or take it out"));
    }
    let admin = side("admin");
    let observe = side("observe");
    for (key, side) in [("observe", &observe), ("admin", &admin)] {
        let other =
            side.as_ref().filter(|side| listen.iter().any(|listen| is_same(listen, &side.value)));
        if let Some(side) = other {
            let error = table.error_at(&side.span, key, "clients connect there too (`listen`)");
            table.push(error.hint("operators have a place of their own: choose another port"));
        }
    }
    let (token, host) = (table.text("admin_token"), table.text("admin_host"));
    if let Some(admin) = &admin
        && !admin.value.starts_with("unix:")
    {
        for (key, missing) in [("admin_token", token.is_none()), ("admin_host", host.is_none())] {
            if missing {
                let error =
                    table.error_at(&admin.span, "admin", format!("on an address it needs `{key}`"));
                table.push(error.hint("or use a Unix socket, which its file guards: `admin = \"unix:/run/portcullis.sock\"`"));
            }
        }
    }
    let workers = table
        .whole("workers", 1..=1_024)
        .and_then(|workers| usize::try_from(workers.value).ok().and_then(NonZeroUsize::new));
    ServerSettings {
        listen,
        observe: observe.map(|at| at.value),
        admin: admin.map(|at| at.value),
        admin_token: token.map(|at| Secret::new(at.value)),
        admin_host: host.map(|at| at.value),
        workers,
        may_widen: table.word("widened_access", &["refuse", "allow"]) == Some("allow"),
        trusted_proxies: TrustedProxies::new(table.parsed_all("trusted_proxies", network)),
        proxy_protocol: table.parsed_all("proxy_protocol", network),
        allow: table.some("allow", network),
        deny: table.parsed_all("deny", network),
        limits: limits(table),
        quotas: quotas(table),
        handover: table.text("handover").map(|at| at.value),
        tls,
    }
}

/// Whether both are one place, and not each any free port.
fn is_same(one: &str, other: &str) -> bool {
    let place = |text: &str| text.rsplit_once("://").map_or(text, |(_, place)| place).to_owned();
    place(one) == place(other) && !one.ends_with(":0")
}

fn is_https(listen: &str) -> bool {
    listen.get(..8).is_some_and(|begin| begin.eq_ignore_ascii_case("https://"))
}

fn quotas(table: &Table<'_>) -> LimitSettings {
    let fields = match table.word("limit_fields", &["standard", "legacy", "off"]) {
        Some("legacy") => Fields::WithLegacy,
        Some("off") => Fields::Off,
        _ => Fields::Standard,
    };
    let keys = table.whole("limit_keys", 1..=100_000_000);
    LimitSettings { fields, keys: keys.and_then(|keys| usize::try_from(keys.value).ok()) }
}

fn limits(table: &Table<'_>) -> Limits {
    let mut limits = Limits::default();
    let count =
        |key| table.whole(key, 1..=u64::MAX).and_then(|count| usize::try_from(count.value).ok());
    if let Some(time) = table.duration("drain") {
        limits = limits.drain(time);
    }
    if let Some(bytes) = table.size("body_limit") {
        limits = limits.body_bytes(bytes);
    }
    if let Some(time) = table.time("header_timeout") {
        limits = limits.header_time(time);
    }
    if let Some(time) = table.time("idle_timeout") {
        limits = limits.idle_time(time);
    }
    if let Some(most) = count("max_connections") {
        limits = limits.connections(most);
    }
    if let Some(most) = count("max_connections_per_address") {
        limits = limits.connections_per_address(most);
    }
    limits
}

fn tls(reading: &Reading<'_>, table: &Table<'_>) -> Option<TlsBuilder> {
    let certs = table.tables("certs", keys::CERT);
    let mut builder = Tls::new();
    let mut complete = true;
    for cert in &certs {
        let chain = cert.needed_file("cert", "cert = \"tls.crt\"");
        let key = cert.needed_file("key", "key = \"tls.key\"");
        let names: Vec<_> = cert.texts("names").into_iter().map(|name| name.value).collect();
        match (chain, key) {
            (Some(chain), Some(key)) => {
                builder = builder.certificate_for(chain.value, key.value, names);
            }
            _ => complete = false,
        }
    }
    if let Some(ca) = table.file("client_ca") {
        builder = builder.client_ca(ClientCa::required(ca.value));
    }
    if certs.is_empty() {
        return None;
    }
    if complete && let Err(errors) = builder.clone().build() {
        let span = certs.first().map(|cert| cert.span.clone());
        for error in &errors {
            let message = format!("{}: {}", error.place(), error.message());
            reading.error(reading.source.error(span.as_ref(), "server.certs", message));
        }
    }
    Some(builder)
}
