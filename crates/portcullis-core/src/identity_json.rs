//! An identity as a store keeps it.
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use crate::{Identity, IdentityKind};

impl Identity {
    /// All that this identity is but for its session and the signal that ends it, as JSON for a store.
    pub fn to_json(&self) -> Value {
        let seconds = self.authenticated_at().and_then(|time| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Some(since.as_secs())
        });
        json!({
            "issuer": self.issuer(),
            "subject": self.subject(),
            "kind": kind_name(self.kind()),
            "tenant": self.tenant(),
            "plan": self.plan(),
            "roles": self.roles().collect::<Vec<_>>(),
            "active_roles": self.active_roles().map(Iterator::collect::<Vec<_>>),
            "scopes": self.scopes().collect::<Vec<_>>(),
            "methods": self.methods().collect::<Vec<_>>(),
            "assurance": self.assurance(),
            "authenticated_at": seconds,
            "claims": self.claims(),
        })
    }
    /// An identity that a store has kept; `None` where it is none.
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str();
        let texts = |name: &str| -> Option<Vec<&str>> {
            value.get(name)?.as_array()?.iter().map(Value::as_str).collect()
        };
        let kind = match text("kind")? {
            "user" => IdentityKind::User,
            "service" => IdentityKind::Service,
            "key" => IdentityKind::Key,
            _ => return None,
        };
        let mut builder = Self::builder(text("issuer")?, text("subject")?)
            .kind(kind)
            .roles(texts("roles")?)
            .scopes(texts("scopes")?);
        // What an older program has kept says nothing of them.
        if value.get("active_roles").is_some_and(|roles| !roles.is_null()) {
            builder = builder.active_roles(texts("active_roles")?);
        }
        for method in texts("methods")? {
            builder = builder.method(method);
        }
        if let Some(tenant) = text("tenant") {
            builder = builder.tenant(tenant);
        }
        if let Some(plan) = text("plan") {
            builder = builder.plan(plan);
        }
        if let Some(level) = value.get("assurance").and_then(Value::as_u64) {
            builder = builder.assurance(u8::try_from(level).ok()?);
        }
        if let Some(seconds) = value.get("authenticated_at").and_then(Value::as_u64) {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
            builder = builder.authenticated_at(time);
        }
        let claims = value.get("claims").and_then(Value::as_object).cloned();
        Some(builder.claims(claims.unwrap_or_else(Map::new)).build())
    }
}

fn kind_name(kind: IdentityKind) -> &'static str {
    match kind {
        IdentityKind::User => "user",
        IdentityKind::Service => "service",
        IdentityKind::Key => "key",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_it_was() {
        let claims = json!({"email": "ada@acme.example", "n": [1, null]});
        let whole = Identity::builder("https://id.example", "ada")
            .kind(IdentityKind::Service)
            .tenant("acme")
            .plan("pro")
            .roles(["clerk", "buyer"])
            .active_roles(["buyer"])
            .scopes(["orders"])
            .method("pwd")
            .assurance(2)
            .authenticated_at(SystemTime::UNIX_EPOCH + Duration::from_secs(7))
            .claims(claims.as_object().unwrap().clone())
            .build();
        assert_eq!(Identity::builder("i", "s").tenant("").build().tenant(), None);
        for identity in [whole, Identity::builder("i", "s").build()] {
            let text = identity.to_json().to_string();
            let read = Identity::from_json(&serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(read.to_json(), identity.to_json());
            assert_eq!((read.key(), read.kind()), (identity.key(), identity.kind()));
        }
        for wrong in ["{}", "[]", r#"{"issuer":"i","subject":"s","kind":"god"}"#] {
            assert!(Identity::from_json(&serde_json::from_str(wrong).unwrap()).is_none());
        }
    }
}
