//! `[[routes]]`: which requests go where.
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use portcullis_cache::CacheExt;
use portcullis_core::route::{Methods, Restricted};
use portcullis_core::{
    RouteExt, RouteMatch, Routes, Rule, StepUp, WithOptions, authenticated, optional, policy,
    public, require,
};
use portcullis_gateway::{Balance, IdentityTokens, Proxy, Redirect, Split};
use portcullis_ratelimit::{LimitExt, PriorityExt};
use portcullis_server::Limits;
use tower_http::compression::Compression;
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::limits::Names;
use super::upstreams::Read;
use super::{cache, overload};
use super::{header_name, header_value, network};
use crate::cors::CorsOption;
use crate::endpoint::Endpoint;
use crate::keys;
use crate::reader::{At, Reading, Span, Table, nearest};

/// Who says who callers are, by what the file calls them: what stands in [`Identity::issuer`](portcullis_core::Identity::issuer).
pub(super) type IssuerNames = BTreeMap<String, String>;

pub(super) fn read(
    reading: &Reading<'_>,
    tables: &[Table<'_>],
    upstreams: &[Read],
    (limits, has_overload): (&Names, bool),
    (issuers, has_tokens, tokens): (&IssuerNames, bool, Option<&IdentityTokens>),
    places: &mut HashMap<String, Span>,
) -> Option<Routes<Endpoint, Restricted>> {
    let mut builder = Routes::builder().restricted();
    for table in tables {
        let name = table.text("name");
        let request = matching(table);
        let methods = request.as_ref().map(|(_, methods, _)| methods);
        let rule = access(table, issuers).map(|rule| step_up(table, rule));
        let rule = rule.map(|rule| options(table, limits, methods, rule));
        let cached = rule.as_ref().and_then(|rule| cache::of_route(table, rule.access(), methods));
        let rule = rule.map(|rule| cached.into_iter().fold(rule, CacheExt::cached_as));
        let rule = match (rule, overload::priority(table, has_overload)) {
            (Some(rule), Some(priority)) => Some(rule.priority(priority)),
            (rule, _) => rule,
        };
        let template = request.as_ref().map(|(template, ..)| template.as_str());
        let endpoint =
            endpoint(table, upstreams, (has_tokens, tokens), template.unwrap_or_default());
        let (Some((template, methods, matching)), Some(rule), Some(endpoint)) =
            (request, rule, endpoint)
        else {
            continue;
        };
        // Of two that are alike it is the second that can be mended.
        places.insert(format!("route `{methods} {template}`"), table.span.clone());
        places.insert(format!("route `{template}`"), table.span.clone());
        builder = builder.on(methods, &template, endpoint).matching(matching).rule(rule);
        if let Some(name) = name {
            places.entry(format!("route `{}`", name.value)).or_insert(name.span);
            builder = builder.name(&name.value);
        }
    }
    match builder.build() {
        Ok(routes) => Some(routes),
        Err(errors) => {
            for error in &errors {
                let span = places.get(error.place());
                reading.error(reading.source.error(span, error.place(), error.message()));
            }
            None
        }
    }
}

fn matching(table: &Table<'_>) -> Option<(String, Methods, RouteMatch)> {
    if table.get("match").is_none() {
        table.missing("match", "match = { path = \"/{*rest}\" }");
    }
    let asked = table.table("match", keys::MATCH)?;
    let path = asked.needed("path", "path = \"/{*rest}\"");
    let methods = asked.parsed_all("methods", method);
    let mut matching = RouteMatch::default();
    for host in asked.texts("hosts") {
        match std::mem::take(&mut matching).host(&host.value) {
            Ok(with) => matching = with,
            Err(message) => asked.push(asked.error_at(&host.span, "hosts", message)),
        }
    }
    for (name, value) in asked.text_map("headers") {
        match header_name(&name.value) {
            Ok(name) => matching = matching.header(name, given(&value.value)),
            Err(message) => asked.push(asked.error_at(&name.span, "headers", message)),
        }
    }
    for (name, value) in asked.text_map("query") {
        matching = matching.query(&name.value, given(&value.value));
    }
    let addresses = asked.some("addresses", network);
    if !addresses.is_empty() {
        matching = matching.client_in(addresses);
    }
    let methods =
        if asked.get("methods").is_none() { Methods::Any } else { Methods::These(methods) };
    Some((path?.value, methods, matching))
}

fn given(value: &str) -> Option<&str> {
    (!value.is_empty()).then_some(value)
}

fn access(table: &Table<'_>, issuers: &IssuerNames) -> Option<Rule<Restricted>> {
    const WORDS: &[&str] = &["public", "optional", "authenticated"];
    let Some(value) = table.get("access") else {
        let error = table.error("it does not say who may call: `access` is missing");
        table.push(error.hint(
            "add `access = \"public\"`, `\"authenticated\"` or `{ permission = \"orders:write\" }`",
        ));
        return None;
    };
    let is_closed = value.get_ref().is_table() || value.get_ref().as_str() == Some("authenticated");
    if issuers.is_empty() && is_closed {
        let message = "nobody can say who they are, so nobody could call: there is no `[auth]`";
        let error = table.error_at(&value.span(), "access", message);
        table.push(
            error.hint("add `[auth.api_key]` or `[auth.jwt.NAME]`, or say `access = \"public\"`"),
        );
    }
    if value.get_ref().is_table() {
        let access = table.table("access", keys::ACCESS)?;
        return asked(&access, issuers);
    }
    Some(match table.word("access", WORDS)? {
        "public" => public().restricted(),
        "optional" => optional(),
        _ => authenticated(),
    })
}

/// What a route asks of whoever says who they are.
fn asked(access: &Table<'_>, issuers: &IssuerNames) -> Option<Rule<Restricted>> {
    let (permission, by) = (access.text("permission"), access.text("policy"));
    let whole = |key: &str| access.some(key, |text| Ok(text.to_owned()));
    let (scopes, names) = (whole("scopes"), access.texts("issuers"));
    if access.get("issuers").is_some() && names.is_empty() {
        let error = access.error("there is no issuer whose callers would be taken");
        access.push(error.hint("name one, or leave `issuers` out"));
    }
    let keys = ["permission", "policy", "scopes", "issuers"];
    if keys.iter().all(|key| access.get(key).is_none()) {
        let error = access.error("it says nothing that whoever calls must have");
        access.push(error.hint("say at least one of `permission`, `policy`, `scopes` and `issuers`, or `access = \"authenticated\"`"));
        return None;
    }
    if permission.is_some() && by.is_some() {
        let error = access.error("it says both `permission` and `policy`, and one of them decides");
        access.push(error.hint("say one; a policy sees the caller's roles too"));
    }
    let mut rule = match (permission, by) {
        (_, Some(name)) => policy(name.value),
        (Some(permission), None) => require(permission.value),
        (None, None) => authenticated(),
    };
    rule = scopes.into_iter().fold(rule, Rule::scope);
    for name in names {
        if let Some(issuer) = issuers.get(&name.value) {
            rule = rule.issuer(issuer.clone());
            continue;
        }
        let message = format!("nobody is called `{}` who says who callers are", name.value);
        let error = access.error_at(&name.span, "issuers", message);
        access.push(match nearest(&name.value, issuers.keys().map(String::as_str)) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("name a table of `[auth.jwt]`, or `api_key`"),
        });
    }
    Some(rule)
}

