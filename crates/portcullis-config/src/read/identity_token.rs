//! `[identity_token]`: tokens of our own for upstreams.
use std::path::Path;

use portcullis_gateway::{IdentityTokens, SigningKey};

use crate::reader::Table;

pub(super) fn read(table: &Table<'_>) -> Option<IdentityTokens> {
    let issuer = table.needed("issuer", "issuer = \"https://gateway.example\"");
    if table.get("keys").is_none() {
        table.missing("keys", "keys = [\"signing.pem\"]");
    }
    let lifetime = table.duration("lifetime");
    let mut keys = table.parsed_all("keys", |path| key(&table.beside(path))).into_iter();
    let first = keys.next();
    let (issuer, first) = (issuer?, first?);
    let mut tokens = keys.fold(IdentityTokens::new(issuer.value, first), IdentityTokens::also);
    tokens = lifetime.into_iter().fold(tokens, IdentityTokens::lifetime);
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
