//! `[upstreams]`: the servers behind the gateway.
use std::collections::HashSet;

use http::HeaderName;
use http::header::AUTHORIZATION;
use portcullis_gateway::{
    Balance, Forwarding, HealthCheck, Host, IdentityFact, Outliers, Proxy, Split, Upstream,
    UpstreamBuilder, UpstreamTls,
};
use portcullis_resilience::{Breaker, BreakerBuilder};

use super::{header_name, header_value};
use crate::keys;
use crate::reader::{At, Reading, Span, Table};

/// That of an upstream which says nothing.
const DEFAULT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// An upstream, and how requests look that are passed on to it.
pub(crate) struct Read {
    pub(crate) name: String,
    /// Nothing, where something is wrong with it; the one that is there already, where nothing has changed.
    pub(crate) built: Option<Upstream>,
    /// What the file says of it.
    pub(crate) said: String,
    pub(crate) host: Host,
    pub(crate) forwarding: Forwarding,
    pub(crate) identity: Vec<(HeaderName, IdentityFact)>,
    pub(crate) token: Option<Token>,
}

pub(super) fn read(reading: &Reading<'_>, tables: &[(String, Table<'_>)]) -> Vec<Read> {
    tables.iter().map(|(name, table)| one(reading, name, table)).collect()
}

fn one(reading: &Reading<'_>, name: &str, table: &Table<'_>) -> Read {
    let mut builder = Upstream::builder(name);
    let servers = servers(table);
    let servers_span = table.get("servers").map(toml::Spanned::span);
    let mut files = ["ca", "client_cert"].into_iter().filter_map(|key| table.get(key));
    let tls_span = files.next().map(toml::Spanned::span);
    builder = servers.iter().fold(builder, |builder, (url, weight, priority)| {
        builder.weighted_server(url, *weight, *priority)
    });
    let is_tls = |url: &str| url.get(..8).is_some_and(|it| it.eq_ignore_ascii_case("https://"));
    if !servers.is_empty()
        && !servers.iter().any(|(url, ..)| is_tls(url))
        && let Some(key) = ["ca", "client_cert"].into_iter().find(|key| table.get(key).is_some())
    {
        let span = tls_span.as_ref().unwrap_or(&table.span);
        let error = table.error_at(span, key, "no server of this upstream speaks TLS");
        table.push(error.hint("say `https://` of its servers, or take it out"));
    }
    let scheme = table.word("scheme", &["http", "https", "h2c"]);
    let srv = table.parsed("srv", |name| {
        let is_name = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        is_name
            .then(|| name.to_owned())
            .ok_or_else(|| format!("`{name}` is no name: write `_api._tcp.example`"))
    });
    if let Some(srv) = srv {
        builder = builder.srv(srv.value, scheme.unwrap_or("http"));
    }
    if let Some(file) = table.file("file") {
        builder = builder.file(file.value);
    }
    if let Some(balance) = table.parsed("balance", str::parse::<Balance>) {
        builder = builder.balance(balance.value);
    }
    builder = times(builder, table);
    if let Some(check) = table.table("health", keys::HEALTH).and_then(|table| health(&table)) {
        builder = builder.health(check);
    }
    if let Some(outliers) = table.table("outliers", keys::OUTLIERS) {
        builder = builder.outliers(self::outliers(&outliers));
    }
    builder = builder.tls(tls(table));
    let host = table.parsed("host", |text| {
        Ok(match text {
            "keep" => Host::Keep,
            "server" => Host::Server,
            name => Host::Set(host_value(name)?),
        })
    });
    let forwarding = table.word("forwarding", &["x-forwarded", "forwarded", "both", "none"]);
    let identity_table = table.table("identity", keys::IDENTITY);
    let token = identity_table.as_ref().and_then(token);
    let identity = identity_table.as_ref().map(identity).unwrap_or_default();
    if let Some(table) = &identity_table {
        let told =
            identity.iter().map(|(name, _)| name).chain(token.iter().map(|token| &token.header));
        let mut seen = HashSet::new();
        // Some servers take `_` and `.` for `-`.
        let folded = |name: &HeaderName| name.as_str().replace(['_', '.'], "-");
        if let Some(name) = told.into_iter().find(|name| !seen.insert(folded(name))) {
            let error = table.error(format!("`{name}` is said twice"));
            table.push(error.hint("give one of them another header"));
        }
    }
    let before = reading.errors.borrow().iter().len();
    let built = match builder.build() {
        Ok(upstream) => Some(upstream),
        Err(errors) => {
            for error in &errors {
                let key = match error.message() {
                    message if message.starts_with("tls:") => tls_span.as_ref(),
                    message if message.contains("server") => servers_span.as_ref(),
                    _ => None,
                };
                let span = key.unwrap_or(&table.span);
                push(reading, span, &table.place, error.message());
            }
            None
        }
    };
    let sound = reading.errors.borrow().iter().len() == before;
    let said = table.said();
    let known =
        reading.before.and_then(|before| before.known(name)).filter(|known| known.said == said);
    let built = built.filter(|_| sound);
    Read {
        name: name.to_owned(),
        built: built.map(|built| known.map_or(built, |known| known.upstream.clone())),
        said,
        host: host.map(|at| at.value).unwrap_or_default(),
        forwarding: match forwarding {
            Some("forwarded") => Forwarding::Forwarded,
            Some("both") => Forwarding::Both,
            Some("none") => Forwarding::Nothing,
            _ => Forwarding::XForwarded,
        },
        identity,
        token,
    }
}

