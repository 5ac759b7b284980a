//! Who is asking.
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::Revocation;

/// Who is asking, as an authenticator found out. Cheap to clone.
///
/// ```
/// use portcullis_core::{Identity, IdentityKind};
/// let ada = Identity::builder("https://id.example", "ada").tenant("acme").role("clerk").build();
/// assert_eq!(ada.subject(), "ada");
/// assert_eq!(ada.key().to_string(), "https://id.example|acme|ada");
/// assert_eq!(ada.kind(), IdentityKind::User);
/// ```
#[derive(Clone, Debug)]
pub struct Identity(Arc<Built>);

#[derive(Debug)]
struct Built {
    facts: IdentityBuilder,
    fingerprint: u128,
}

/// What kind of caller an [`Identity`] is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdentityKind {
    /// A person. The default.
    #[default]
    User,
    /// A service that acts for itself.
    Service,
    /// An API key.
    Key,
}

/// The one key of an identity: in limits, in logs, in stores, everywhere.
///
/// The same subject from another issuer, or in another tenant, is another identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdentityKey<'a> {
    /// The issuer, or the scheme where there is no issuer.
    pub issuer: &'a str,
    /// The tenant.
    pub tenant: Option<&'a str>,
    /// The subject.
    pub subject: &'a str,
}

impl IdentityKey<'_> {
    /// The key as a number, for tables in memory: hashed with a secret of this process.
    pub fn fingerprint(&self) -> u128 {
        static HASHERS: LazyLock<[RandomState; 2]> =
            LazyLock::new(|| [RandomState::new(), RandomState::new()]);
        let [high, low] = HASHERS.each_ref().map(|hasher| u128::from(hasher.hash_one(self)));
        high << 64 | low
    }
}

impl fmt::Display for IdentityKey<'_> {
    /// The parts with `|` between them; a `|` or `\` inside a part is escaped, so that two keys never look alike.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn part(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
            if !text.contains(['|', '\\']) {
                return f.write_str(text);
            }
            text.chars().try_for_each(|c| {
                if matches!(c, '|' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")
            })
        }
        part(f, self.issuer)?;
        f.write_str("|")?;
        part(f, self.tenant.unwrap_or_default())?;
        f.write_str("|")?;
        part(f, self.subject)
    }
}

/// Builds an [`Identity`].
#[derive(Clone, Debug)]
#[must_use = "an identity is made by `build`"]
pub struct IdentityBuilder {
    issuer: Arc<str>,
    subject: Arc<str>,
    kind: IdentityKind,
    tenant: Option<Arc<str>>,
    roles: Vec<Arc<str>>,
    active_roles: Option<Vec<Arc<str>>>,
    scopes: Vec<Arc<str>>,
    plan: Option<Arc<str>>,
    methods: Vec<Arc<str>>,
    assurance: Option<u8>,
    authenticated_at: Option<SystemTime>,
    session: Option<Arc<str>>,
    log_in_page: Option<Arc<str>>,
    claims: Map<String, Value>,
    revocation: Option<Revocation>,
}

