//! How a route says what it asks for, so that the compiler knows whether it asks for anything.
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Access, Requirement, RouteOption, RouteOptions, StepUp, WithOptions};

/// A table or rule in which everything is public.
#[derive(Clone, Copy, Debug)]
pub struct Open;
/// A table or rule in which something is not public: somebody has to enforce it.
#[derive(Clone, Copy, Debug)]
pub struct Restricted;

/// [`Open`] or [`Restricted`]: what the compiler knows about the access of a table or a rule.
pub trait Guardedness: sealed::Sealed + 'static {
    /// What a table of this kind becomes with a rule of kind `Other`.
    type With<Other: Guardedness>: Guardedness;
}
impl Guardedness for Open {
    type With<Other: Guardedness> = Other;
}
impl Guardedness for Restricted {
    type With<Other: Guardedness> = Self;
}

mod sealed {
    #[expect(unnameable_types, reason = "so that nobody else can implement the trait")]
    pub trait Sealed {}
    impl Sealed for super::Open {}
    impl Sealed for super::Restricted {}
}

/// What a route asks of the caller, and what the layers want to know about it.
#[must_use = "a rule does nothing until a route has it"]
pub struct Rule<G> {
    pub(crate) access: Access,
    pub(crate) options: RouteOptions,
    kind: PhantomData<fn() -> G>,
}

/// Everybody may call; no credential is looked at.
pub fn public() -> Rule<Open> {
    Rule::new(Requirement::Public)
}
/// Everybody may call; who they are is found out where they say it. An invalid credential is refused all the same.
pub fn optional() -> Rule<Restricted> {
    Rule::new(Requirement::Optional)
}
/// Everybody may call who says who they are.
pub fn authenticated() -> Rule<Restricted> {
    Rule::new(Requirement::Authenticated)
}
/// Those may call whose roles grant `permission`.
pub fn require(permission: impl Into<Arc<str>>) -> Rule<Restricted> {
    Rule::new(Requirement::Permission(permission.into()))
}
/// Those may call whom the policy of this name allows.
pub fn policy(name: impl Into<Arc<str>>) -> Rule<Restricted> {
    Rule::new(Requirement::Policy(name.into()))
}

impl<G> Rule<G> {
    fn new(requirement: Requirement) -> Self {
        Self {
            access: Access::new(requirement),
            options: RouteOptions::default(),
            kind: PhantomData,
        }
    }
    /// The same rule, as one that must be enforced.
    pub fn restricted(self) -> Rule<Restricted> {
        Rule { access: self.access, options: self.options, kind: PhantomData }
    }
    /// What the rule asks of the caller.
    pub fn access(&self) -> &Access {
        &self.access
    }
}

impl Rule<Restricted> {
    /// Also asks for this scope (RFC 6749, section 3.3), beside others that are named: whoever says who they are must have them all, and who
    /// has no scopes has none of them. Default: none.
    pub fn scope(self, scope: impl Into<Arc<str>>) -> Self {
        Self { access: self.access.with_scope(scope), ..self }
    }
    /// Takes callers whom this issuer vouches for ([`Identity::issuer`](crate::Identity::issuer)), beside those of other issuers that are
    /// named; others get 401. It is what stands in `iss` of tokens, or `ApiKeys::ISSUER` (`api-key`) or `ClientCertificates::ISSUER` (`certificate`) of
    /// `portcullis-authn`. Default: those of every issuer that is known.
    pub fn issuer(self, issuer: impl Into<Arc<str>>) -> Self {
        Self { access: self.access.with_issuer(issuer), ..self }
    }
    /// Also asks for a stronger proof of identity (RFC 9470): two factors.
    pub fn step_up(self) -> Self {
        self.step_up_to(StepUp::default())
    }
    /// Also asks for a stronger, or a fresher, proof of identity (RFC 9470): `StepUp::fresh(Duration::from_secs(300))` asks for a log-in
    /// of the last five minutes.
    pub fn step_up_to(self, asked: StepUp) -> Self {
        Self { access: self.access.with_step_up(asked), ..self }
    }
    /// Says that the handler looks at who may do something with the very object that the request is about, so that a caller passes who may with
    /// some objects, such as their own, or those of a folder. A handler that has looked at nothing answers for nothing: where it answers without an
    /// error and nobody has been asked about an object, the answer is 500 `object-unchecked`. Default: a caller passes who may with all objects.
    pub fn object_checked(self) -> Self {
        Self { access: self.access.with_object_check(), ..self }
    }
}

impl<G> WithOptions for Rule<G> {
    fn option<O: RouteOption>(&self) -> Option<&O> {
        self.options.get()
    }
    fn with_option<O: RouteOption>(mut self, option: O) -> Self {
        self.options.set(option);
        self
    }
}

impl<G> Clone for Rule<G> {
    fn clone(&self) -> Self {
        Self { access: self.access.clone(), options: self.options.clone(), kind: PhantomData }
    }
}

impl<G> fmt::Debug for Rule<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rule")
            .field("access", &self.access)
            .field("options", &self.options)
            .finish()
    }
}