/// A host, with its port where it has one.
fn host_value(text: &str) -> Result<http::HeaderValue, String> {
    let authority = text.parse::<http::uri::Authority>().ok();
    let is_host =
        authority.is_some_and(|authority| !text.contains('@') && !authority.host().is_empty());
    if is_host {
        header_value(text)
    } else {
        Err(format!("`{text}` is no host: write `shop.example`"))
    }
}

fn push(reading: &Reading<'_>, span: &Span, place: &str, message: &str) {
    let error = reading.source.error(Some(span), place, message);
    reading.error(if message.contains("it has no server") {
        reading
            .source
            .error(Some(span), place, "it has no server")
            .hint("add `servers = [\"http://127.0.0.1:9001\"]`, `srv` or `file`")
    } else {
        error
    });
}

fn servers(table: &Table<'_>) -> Vec<(String, u32, u32)> {
    let is_tables = table.get("servers").is_some_and(|value| {
        value.get_ref().as_array().is_some_and(|all| all.iter().any(|one| one.get_ref().is_table()))
    });
    if !is_tables {
        return table.texts("servers").into_iter().map(|url| (url.value, 1, 0)).collect();
    }
    let mut servers = Vec::new();
    for server in table.tables("servers", keys::UPSTREAM_SERVER) {
        let number = |key, range| {
            server.whole(key, range).and_then(|number| u32::try_from(number.value).ok())
        };
        let weight = number("weight", 1..=1_000_000).unwrap_or(1);
        let priority = number("priority", 0..=1_000).unwrap_or(0);
        if let Some(url) = server.needed("url", "url = \"http://127.0.0.1:9001\"") {
            servers.push((url.value, weight, priority));
        }
    }
    servers
}

