//! `[auth.jwt.NAME]`: issuers whose tokens are accepted.
use std::collections::HashMap;

use portcullis_authn::{
    Algorithm, ClaimNames, Introspection, IntrospectionUrl, JwksUrl, Keys, RemoteKeys, TokenIssuer,
    TokenIssuerBuilder,
};
use portcullis_core::Secret;

use crate::keys;
use crate::reader::{At, Span, Table, duration};

/// An issuer, and what the file says of it.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) said: String,
    /// What its file of keys says, where they come from one.
    pub(crate) keys: Option<String>,
    pub(crate) policy: TokenIssuer,
}

impl Issuer {
    /// Goes on with the keys that are known already, and with who is asked, where nothing about them has changed.
    pub(crate) fn continuing(self, before: &[Self]) -> Self {
        let same = |other: &&Self| {
            (&other.name, &other.said, &other.keys) == (&self.name, &self.said, &self.keys)
        };
        before.iter().find(same).cloned().unwrap_or(self)
    }
}

pub(super) fn issuers(
    tables: &[(String, Table<'_>)],
    places: &mut HashMap<String, Span>,
) -> Vec<Issuer> {
    tables.iter().filter_map(|(name, table)| issuer(name, table, places)).collect()
}

fn issuer(name: &str, table: &Table<'_>, places: &mut HashMap<String, Span>) -> Option<Issuer> {
    let named = table.needed("issuer", "issuer = \"https://id.example\"");
    if table.get("audience").is_none() {
        table.missing("audience", "audience = [\"shop\"]");
    }
    let audience = table.texts("audience");
    let has_keys = table.get("jwks").is_some();
    if !has_keys && table.get("introspect").is_none() {
        let error =
            table.error("it says neither where its keys are nor how it is asked about its tokens");
        table.push(
            error.hint(
                "add `jwks = \"https://id.example/jwks\"`, or `introspect` for opaque tokens",
            ),
        );
    }
    let source = table.text("jwks");
    only_with(table, "jwks", &["jwks_ca", "refresh", "keep", "algorithms", "types"]);
    let claims_of_roles =
        table.table("claims", keys::CLAIMS).is_some_and(|it| it.get("roles").is_some());
    let has_roles = table.get("roles").is_some();
    if has_roles != claims_of_roles {
        let (there, missing, add) = if has_roles {
            ("roles", "claims.roles", "claims = { roles = \"/roles\" }")
        } else {
            ("claims.roles", "roles", "roles = { \"their-role\" = \"our-role\" }")
        };
        let error = table
            .error(format!("`{there}` means nothing without `{missing}`: nobody has a role by it"));
        table.push(error.hint(format!("add `{add}`, or drop `{there}`")));
    }
    let introspect = table.table("introspect", keys::INTROSPECT);
    let introspection = introspect.as_ref().map(introspection);
    let algorithms = table.parsed_all("algorithms", |name| {
        name.parse::<Algorithm>().map_err(|error| error.to_string())
    });
    let (types, leeway) = (table.texts("types"), table.duration("leeway"));
    let (claims, roles) = (claims(table), table.text_map("roles"));
    let (keys, text) = match source.and_then(|source| keys_of(table, &source)) {
        Some((keys, text)) => (Some(keys), text),
        None => (None, None),
    };
    let named = named?;
    // What is wrong has been told.
    let is_asked = introspection.as_ref().is_some_and(Option::is_some);
    if audience.is_empty()
        || keys.is_some() != has_keys
        || is_asked != table.get("introspect").is_some()
    {
        return None;
    }

    places.insert(format!("issuer `{}`", named.value), table.span.clone());
    let mut builder = TokenIssuer::builder(named.value).claims(claims);
    builder = audience.into_iter().fold(builder, |builder, one| builder.audience(one.value));
    builder = match keys {
        None => builder,
        Some(Source::Given(keys)) => builder.keys(keys),
        Some(Source::Remote(keys)) => builder.remote_keys(keys),
    };
    builder = introspection.flatten().into_iter().fold(builder, TokenIssuerBuilder::introspection);
    if table.flag("bound_only") == Some(true) {
        builder = builder.bound_only();
    }
    if !algorithms.is_empty() {
        builder = builder.algorithms(algorithms);
    }
    if !types.is_empty() {
        builder = builder.types(types.into_iter().map(|one| one.value));
    }
    builder = leeway.into_iter().fold(builder, TokenIssuerBuilder::leeway);
    for (value, role) in roles {
        match (value.value.as_str(), role.value.as_str()) {
            ("*", "*") => builder = builder.roles_as_they_are(),
            ("*", _) => {
                let error = table.error_at(
                    &value.span,
                    "roles",
                    "not everybody can have one role by their token",
                );
                table.push(
                    error.hint(
                        "write `\"*\" = \"*\"` where every value is the role of the same name",
                    ),
                );
            }
            _ => builder = builder.role(value.value, role.value),
        }
    }
    match builder.build() {
        Ok(policy) => {
            Some(Issuer { name: name.to_owned(), said: table.said(), keys: text, policy })
        }
        Err(errors) => {
            for error in &errors {
                table.push(table.error(error.message().to_owned()));
            }
            None
        }
    }
}

enum Source {
    Given(Keys),
    Remote(RemoteKeys),
}

/// `file:keys.json`, beside the configuration, or the address where the issuer publishes its keys.
fn keys_of(table: &Table<'_>, source: &At<String>) -> Option<(Source, Option<String>)> {
    let wrong = |message: String| {
        table.push(table.error_at(&source.span, "jwks", message));
        None
    };
    if let Some(path) = source.value.strip_prefix("file:") {
        let path = table.beside(path);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) => return wrong(format!("`{}` cannot be read: {error}", path.display())),
        };
        return match Keys::from_jwks(&text) {
            Ok(keys) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                Some((Source::Given(keys), Some(text)))
            }
            Err(error) => wrong(format!("`{}`: {error}", path.display())),
        };
    }
    let url = match authorities(table, "jwks_ca").ok()? {
        None => JwksUrl::new(&source.value),
        Some(pem) => JwksUrl::with_authorities(&source.value, &pem),
    };
    if !source.value.contains("://") {
        return wrong(format!(
            "`{}` is neither an address nor a file: write `https://id.example/jwks`, or `file:{}`",
            source.value, source.value
        ));
    }
    match url {
        Ok(url) => {
            let mut keys = RemoteKeys::new(url);
            let (refresh, keep) = (table.time("refresh"), table.time("keep"));
            if keep.unwrap_or(RemoteKeys::KEEP) < refresh.unwrap_or(RemoteKeys::EVERY) {
                let message = "`keep` is shorter than `refresh`: the keys are over before they are fetched again";
                table.push(table.error(message).hint("keep them for several times `refresh`"));
            }
            keys = refresh.into_iter().fold(keys, RemoteKeys::every);
            keys = keep.into_iter().fold(keys, RemoteKeys::keep);
            Some((Source::Remote(keys), None))
        }
        Err(error) => wrong(error.to_string()),
    }
}

