//! The stages of a stack: where each layer stands.
//!
//! A stage is a type, so that the order is checked where the stack is written. Outermost first:
//!
//! | stage | does |
//! |---|---|
//! | [`Observe`] | creates the context, catches panics; span, metrics, access log |
//! | [`Edge`] | request id, trace, canonical target, client address, security headers |
//! | [`Shed`] | global and per-address concurrency; address allow and deny lists |
//! | [`Route`] | matches once |
//! | [`Answer`] | what needs no identity: CORS preflights and the like |
//! | [`PreLimit`] | limits whose key needs no identity |
//! | [`Authenticate`] | who is it |
//! | [`Limit`] | limits by identity, tenant, plan |
//! | [`Authorize`] | may they |
//! | [`Idempotency`] | the same request twice has one effect |
//! | [`Cache`] | keyed by scope |
//! | [`Inner`] | compression, adaptive concurrency |
//!
//! [`Shed`], [`Answer`], [`PreLimit`], [`Limit`] and [`Inner`] may hold several layers; the others one.

/// A stage of the stack.
pub trait Stage: sealed::Sealed + 'static {
    /// The name of the stage, as it stands in explanations.
    const NAME: &'static str;
}

/// That a layer of this stage may stand directly behind one of stage `Previous`.
#[diagnostic::on_unimplemented(
    message = "a layer of stage `{Self}` cannot stand behind one of stage `{Previous}`",
    label = "this layer cannot stand here",
    note = "the stages, outermost first: Observe, Edge, Shed, Route, Answer, PreLimit, Authenticate, Limit, Authorize, \
            Idempotency, Cache, Inner",
    note = "Shed, Answer, PreLimit, Limit and Inner may hold several layers, the others one"
)]
pub trait After<Previous> {}

mod sealed {
    #[expect(unnameable_types, reason = "so that nobody else can implement the trait")]
    pub trait Sealed {}
}

macro_rules! stages {
    ($($(#[doc = $doc:literal])+ $stage:ident = $name:literal;)+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $stage;
        impl Stage for $stage {
            const NAME: &'static str = $name;
        }
        impl sealed::Sealed for $stage {}
    )+};
}

stages! {
    /// Where a stack begins; no layer has this stage.
    Start = "start";
    /// Creates the context, catches panics; span, metrics, access log.
    Observe = "observe";
    /// Request id, trace, canonical target, client address, security headers.
    Edge = "edge";
    /// Global and per-address concurrency; address allow and deny lists.
    Shed = "shed";
    /// Matches the route, once.
    Route = "route";
    /// Answers that need no identity: CORS preflights and the like.
    Answer = "answer";
    /// Limits whose key needs no identity.
    PreLimit = "pre-limit";
    /// Who is it.
    Authenticate = "authenticate";
    /// Limits by identity, tenant, plan.
    Limit = "limit";
    /// May they.
    Authorize = "authorize";
    /// The same request twice has one effect.
    Idempotency = "idempotency";
    /// Keyed by scope.
    Cache = "cache";
    /// Compression, adaptive concurrency.
    Inner = "inner";
}

/// Each stage may stand behind every one that is named before it.
macro_rules! order {
    ($first:ident $($rest:ident)*) => {
        $(impl After<$first> for $rest {})*
        order! { $($rest)* }
    };
    () => {};
}

order! { Start Observe Edge Shed Route Answer PreLimit Authenticate Limit Authorize Idempotency Cache Inner }

macro_rules! several {
    ($($stage:ident)*) => { $(impl After<$stage> for $stage {})* };
}

several! { Shed Answer PreLimit Limit Inner }