fn times(mut builder: UpstreamBuilder, table: &Table<'_>) -> UpstreamBuilder {
    type Set<T> = fn(UpstreamBuilder, T) -> UpstreamBuilder;
    let times: [(&str, Set<std::time::Duration>); 5] = [
        ("connect_timeout", UpstreamBuilder::connect_timeout),
        ("timeout", UpstreamBuilder::timeout),
        ("body_idle", UpstreamBuilder::body_idle),
        ("idle_timeout", UpstreamBuilder::idle_timeout),
        ("slow_start", UpstreamBuilder::slow_start),
    ];
    let mut whole = DEFAULT_TIMEOUT;
    for (key, set) in times {
        let may_be_zero = matches!(key, "idle_timeout" | "slow_start");
        let time = if may_be_zero { table.duration(key) } else { table.time(key) };
        if let Some(time) = time {
            if key == "timeout" {
                whole = time;
            }
            builder = set(builder, time);
        }
    }
    if let Some(most) = table.whole("connections", 1..=1_000_000) {
        builder = builder.connections(usize::try_from(most.value).unwrap_or(usize::MAX));
    }
    if let Some(times) = table.whole("retries", 0..=10) {
        builder = builder.retries(u32::try_from(times.value).unwrap_or(u32::MAX));
    }
    for (key, set) in [
        ("try_timeout", UpstreamBuilder::try_timeout as Set<std::time::Duration>),
        ("hedge", UpstreamBuilder::hedge),
    ] {
        let Some(time) = table.time(key) else { continue };
        if time >= whole {
            let message = format!("it never comes: `timeout` ends it all after {whole:?}");
            let at = table.text(key).map_or_else(
                || table.error(message.clone()),
                |text| table.error_at(&text.span, key, message.clone()),
            );
            table.push(at.hint(format!("make `{key}` shorter, or `timeout` longer")));
        }
        builder = set(builder, time);
    }
    if let Some(most) = table.whole("requests", 1..=1_000_000_000) {
        builder = builder.requests(usize::try_from(most.value).unwrap_or(usize::MAX));
    }
    if let Some(budget) = table.table("retry_budget", keys::RETRY_BUDGET) {
        let per_second = budget.whole("per_second", 0..=1_000_000);
        let per_second = per_second.and_then(|many| u32::try_from(many.value).ok());
        let share = budget.share("share").unwrap_or(0.2);
        builder = builder.retry_budget(share, per_second.unwrap_or(10));
    }
    if let Some(breaker) = table.table("breaker", keys::BREAKER) {
        builder = builder.breaker(self::breaker(&breaker));
    }
    if let Some(share) = table.share("panic_threshold") {
        builder = builder.panic_threshold(share);
    }
    builder
}

fn breaker(table: &Table<'_>) -> BreakerBuilder {
    let count =
        |key| table.whole(key, 1..=1_000_000).and_then(|count| u32::try_from(count.value).ok());
    let mut breaker = Breaker::builder();
    breaker = table.share("error_rate").into_iter().fold(breaker, BreakerBuilder::error_rate);
    breaker = count("min").into_iter().fold(breaker, BreakerBuilder::minimum);
    breaker = table.time("window").into_iter().fold(breaker, BreakerBuilder::window);
    breaker = table.time("open").into_iter().fold(breaker, BreakerBuilder::open);
    breaker = count("probes").into_iter().fold(breaker, BreakerBuilder::probes);
    let (slow, share) = (table.time("slow"), table.share("slow_rate"));
    match (slow, share) {
        (Some(slow), share) => breaker.slow(slow, share.unwrap_or(1.0)),
        (None, Some(_)) => {
            let error = table.error("`slow_rate` without `slow` says nothing");
            table.push(error.hint("add `slow = \"1s\"`"));
            breaker
        }
        (None, None) => breaker,
    }
}

fn health(table: &Table<'_>) -> Option<HealthCheck> {
    let path = table.parsed("path", |path| {
        if !path.starts_with('/') {
            return Err(format!("`{path}`: a path begins with `/`"));
        }
        let parsed = path.parse::<http::uri::PathAndQuery>();
        parsed.map(|_| path.to_owned()).map_err(|_| format!("`{}` is no path", path.escape_debug()))
    });
    let (tcp, grpc) = (table.flag("tcp") == Some(true), table.text("grpc"));
    let mut check = match (&path, tcp, &grpc) {
        (Some(path), false, None) => HealthCheck::http(path.value.as_str()),
        (None, true, None) => HealthCheck::tcp(),
        (None, false, Some(service)) => HealthCheck::grpc(service.value.as_str()),
        (None, false, None) if table.get("path").is_some() => return None,
        (None, false, None) => {
            table.push(
                table
                    .error("it does not say how")
                    .hint("add `path = \"/healthz\"`, `tcp = true` or `grpc = \"\"`"),
            );
            return None;
        }
        _ => {
            table.push(
                table.error("`path`, `tcp` and `grpc` exclude each other").hint("keep one of them"),
            );
            return None;
        }
    };
    if let Some(host) = table.parsed("host", host_value) {
        check = check.host(host.value);
    }
    if let Some(time) = table.duration("interval") {
        if time.is_zero() {
            table.push(table.error("an `interval` of 0 would ask without end").hint("write `2s`"));
        }
        check = check.interval(time);
    }
    if let Some(time) = table.time("timeout") {
        check = check.timeout(time);
    }
    let count = |key| table.whole(key, 1..=1_000).and_then(|count| u32::try_from(count.value).ok());
    check = count("fall").into_iter().fold(check, HealthCheck::fall);
    Some(count("rise").into_iter().fold(check, HealthCheck::rise))
}

