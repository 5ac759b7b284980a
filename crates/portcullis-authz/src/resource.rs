//! What somebody wants to do something with.
use std::collections::BTreeMap;
use std::sync::Arc;

use portcullis_core::Identity;
use serde_json::Value;

/// An object that somebody wants to do something with: what roles and policies look at. An application makes one of its own row.
///
/// ```
/// use portcullis_authz::Resource;
/// let order = Resource::new("order", "4711").tenant("acme").owner("https://id.example|acme|ada");
/// assert_eq!(order.kind(), "order");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource {
    kind: Arc<str>,
    id: Arc<str>,
    tenant: Option<Arc<str>>,
    owner: Option<Arc<str>>,
    path: Option<Arc<str>>,
    attributes: BTreeMap<Arc<str>, Value>,
}

impl Resource {
    /// An object of this kind (`order`) and name (its number, say), which belongs to nobody.
    pub fn new(kind: impl Into<Arc<str>>, id: impl Into<Arc<str>>) -> Self {
        Self { kind: kind.into(), id: id.into(), ..Self::default() }
    }
    /// The tenant that it belongs to. A caller of another tenant may do nothing with it, unless a binding says so. Default: none.
    #[must_use]
    pub fn tenant(self, tenant: impl Into<Arc<str>>) -> Self {
        Self { tenant: Some(tenant.into()), ..self }
    }
    /// Whose it is: the [key](Identity::key) of an identity as text, for a subject alone may be another one's at another issuer. Default: nobody's.
    #[must_use]
    pub fn owner(self, owner: impl Into<Arc<str>>) -> Self {
        Self { owner: Some(owner.into()), ..self }
    }
    /// Where it is, for roles that somebody has at a path: `/acme/projects/7`. Default: nowhere.
    #[must_use]
    pub fn path(self, path: impl Into<Arc<str>>) -> Self {
        Self { path: Some(path.into()), ..self }
    }
    /// What else a policy looks at. Default: nothing.
    #[must_use]
    pub fn attribute(mut self, name: impl Into<Arc<str>>, value: impl Into<Value>) -> Self {
        self.attributes.insert(name.into(), value.into());
        self
    }
    /// Its kind.
    pub fn kind(&self) -> &str {
        &self.kind
    }
    /// Its name within its kind.
    pub fn id(&self) -> &str {
        &self.id
    }
    /// The tenant that it belongs to.
    pub fn tenant_name(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
    /// Whose it is.
    pub fn owner_key(&self) -> Option<&str> {
        self.owner.as_deref()
    }
    /// Where it is.
    pub fn place(&self) -> Option<&str> {
        self.path.as_deref()
    }
    /// What else a policy looks at.
    pub fn attributes(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.attributes.iter().map(|(name, value)| (&**name, value))
    }
    /// Whether it belongs to this tenant, or to none.
    pub(crate) fn is_at_home_in(&self, tenant: Option<&str>) -> bool {
        self.tenant.is_none() || self.tenant_name() == tenant
    }
    /// Whether it is at this path, or somewhere below it.
    pub(crate) fn is_at(&self, above: &str) -> bool {
        let below = self.place().and_then(|path| path.strip_prefix(above));
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
    /// Whether it is the caller's own.
    pub fn is_owned_by(&self, identity: &Identity) -> bool {
        let key = identity.key();
        let is_it = |owner: &str| {
            let rest = behind(owner, key.issuer)?.strip_prefix('|')?;
            let rest = behind(rest, key.tenant.unwrap_or_default())?.strip_prefix('|')?;
            Some(behind(rest, key.subject)?.is_empty())
        };
        self.owner.as_deref().and_then(is_it).unwrap_or(false)
    }
}

/// What stands behind a part of a key that a text begins with, in which `|` and `\` are escaped. No text is made of the key: a check allocates nothing.
fn behind<'a>(text: &'a str, part: &str) -> Option<&'a str> {
    // A tenant that is none points nowhere, and some processors take long to compare nothing with it.
    if part.is_empty() {
        return Some(text);
    }
    let is_special = |byte: u8| matches!(byte, b'|' | b'\\');
    if !part.bytes().any(is_special) {
        return text.strip_prefix(part);
    }
    part.chars().try_fold(text, |rest, c| {
        let rest = if matches!(c, '|' | '\\') { rest.strip_prefix('\\')? } else { rest };
        rest.strip_prefix(c)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ones_own_when_it_has_the_key_of_its_owner_as_text() {
        let names = ["", "a", "ab", "b", "|", "a|b", "\\", "a\\", "\\|", "ä|", "|a"];
        let mut callers = Vec::new();
        for issuer in names {
            for tenant in names.map(Some).into_iter().chain([None]) {
                for subject in names {
                    let caller = Identity::builder(issuer, subject);
                    let caller =
                        tenant.into_iter().fold(caller, portcullis_core::IdentityBuilder::tenant);
                    callers.push(caller.build());
                }
            }
        }
        for caller in callers.iter().step_by(7) {
            for owner in &callers {
                let owner = owner.key().to_string();
                let is_own = owner == caller.key().to_string();
                let resource = Resource::new("order", "1").owner(owner.as_str());
                assert_eq!(resource.is_owned_by(caller), is_own, "{owner} {:?}", caller.key());
            }
        }
        assert!(!Resource::new("order", "1").is_owned_by(&Identity::builder("", "").build()));
    }
}
