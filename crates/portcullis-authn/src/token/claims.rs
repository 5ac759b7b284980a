//! What a token says about its subject, and what that is to us.
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Map, Value};

/// Where in the claims of a token stands what an [`Identity`](portcullis_core::Identity) is made of: JSON pointers (RFC 6901). Default: no
/// roles, tenant and plan; scopes in `/scope`.
#[derive(Clone, Debug)]
pub struct ClaimNames {
    pub(super) roles: Option<String>,
    pub(super) tenant: Option<String>,
    pub(super) plan: Option<String>,
    pub(super) scopes: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self { roles: None, tenant: None, plan: None, scopes: "/scope".to_owned() }
    }
}

impl ClaimNames {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }
    /// Where the roles stand: a list of texts, or one text with spaces between them. They mean what
    /// [`TokenIssuerBuilder::role`](super::TokenIssuerBuilder::role) says, and nothing else.
    #[must_use]
    pub fn roles(self, pointer: impl Into<String>) -> Self {
        Self { roles: Some(pointer.into()), ..self }
    }
    /// Where the tenant stands.
    #[must_use]
    pub fn tenant(self, pointer: impl Into<String>) -> Self {
        Self { tenant: Some(pointer.into()), ..self }
    }
    /// Where the plan stands.
    #[must_use]
    pub fn plan(self, pointer: impl Into<String>) -> Self {
        Self { plan: Some(pointer.into()), ..self }
    }
    /// Where the scopes stand: a list of texts, or one text with spaces between them.
    #[must_use]
    pub fn scopes(self, pointer: impl Into<String>) -> Self {
        Self { scopes: pointer.into(), ..self }
    }
    /// What is no pointer.
    pub(super) fn faults(&self) -> Vec<String> {
        let all = [&self.roles, &self.tenant, &self.plan].into_iter().flatten();
        let wrong = all.chain([&self.scopes]).filter(|pointer| !pointer.starts_with('/'));
        wrong.map(|pointer| format!("`{pointer}` is no JSON pointer: it begins with `/`")).collect()
    }
}

/// What the values of a role claim are to us.
#[derive(Clone, Debug, Default)]
pub(super) struct RoleNames {
    by_value: HashMap<String, Vec<Arc<str>>>,
    /// A value is the role of the same name.
    pub(super) as_they_are: bool,
}

impl RoleNames {
    pub(super) fn add(&mut self, value: String, role: Arc<str>) {
        self.by_value.entry(value).or_default().push(role);
    }
    pub(super) fn of(&self, values: &[&str]) -> Vec<Arc<str>> {
        let mapped = values.iter().filter_map(|value| self.by_value.get(*value)).flatten().cloned();
        let same = values.iter().filter(|_| self.as_they_are).map(|value| Arc::from(*value));
        mapped.chain(same).collect()
    }
    /// Every role that a token may give, as far as it is known.
    pub(super) fn roles(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_value.values().flatten()
    }
}

/// A text that is not empty.
pub(super) fn text<'a>(claims: &'a Value, pointer: Option<&String>) -> Option<&'a str> {
    claims.pointer(pointer?)?.as_str().filter(|text| !text.is_empty())
}

/// The texts of a list, or the words of a text.
pub(super) fn texts<'a>(claims: &'a Value, pointer: Option<&String>) -> Vec<&'a str> {
    let found = pointer.and_then(|pointer| claims.pointer(pointer));
    match found {
        Some(Value::Array(texts)) => texts.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        _ => Vec::new(),
    }
}

/// Seconds since 1970, where they are a whole number that is not negative. Whatever else stands there is no time.
pub(super) fn time(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, ()> {
    claims.get(name).map_or(Ok(None), |value| value.as_u64().map(Some).ok_or(()))
}