fn outliers(table: &Table<'_>) -> Outliers {
    let mut outliers = Outliers::new();
    if let Some(count) = table.whole("failures", 0..=1_000_000) {
        outliers = outliers.failures(u32::try_from(count.value).unwrap_or(u32::MAX));
    }
    if let Some(time) = table.duration("base") {
        outliers = outliers.base(time);
    }
    if let Some(time) = table.duration("longest") {
        outliers = outliers.longest(time);
    }
    table.share("most").into_iter().fold(outliers, Outliers::most)
}

fn tls(table: &Table<'_>) -> UpstreamTls {
    let mut tls = UpstreamTls::new();
    if let Some(ca) = table.file("ca") {
        tls = tls.ca(ca.value);
    }
    match (table.file("client_cert"), table.file("client_key")) {
        (Some(cert), Some(key)) => tls = tls.client_certificate(cert.value, key.value),
        (Some(at), None) => {
            table.push(table.error_at(&at.span, "client_cert", "it needs `client_key`"));
        }
        (None, Some(at)) => {
            table.push(table.error_at(&at.span, "client_key", "it needs `client_cert`"));
        }
        (None, None) => {}
    }
    if table.flag("http1_only") == Some(true) { tls.http1_only() } else { tls }
}

impl Read {
    /// Which key says of another upstream what is not said of this one, of what servers are told.
    pub(super) fn differs(&self, other: &Self) -> Option<&'static str> {
        let differs = [
            ("host", self.host != other.host),
            ("forwarding", self.forwarding != other.forwarding),
            ("identity", !self.is_told_alike(other)),
        ];
        differs.into_iter().find(|(_, differs)| *differs).map(|(key, _)| key)
    }
    /// Whether both are told in the same way who is calling.
    pub(super) fn is_told_alike(&self, other: &Self) -> bool {
        let token =
            |read: &Self| read.token.clone().map(|token| (token.audience.value, token.header));
        self.identity == other.identity && token(self) == token(other)
    }
    /// Whether it is told who is calling.
    pub(super) fn is_told(&self) -> bool {
        !self.identity.is_empty() || self.token.is_some()
    }
}

/// The token that an upstream gets.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) audience: At<String>,
    pub(crate) header: HeaderName,
}

fn token(table: &Table<'_>) -> Option<Token> {
    let header = identity_header(table, "token_header");
    let Some(audience) = table.text("token") else {
        if header.is_some() {
            let error = table.error("there is no token for `token_header`");
            table.push(error.hint("add `token = \"NAME\"`, for whom it is"));
        }
        return None;
    };
    if audience.value.is_empty() {
        let error = table.error_at(&audience.span, "token", "it is for nobody");
        table.push(error.hint("say what stands in `aud`, such as the upstream's name"));
    }
    Some(Token { audience, header: header.unwrap_or(AUTHORIZATION) })
}

fn identity(table: &Table<'_>) -> Vec<(HeaderName, IdentityFact)> {
    let facts = [
        ("subject", IdentityFact::Subject),
        ("roles", IdentityFact::Roles),
        ("tenant", IdentityFact::Tenant),
    ];
    let read = |(key, fact): (&str, IdentityFact)| Some((identity_header(table, key)?, fact));
    facts.into_iter().filter_map(read).collect()
}

/// A header in which an upstream may be told who is calling.
fn identity_header(table: &Table<'_>, key: &str) -> Option<HeaderName> {
    let name = table.parsed(key, header_name)?;
    let proxy = Proxy::split(Split::new());
    let proxy = proxy.identity_header(name.value.clone(), IdentityFact::Subject);
    let mut faults = proxy.faults("/").into_iter();
    if let Some(fault) = faults.find(|fault| !fault.contains("leads to no upstream")) {
        table.push(table.error_at(&name.span, key, fault));
    }
    Some(name.value)
}
