//! `[identity_token]`: tokens of our own for upstreams.
use std::path::Path;
use std::time::Duration;

use portcullis_gateway::{IdentityTokens, SigningKey};

use crate::reader::{Table, duration};

pub(super) fn read(table: &Table<'_>) -> Option<IdentityTokens> {
    let issuer = table.needed("issuer", "issuer = \"https://gateway.example\"");
    if table.get("keys").is_none() {
        table.missing("keys", "keys = [\"signing.pem\"]");
    }
    if table.get("keys").is_some() && table.texts("keys").is_empty() {
        let error = table.error("there is no key to sign with");
        table.push(error.hint("name a PEM file: `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256` makes one"));
    }
    let lifetime = table.parsed("lifetime", |text| {
        let time = duration(text)?;
        let bounds = Duration::from_secs(10)..=Duration::from_hours(1);
        if bounds.contains(&time) {
            Ok(time)
        } else {
            Err(format!("`{text}` is not from 10s to 1h"))
        }
    });
    let mut keys = table.parsed_all("keys", |path| key(&table.beside(path))).into_iter();
    let first = keys.next();
    let (issuer, first) = (issuer?, first?);
    let mut tokens = keys.fold(IdentityTokens::new(issuer.value, first), IdentityTokens::also);
    tokens = lifetime.into_iter().fold(tokens, |tokens, time| tokens.lifetime(time.value));
    if let Some(fault) = tokens.fault() {
        table.push(table.error(fault));
        return None;
    }
    Some(tokens)
}

fn key(path: &Path) -> Result<SigningKey, String> {
    let pem = std::fs::read(path);
    let pem = pem.map_err(|error| format!("`{}` cannot be read: {error}", path.display()))?;
    SigningKey::from_pem(&pem).map_err(|error| format!("`{}`: {error}", path.display()))
}