/// Whether a route asks for a stronger or a fresher proof of identity.
fn step_up(table: &Table<'_>, rule: Rule<Restricted>) -> Rule<Restricted> {
    let Some(value) = table.get("step_up") else { return rule };
    let asked = if value.get_ref().is_table() {
        let Some(asked) = table.table("step_up", keys::STEP_UP) else { return rule };
        let level = asked.whole("level", 1..=3).and_then(|level| u8::try_from(level.value).ok());
        let max_age = asked.duration("max_age").filter(|age| !age.is_zero());
        if level.is_none() && max_age.is_none() {
            let error = asked.error("it asks for nothing");
            asked.push(error.hint("say `level = 2`, `max_age = \"5m\"`, or both"));
            return rule;
        }
        let asked = max_age.map_or_else(StepUp::default, StepUp::fresh);
        level.into_iter().fold(asked, StepUp::at_level)
    } else {
        match table.flag("step_up") {
            Some(true) => StepUp::default(),
            _ => return rule,
        }
    };
    if rule.access().is_public() {
        let message = "the route is public, so nobody is asked who they are";
        let error = table.error_at(&value.span(), "step_up", message);
        table.push(error.hint("say `access = \"authenticated\"` or more, or drop `step_up`"));
    }
    rule.step_up_to(asked)
}

