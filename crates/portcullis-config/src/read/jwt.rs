//! `[auth.jwt.NAME]`: issuers whose tokens are accepted.
use std::collections::HashMap;

use portcullis_authn::{Algorithm, ClaimNames, JwksUrl, JwtIssuer, Keys, RemoteKeys};

use crate::keys;
use crate::reader::{At, Span, Table};

/// An issuer, and what the file says of it.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) said: String,
    /// What its file of keys says, where they come from one.
    pub(crate) keys: Option<String>,
    pub(crate) policy: JwtIssuer,
}

impl Issuer {
    /// Goes on with the keys that are known already, where nothing about them has changed. Those of a file are read again.
    pub(crate) fn continuing(self, before: &[Self]) -> Self {
        let same = |other: &&Self| other.name == self.name && other.said == self.said;
        match before.iter().find(same) {
            Some(known) if known.policy.remote().is_some() => known.clone(),
            _ => self,
        }
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
    let source = table.needed("jwks", "jwks = \"https://id.example/jwks\"");
    let algorithms = table.parsed_all("algorithms", |name| {
        name.parse::<Algorithm>().map_err(|error| error.to_string())
    });
    let (types, leeway) = (table.texts("types"), table.duration("leeway"));
    let (claims, roles) = (claims(table), table.text_map("roles"));
    let (keys, text) = match source.and_then(|source| keys_of(table, &source)) {
        Some((keys, text)) => (Some(keys), text),
        None => (None, None),
    };
    let (named, keys) = (named?, keys?);

    places.insert(format!("issuer `{}`", named.value), table.span.clone());
    let mut builder = JwtIssuer::builder(named.value).claims(claims);
    builder = audience.into_iter().fold(builder, |builder, one| builder.audience(one.value));
    builder = match keys {
        Source::Given(keys) => builder.keys(keys),
        Source::Remote(keys) => builder.remote_keys(keys),
    };
    if !algorithms.is_empty() {
        builder = builder.algorithms(algorithms);
    }
    if !types.is_empty() {
        builder = builder.types(types.into_iter().map(|one| one.value));
    }
    builder = leeway.into_iter().fold(builder, portcullis_authn::JwtIssuerBuilder::leeway);
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
    let url = match table.file("jwks_ca") {
        None => JwksUrl::new(&source.value),
        Some(ca) => match std::fs::read(&ca.value) {
            Ok(pem) => JwksUrl::with_authorities(&source.value, &pem),
            Err(error) => {
                let message = format!("`{}` cannot be read: {error}", ca.value.display());
                table.push(table.error_at(&ca.span, "jwks_ca", message));
                return None;
            }
        },
    };
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
        names = table.text(key).into_iter().fold(names, |names, text| set(names, text.value));
    }
    names
}