impl Identity {
    /// Begins an identity: `issuer` is who vouches for it (an OpenID issuer, or the scheme, such as `api-key`).
    pub fn builder(issuer: impl Into<Arc<str>>, subject: impl Into<Arc<str>>) -> IdentityBuilder {
        IdentityBuilder {
            issuer: issuer.into(),
            subject: subject.into(),
            kind: IdentityKind::default(),
            tenant: None,
            roles: Vec::new(),
            active_roles: None,
            scopes: Vec::new(),
            plan: None,
            methods: Vec::new(),
            assurance: None,
            authenticated_at: None,
            session: None,
            log_in_page: None,
            claims: Map::new(),
            revocation: None,
        }
    }
    /// Begins an identity with all that this one is.
    pub fn to_builder(&self) -> IdentityBuilder {
        self.0.facts.clone()
    }
    /// The one key of this identity.
    pub fn key(&self) -> IdentityKey<'_> {
        IdentityKey { issuer: self.issuer(), tenant: self.tenant(), subject: self.subject() }
    }
    /// The key as a number, for tables in memory: hashed with a secret of this process, once for each identity.
    pub fn fingerprint(&self) -> u128 {
        self.0.fingerprint
    }
    /// Whether it is this very identity, and not one that is like it: what was made of the one is right for the other.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
    /// The issuer, or the scheme where there is no issuer.
    pub fn issuer(&self) -> &str {
        &self.0.facts.issuer
    }
    /// The subject: unique within the issuer and the tenant.
    pub fn subject(&self) -> &str {
        &self.0.facts.subject
    }
    /// What kind of caller it is.
    pub fn kind(&self) -> IdentityKind {
        self.0.facts.kind
    }
    /// The tenant.
    pub fn tenant(&self) -> Option<&str> {
        self.0.facts.tenant.as_deref()
    }
    /// The names of its roles.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.facts.roles.iter().map(|role| &**role)
    }
    /// The roles that its session has activated, of those that it has (INCITS 359: a session has a subset of the roles of its user). `None`
    /// where it has chosen none: then all are active.
    pub fn active_roles(&self) -> Option<impl ExactSizeIterator<Item = &str>> {
        Some(self.0.facts.active_roles.as_ref()?.iter().map(|role| &**role))
    }
    /// The names of its roles that are in use: those that its session has activated, or all of them.
    pub fn roles_in_use(&self) -> impl Iterator<Item = &str> {
        let chosen = self.0.facts.active_roles.as_ref();
        chosen.unwrap_or(&self.0.facts.roles).iter().map(|role| &**role)
    }
    /// The scopes of its token.
    pub fn scopes(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.facts.scopes.iter().map(|scope| &**scope)
    }
    /// The plan that its limits follow.
    pub fn plan(&self) -> Option<&str> {
        self.0.facts.plan.as_deref()
    }
    /// How it proved itself (RFC 8176 values such as `pwd`, `otp`).
    pub fn methods(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.facts.methods.iter().map(|method| &**method)
    }
    /// The assurance level (NIST SP 800-63: 1 to 3).
    pub fn assurance(&self) -> Option<u8> {
        self.0.facts.assurance
    }
    /// When it proved itself.
    pub fn authenticated_at(&self) -> Option<SystemTime> {
        self.0.facts.authenticated_at
    }
    /// The session, where there is one.
    pub fn session(&self) -> Option<&str> {
        self.0.facts.session.as_deref()
    }
    /// Where a browser logs in once more when a route asks for a fresher proof: a path of this site. `None` where there is no such page.
    pub fn log_in_page(&self) -> Option<&str> {
        self.0.facts.log_in_page.as_deref()
    }
    /// A claim of its token.
    pub fn claim(&self, name: &str) -> Option<&Value> {
        self.0.facts.claims.get(name)
    }
    /// All claims of its token; none where there is no token.
    pub fn claims(&self) -> &Map<String, Value> {
        &self.0.facts.claims
    }
    /// Tells when this identity is no longer good, so that streams end with it.
    pub fn revocation(&self) -> Option<&Revocation> {
        self.0.facts.revocation.as_ref()
    }
}