/// Which pages of other origins may read the answers.
fn cors(table: &Table<'_>, methods: Option<&Methods>, grpc_web: bool) -> CorsLayer {
    let origins = table.texts("origins");
    if origins.is_empty() {
        table.push(
            table
                .error("it does not say whose pages")
                .hint("add `origins = [\"https://shop.example\"]`"),
        );
    }
    let all = origins.iter().any(|origin| origin.value == "*");
    let credentials = table.flag("credentials") == Some(true);
    if all && credentials {
        table.push(
            table
                .error(
                    "`*` and `credentials` together would give every page what its visitor may see",
                )
                .hint("name the origins"),
        );
    }
    let origin = |text: &str| -> Result<HeaderValue, String> {
        let wrong =
            || format!("`{text}` is no origin: write `https://shop.example`, without a path");
        let uri: http::Uri = text.parse().map_err(|_| wrong())?;
        let plain = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|host| text.ends_with(host.as_str()));
        if plain { header_value(text) } else { Err(wrong()) }
    };
    let mut layer =
        CorsLayer::new().max_age(table.duration("max_age").unwrap_or(Duration::from_secs(5)));
    layer = if all {
        layer.allow_origin(AllowOrigin::any())
    } else {
        layer.allow_origin(AllowOrigin::list(table.parsed_all("origins", origin)))
    };
    let mut allowed = table.parsed_all("methods", method);
    if allowed.is_empty() {
        allowed = match methods {
            Some(Methods::These(methods)) => methods.clone(),
            _ => vec![Method::GET, Method::HEAD, Method::POST],
        };
    }
    let mut headers = table.parsed_all("headers", header_name);
    let mut exposed = table.parsed_all("expose", header_name);
    if grpc_web {
        // What every client of gRPC-Web sends and reads.
        let names = |names: &[&'static str]| -> Vec<HeaderName> {
            names.iter().map(|name| HeaderName::from_static(name)).collect()
        };
        headers.extend(names(&["content-type", "x-grpc-web", "x-user-agent", "grpc-timeout"]));
        exposed.extend(names(&["grpc-status", "grpc-message"]));
    }
    layer = layer.allow_methods(allowed).allow_headers(headers).expose_headers(exposed);
    // Together they would panic, and are an error above.
    layer.allow_credentials(credentials && !all)
}

fn method(method: &str) -> Result<Method, String> {
    let known = method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if method.len() > Limits::METHOD_BYTES {
        return Err(format!(
            "`{method}` is longer than the {} bytes that a method may have",
            Limits::METHOD_BYTES
        ));
    }
    Method::from_bytes(method.as_bytes())
        .ok()
        .filter(|_| known && !method.is_empty())
        .ok_or_else(|| format!("`{method}` is no method: write `GET`"))
}

fn options(
    table: &Table<'_>,
    limits: &Names,
    methods: Option<&Methods>,
    mut rule: Rule<Restricted>,
) -> Rule<Restricted> {
    for limit in table.texts("limits") {
        if limits.everywhere.contains(&limit.value) {
            let message = format!("`{}` counts everywhere, and so here too", limit.value);
            let error = table.error_as(&limit, message);
            table.push(error.hint("take it out here, or drop its `everywhere`"));
        } else if limits.all.contains(&limit.value) {
            rule = rule.limit(&limit.value);
        } else {
            unknown(table, "limits", "limit", &limit, limits.all.iter().map(String::as_str));
        }
    }
    for name in &limits.of_all_routes {
        rule = rule.limit(name);
    }
    if let Some(bytes) = table.size("body_limit") {
        rule = rule.body_limit(bytes);
    }
    if table.flag("streaming") == Some(true) {
        rule = rule.streaming();
    }
    if let Some(time) = table.time("timeout") {
        rule = rule.time_limit(time);
    }
    if let Some(cors) = table.table("cors", keys::CORS) {
        rule = rule.with_option(CorsOption(self::cors(
            &cors,
            methods,
            table.flag("grpc_web") == Some(true),
        )));
    }
    let networks = table.some("only_from", network);
    if networks.is_empty() { rule } else { rule.only_from(networks) }
}

fn unknown<'a>(
    table: &Table<'_>,
    key: &str,
    what: &str,
    name: &At<String>,
    known: impl Iterator<Item = &'a str>,
) {
    let error = table.error_at(&name.span, key, format!("there is no {what} `{}`", name.value));
    table.push(match nearest(&name.value, known) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint(format!("add `[{what}s.{}]`", name.value)),
    });
}