/// Says what means nothing without another key.
fn only_with(table: &Table<'_>, other: &str, keys: &[&str]) {
    for key in keys.iter().filter(|_| table.get(other).is_none()) {
        if let Some(value) = table.get(key) {
            let message = format!("it means nothing without `{other}`");
            table.push(
                table
                    .error_at(&value.span(), key, message)
                    .hint(format!("drop `{key}`, or add `{other}`")),
            );
        }
    }
}

/// The authorities of a file, if there is one; an error has been told where it cannot be read.
fn authorities(table: &Table<'_>, key: &str) -> Result<Option<Vec<u8>>, ()> {
    let Some(ca) = table.file(key) else { return Ok(None) };
    std::fs::read(&ca.value).map(Some).map_err(|error| {
        let message = format!("`{}` cannot be read: {error}", ca.value.display());
        table.push(table.error_at(&ca.span, key, message));
    })
}

/// How an issuer is asked about tokens.
fn introspection(table: &Table<'_>) -> Option<Introspection> {
    let before = table.told();
    let url = table.needed("url", "url = \"https://id.example/introspect\"");
    let id = table.needed("client_id", "client_id = \"gateway\"");
    let secret = table.needed("client_secret", "client_secret = \"${CLIENT_SECRET}\"");
    let ca = authorities(table, "ca");
    let remember = table.parsed("remember", |text| {
        let time = duration(text)?;
        let fits = time <= Introspection::LONGEST_MEMORY;
        let wrong = || {
            format!(
                "`{text}` is too long: so long a token stays good that it has revoked; at most 5m"
            )
        };
        fits.then_some(time).ok_or_else(wrong)
    });
    let prefix = table.text("prefix");
    let without_audience = table.flag("without_audience") == Some(true);
    if table.told() > before {
        return None;
    }
    let (url, id, secret) = (url?, id?, secret?);
    for (key, at) in [("client_id", &id), ("client_secret", &secret)] {
        if at.value.is_empty() {
            let error = table.error_at(&at.span, key, "it is empty");
            table.push(error.hint("is its variable set?"));
            return None;
        }
    }
    let secret = Secret::new(secret.value);
    let asked = match ca.ok()? {
        None => IntrospectionUrl::new(&url.value, &id.value, &secret),
        Some(pem) => IntrospectionUrl::with_authorities(&url.value, &pem, &id.value, &secret),
    };
    let asked = match asked {
        Ok(asked) => asked,
        Err(error) => {
            table.push(table.error_at(&url.span, "url", error.to_string()));
            return None;
        }
    };
    let mut introspection = Introspection::new(asked);
    introspection = remember.into_iter().fold(introspection, |it, time| it.remember(time.value));
    introspection = prefix.into_iter().fold(introspection, |it, prefix| it.prefix(prefix.value));
    Some(if without_audience { introspection.without_audience() } else { introspection })
}

type Set = fn(ClaimNames, String) -> ClaimNames;

fn claims(table: &Table<'_>) -> ClaimNames {
    let mut names = ClaimNames::new();
    let Some(table) = table.table("claims", keys::CLAIMS) else { return names };
    let set: [(&str, Set); 4] = [
        ("roles", ClaimNames::roles),
        ("tenant", ClaimNames::tenant),
        ("plan", ClaimNames::plan),
        ("scopes", ClaimNames::scopes),
    ];
    for (key, set) in set {
        let pointer = table.parsed(key, |text| {
            let wrong =
                || format!("`{text}` is no JSON pointer: one begins with `/`, as in `/{text}`");
            text.starts_with('/').then(|| text.to_owned()).ok_or_else(wrong)
        });
        names = pointer.into_iter().fold(names, |names, text| set(names, text.value));
    }
    names
}