impl IdentityBuilder {
    /// Finishes the identity.
    pub fn build(self) -> Identity {
        let key = IdentityKey {
            issuer: &self.issuer,
            tenant: self.tenant.as_deref(),
            subject: &self.subject,
        };
        Identity(Arc::new(Built { fingerprint: key.fingerprint(), facts: self }))
    }
    /// Who vouches for it, in place of whom it began with.
    pub fn issuer(self, issuer: impl Into<Arc<str>>) -> Self {
        Self { issuer: issuer.into(), ..self }
    }
    /// What kind of caller it is. Default: a user.
    pub fn kind(self, kind: IdentityKind) -> Self {
        Self { kind, ..self }
    }
    /// The tenant; an empty text is none, for two callers must not look alike. Default: none.
    pub fn tenant(self, tenant: impl Into<Arc<str>>) -> Self {
        Self { tenant: Some(tenant.into()).filter(|tenant| !tenant.is_empty()), ..self }
    }
    /// Adds a role. Default: none.
    pub fn role(mut self, role: impl Into<Arc<str>>) -> Self {
        self.roles.push(role.into());
        self
    }
    /// Adds roles.
    pub fn roles<R: Into<Arc<str>>>(mut self, roles: impl IntoIterator<Item = R>) -> Self {
        self.roles.extend(roles.into_iter().map(Into::into));
        self
    }
    /// Which of its roles its session has activated. Whoever says it has seen to it that the caller may have them active:
    /// `Roles::activate` of `portcullis-authz` does. Default: all roles are active.
    pub fn active_roles<R: Into<Arc<str>>>(self, roles: impl IntoIterator<Item = R>) -> Self {
        Self { active_roles: Some(roles.into_iter().map(Into::into).collect()), ..self }
    }
    /// Adds scopes. Default: none.
    pub fn scopes<R: Into<Arc<str>>>(mut self, scopes: impl IntoIterator<Item = R>) -> Self {
        self.scopes.extend(scopes.into_iter().map(Into::into));
        self
    }
    /// The plan that its limits follow. Default: none.
    pub fn plan(self, plan: impl Into<Arc<str>>) -> Self {
        Self { plan: Some(plan.into()), ..self }
    }
    /// Adds a way in which it proved itself (RFC 8176). Default: none.
    pub fn method(mut self, method: impl Into<Arc<str>>) -> Self {
        self.methods.push(method.into());
        self
    }
    /// The assurance level (NIST SP 800-63: 1 to 3). Default: unknown.
    pub fn assurance(self, level: u8) -> Self {
        Self { assurance: Some(level), ..self }
    }
    /// Where a browser logs in once more: a path of this site. Default: nowhere.
    pub fn log_in_page(self, path: impl Into<Arc<str>>) -> Self {
        Self { log_in_page: Some(path.into()), ..self }
    }
    /// When it proved itself. Default: unknown.
    pub fn authenticated_at(self, time: SystemTime) -> Self {
        Self { authenticated_at: Some(time), ..self }
    }
    /// The session. Default: none.
    pub fn session(self, id: impl Into<Arc<str>>) -> Self {
        Self { session: Some(id.into()), ..self }
    }
    /// The claims of its token. Default: none.
    pub fn claims(self, claims: Map<String, Value>) -> Self {
        Self { claims, ..self }
    }
    /// Takes the signal away by which it is told that it is no longer good.
    pub fn without_revocation(self) -> Self {
        Self { revocation: None, ..self }
    }
    /// Tells when this identity is no longer good. Default: it stays good for the length of a request.
    pub fn revocation(self, revocation: Revocation) -> Self {
        Self { revocation: Some(revocation), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_follows_the_key_and_nothing_else() {
        let ada = Identity::builder("id", "ada").tenant("acme");
        let same = ada.clone().role("clerk").plan("pro").build();
        assert_eq!(ada.clone().build().fingerprint(), same.fingerprint());
        assert_ne!(ada.build().fingerprint(), Identity::builder("id", "ada").build().fingerprint());
    }

    #[test]
    fn keys_of_different_identities_never_look_alike() {
        let plain = Identity::builder("a|b", "c").build();
        let other = Identity::builder("a", "c").tenant("b").build();
        let third = Identity::builder("a\\", "b|c").build();
        let texts = [plain, other, third].map(|identity| identity.key().to_string());
        assert_eq!(texts, ["a\\|b||c", "a|b|c", "a\\\\||b\\|c"]);
    }
}