fn endpoint(
    table: &Table<'_>,
    upstreams: &[Read],
    (has_tokens, tokens): (bool, Option<&IdentityTokens>),
    template: &str,
) -> Option<Endpoint> {
    let redirect = table.text("redirect");
    let status = table.whole("status", 0..=999);
    if table.flag("jwks") == Some(true) {
        if table.get("to").is_some() || redirect.is_some() {
            let error = table.error("a route leads to an upstream, elsewhere or to our keys");
            table.push(error.hint("keep one of `to`, `redirect` and `jwks`"));
            return None;
        }
        of_upstreams_alone(table);
        if !has_tokens {
            let error = table.error("there are no keys: there is no `[identity_token]`");
            table.push(error.hint("add it, or drop `jwks`"));
        }
        return Some(Endpoint::new(tokens?.jwks(), "our keys"));
    }
    if redirect.is_some() {
        of_upstreams_alone(table);
    }
    match (table.get("to").is_some(), redirect) {
        (true, None) => {
            if let Some(status) = status {
                table.push(table.error_at(&status.span, "status", "only a redirect has a status"));
            }
            proxy(table, upstreams, tokens, template)
        }
        (false, Some(to)) => {
            let redirect = Redirect::permanent(to.value.as_str());
            if let Err(message) = redirect.check(template) {
                table.push(table.error_at(&to.span, "redirect", message));
            }
            let text = format!("redirect to {}", to.value);
            let Some(status) = status else {
                return Some(Endpoint::new(redirect, text));
            };
            match redirect.with_status(u16::try_from(status.value).unwrap_or_default()) {
                Ok(redirect) => Some(Endpoint::new(redirect, text)),
                Err(message) => {
                    table.push(table.error_at(&status.span, "status", message));
                    None
                }
            }
        }
        (true, Some(to)) => {
            let error = table.error_at(
                &to.span,
                "redirect",
                "a route leads to an upstream or elsewhere, not both",
            );
            table.push(error.hint("keep `to` or `redirect`"));
            None
        }
        (false, None) => {
            let error = table.error("it leads nowhere: `to` is missing");
            table.push(error.hint(
                "add `to = \"NAME\"` with the name of an upstream, or `redirect = \"https://..\"`",
            ));
            None
        }
    }
}

/// Says what means nothing where no upstream is asked.
fn of_upstreams_alone(table: &Table<'_>) {
    const KEYS: [&str; 8] = [
        "strip_prefix",
        "add_prefix",
        "rewrite",
        "mirror",
        "grpc_web",
        "sticky",
        "compress",
        "cache",
    ];
    for key in KEYS {
        if let Some(value) = table.get(key) {
            let message = "no upstream is asked here, for which it would be";
            table.push(table.error_at(&value.span(), key, message).hint(format!("drop `{key}`")));
        }
    }
}

/// How a client stays with its share.
fn sticking(table: &Table<'_>, split: Split) -> Split {
    let Some(sticky) = table.text("sticky") else { return split };
    match sticky.value.split_once(':') {
        None if sticky.value == "identity" => split.sticky_by_identity(),
        Some(("cookie", name)) if format!("sticky:{name}").parse::<Balance>().is_ok() => {
            split.sticky_by_cookie(name)
        }
        _ => {
            let message =
                format!("`{}` is no way to stay: write `identity` or `cookie:NAME`", sticky.value);
            table.push(table.error_at(&sticky.span, "sticky", message));
            split
        }
    }
}

/// Where copies go; `None` where something is wrong with it.
fn mirrored(
    table: &Table<'_>,
    upstreams: &[Read],
    first: Option<&Read>,
    proxy: Proxy,
) -> Option<Proxy> {
    let Some(mirror) = table.table("mirror", keys::MIRROR) else { return Some(proxy) };
    let share = mirror.share("share").unwrap_or(1.0);
    let name = mirror.needed("to", "to = \"shadow\"")?;
    let Some(shadow) = upstreams.iter().find(|read| read.name == name.value) else {
        let known = upstreams.iter().map(|read| read.name.as_str());
        unknown(&mirror, "to", "upstream", &name, known);
        return None;
    };
    if shadow.is_told() && !first.is_some_and(|first| first.is_told_alike(shadow)) {
        let message =
            format!("`{}` is told otherwise who is calling than the upstreams of `to`", name.value);
        let error = mirror.error_at(&name.span, "to", message);
        mirror.push(error.hint("give it the same `identity`, or none"));
    }
    let proxy = proxy.mirror(shadow.built.as_ref()?, share);
    Some(if shadow.is_told() { proxy.mirror_identity() } else { proxy })
}

