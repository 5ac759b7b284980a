//! What must be true of what a token says, whoever has said so.
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_core::{Identity, IdentityBuilder, IdentityKind, is_scope};
use serde_json::{Map, Value};

use super::binding::Binding;
use super::claims::{ClaimNames, RoleNames, text, texts, time};
use crate::jose::Flaw;

/// What an issuer's tokens must say, and what that is to us.
pub(super) struct Rules {
    pub(super) issuer: Arc<str>,
    pub(super) audiences: HashSet<String>,
    pub(super) leeway: Duration,
    pub(super) claims: ClaimNames,
    pub(super) roles: RoleNames,
    /// A token is bound to a key or a certificate of its holder.
    pub(super) bound_only: bool,
}

/// Whose a token is, and who may use it.
#[derive(Clone, Debug)]
pub(crate) struct Judged {
    pub(crate) identity: Identity,
    pub(crate) bound: Binding,
}

/// How we know what a token says.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is signed.
    Signed,
    /// Its issuer says so, and need not say for whom it is.
    Told { needs_audience: bool },
}

/// Whether it is a token that opens something: issuers are asked about those too that log somebody in, or that get others.
fn is_for_access(claims: &Map<String, Value>) -> Result<(), Flaw> {
    const KINDS: [&str; 5] = ["bearer", "dpop", "access_token", "at+jwt", "jwt"];
    for name in ["token_type", "typ"] {
        let kind = claims.get(name).and_then(Value::as_str);
        if kind.is_some_and(|kind| !KINDS.iter().any(|own| kind.eq_ignore_ascii_case(own))) {
            return Err(Flaw::Claim(name, "is not that of an access token"));
        }
    }
    Ok(())
}

impl Rules {
    /// Whether the claims are for us, and for now; until when. `None` is for as long as the issuer says so.
    pub(super) fn check(
        &self,
        claims: &Map<String, Value>,
        now: SystemTime,
        known: Known,
    ) -> Result<Option<SystemTime>, Flaw> {
        // That of a signed token has been looked at before there was a key.
        if claims.get("iss").is_some_and(|issuer| issuer.as_str() != Some(&*self.issuer)) {
            return Err(Flaw::Claim("iss", "is somebody else"));
        }
        if matches!(known, Known::Told { .. }) {
            is_for_access(claims)?;
        }
        let is_ours = |audience: &Value| {
            audience.as_str().is_some_and(|audience| self.audiences.contains(audience))
        };
        let is_for_us = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().all(Value::is_string) && all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None if known == (Known::Told { needs_audience: false }) => true,
            None => return Err(Flaw::Claim("aud", "is missing")),
        };
        if !is_for_us {
            return Err(Flaw::Claim("aud", "is somebody else"));
        }
        let at = |name: &'static str| {
            let wrong = Flaw::Claim(name, "is no whole number of seconds");
            let seconds = time(claims, name).map_err(|()| wrong)?;
            let Some(seconds) = seconds else { return Ok(None) };
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            at.map(Some).ok_or(wrong)
        };
        let until = at("exp")?;
        if until.is_none() && known == Known::Signed {
            return Err(Flaw::Claim("exp", "is missing"));
        }
        let too_far = Flaw::Claim("exp", "is too far away");
        let with_leeway = |until: SystemTime| until.checked_add(self.leeway).ok_or(too_far);
        let until = until.map(with_leeway).transpose()?;
        if until.is_some_and(|until| now >= until) {
            return Err(Flaw::Claim("exp", "is over"));
        }
        for name in ["nbf", "iat"] {
            if at(name)?.is_some_and(|from| from > now + self.leeway) {
                return Err(Flaw::Claim(name, "is in the future"));
            }
        }
        Ok(until)
    }

    /// Whose token it is.
    pub(super) fn judged(&self, claims: Map<String, Value>, known: Known) -> Result<Judged, Flaw> {
        let bound = Binding::of(&claims)?;
        if self.bound_only && bound.is_none() {
            return Err(Flaw::Claim("cnf", "is missing: tokens are bound to their holders here"));
        }
        let whole = Value::Object(claims);
        let named = |name: &str| whole.get(name).and_then(Value::as_str);
        let client = named("client_id").or(named("azp"));
        let subject = match whole.get("sub") {
            // An application that has come on its own behalf has no other subject, and some issuers say none.
            None if known != Known::Signed => named("client_id"),
            subject => subject.and_then(Value::as_str),
        };
        let subject = subject.filter(|subject| !subject.is_empty());
        let subject = subject.ok_or(Flaw::Claim("sub", "is missing, or no text"))?;
        // An application that has come on its own behalf is its own subject (RFC 9068, section 2.2).
        let is_service = client == Some(subject);
        let kind = if is_service { IdentityKind::Service } else { IdentityKind::User };
        let places = &self.claims;
        let method = if known == Known::Signed { "jwt" } else { "introspection" };
        let mut identity = Identity::builder(Arc::clone(&self.issuer), subject)
            .kind(kind)
            .method(method)
            .roles(self.roles.of(&texts(&whole, places.roles.as_ref())))
            .scopes(
                texts(&whole, Some(&places.scopes)).into_iter().filter(|scope| is_scope(scope)),
            );
        if bound.key.is_some() {
            identity = identity.method("dpop");
        }
        if let Some(tenant) = text(&whole, places.tenant.as_ref()) {
            identity = identity.tenant(tenant);
        }
        if let Some(plan) = text(&whole, places.plan.as_ref()) {
            identity = identity.plan(plan);
        }
        if let Some(session) = named("sid") {
            identity = identity.session(session);
        }
        if let Some(seconds) = whole.get("auth_time").and_then(Value::as_u64) {
            let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
            identity = time.into_iter().fold(identity, IdentityBuilder::authenticated_at);
        }
        let Value::Object(claims) = whole else { return Err(Flaw::Malformed("no object")) };
        Ok(Judged { identity: identity.claims(claims).build(), bound })
    }
}