fn proxy(
    table: &Table<'_>,
    upstreams: &[Read],
    tokens: Option<&IdentityTokens>,
    template: &str,
) -> Option<Endpoint> {
    let shares = shares(table);
    let mut split = Split::new();
    let mut first: Option<&Read> = None;
    let mut complete = true;
    for (name, weight) in &shares {
        let Some(read) = upstreams.iter().find(|read| read.name == name.value) else {
            unknown(table, "to", "upstream", name, upstreams.iter().map(|read| read.name.as_str()));
            complete = false;
            continue;
        };
        if let Some(key) = first.and_then(|first| first.differs(read)) {
            let message = format!("`{}` says another `{key}` than the other upstreams", name.value);
            let error = table.error_at(&name.span, "to", message);
            table
                .push(error.hint(
                    "say the same of all upstreams that share a route, or give each a route",
                ));
        }
        first = first.or(Some(read));
        match &read.built {
            Some(upstream) => split = split.to(*weight, upstream),
            None => complete = false,
        }
    }
    split = sticking(table, split);
    let names: Vec<_> = shares.iter().map(|(name, _)| name.value.as_str()).collect();
    let text = names.join("|");
    let mut proxy = Proxy::split(split);
    if let Some(read) = first {
        proxy = proxy.host(read.host.clone()).forwarding(read.forwarding);
        for (name, fact) in &read.identity {
            proxy = proxy.identity_header(name.clone(), fact.clone());
        }
        if let (Some(token), Some(tokens)) = (&read.token, tokens) {
            proxy = proxy.identity_token_in(token.header.clone(), tokens, &token.audience.value);
        }
    }
    if table.flag("grpc_web") == Some(true) {
        proxy = proxy.grpc_web();
    }
    let mut paths: Vec<&str> = Vec::new();
    let mut faults = Vec::new();
    for (key, set) in [
        ("strip_prefix", Proxy::strip_prefix as fn(Proxy, &str) -> Proxy),
        ("add_prefix", Proxy::add_prefix),
        ("rewrite", Proxy::rewrite_path),
    ] {
        if let Some(text) = table.text(key) {
            paths.push(key);
            proxy = set(proxy, &text.value);
            faults.push((key, text.span));
        }
    }
    if paths.len() > 1 {
        table.push(
            table
                .error(format!("`{}` exclude each other", paths.join("` and `")))
                .hint("`rewrite` can say both"),
        );
    } else if let Some((key, span)) = faults.first() {
        let wrong = if template.is_empty() { Vec::new() } else { proxy.faults(template) };
        for fault in wrong.into_iter().filter(|fault| is_of_route(fault)) {
            table.push(table.error_at(span, key, fault));
        }
    }
    let before = proxy.faults(template).len();
    proxy = rewritten_headers(table, proxy);
    for fault in proxy.faults(template).into_iter().skip(before).filter(|fault| is_of_route(fault))
    {
        table.push(table.error(fault));
    }
    match mirrored(table, upstreams, first, proxy.clone()) {
        Some(mirrored) => proxy = mirrored,
        None => complete = false,
    }
    let compress = table.flag("compress") == Some(true);
    complete.then(|| {
        if compress {
            return Endpoint::Compressed(Compression::new(proxy), text.into());
        }
        Endpoint::new(proxy, text)
    })
}

/// Whether a fault is one of the route, and not of an upstream about which it has been said already.
fn is_of_route(fault: &str) -> bool {
    !fault.contains("leads to no upstream")
}

fn shares(table: &Table<'_>) -> Vec<(At<String>, u32)> {
    let Some(value) = table.get("to") else { return Vec::new() };
    if let Some(weights) = value.get_ref().as_table() {
        let shares = table.weights("to", weights);
        if shares.iter().all(|(_, weight)| *weight == 0) {
            table.push(
                table
                    .error_at(&value.span(), "to", "no upstream has a share")
                    .hint("write `{ stable = 95, canary = 5 }`"),
            );
        }
        return shares;
    }
    table.text("to").map(|name| (name, 1)).into_iter().collect()
}

fn rewritten_headers(table: &Table<'_>, mut proxy: Proxy) -> Proxy {
    for (key, is_request) in [("request_headers", true), ("response_headers", false)] {
        for (name, value) in table.text_map(key) {
            let parsed = header_name(&name.value)
                .and_then(|name| Ok((name, given(&value.value).map(header_value).transpose()?)));
            proxy = match (parsed, is_request) {
                (Ok((name, Some(value))), true) => proxy.set_request_header(name, value),
                (Ok((name, None)), true) => proxy.remove_request_header(name),
                (Ok((name, Some(value))), false) => proxy.set_response_header(name, value),
                (Ok((name, None)), false) => proxy.remove_response_header(name),
                (Err(message), _) => {
                    table.push(table.error_at(&value.span, key, message));
                    proxy
                }
            };
        }
    }
    proxy
}
