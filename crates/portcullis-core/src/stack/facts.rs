//! What the layers of a stack have found out so far, as types.
use std::marker::PhantomData;

use crate::route::{Guardedness, Open, Restricted};

/// Some layer provides it.
#[derive(Clone, Copy, Debug)]
pub struct Has;
/// No layer provides it.
#[derive(Clone, Copy, Debug)]
pub struct Lacks;

/// What the layers so far provide: a canonical target, routes, the caller's identity, enforcement.
#[derive(Clone, Copy, Debug)]
pub struct Facts<Target, Routes, Caller, Enforced> {
    kind: PhantomData<fn() -> (Target, Routes)>,
    more: PhantomData<fn() -> (Caller, Enforced)>,
}

/// As something provided or needed: the one spelling of the target.
#[derive(Clone, Copy, Debug)]
pub struct CanonicalTarget;
/// As something provided: the route, of a table of kind `G`.
#[derive(Clone, Copy, Debug)]
pub struct KnownRoutes<G>(PhantomData<fn() -> G>);
/// As something needed: the route.
#[derive(Clone, Copy, Debug)]
pub struct KnownRoute;
/// As something provided or needed: who is asking.
#[derive(Clone, Copy, Debug)]
pub struct KnownCaller;
/// As something provided: a decision about every route.
#[derive(Clone, Copy, Debug)]
pub struct Enforcement;

/// Adds what a layer provides to the facts. `()` adds nothing.
pub trait Provide<F> {
    /// The facts with it.
    type Facts;
}
impl<F> Provide<F> for () {
    type Facts = F;
}
impl<T, R, C, E> Provide<Facts<T, R, C, E>> for CanonicalTarget {
    type Facts = Facts<Has, R, C, E>;
}
impl<T, R, C, E, G: Guardedness> Provide<Facts<T, R, C, E>> for KnownRoutes<G> {
    type Facts = Facts<T, G, C, E>;
}
impl<T, R, C, E> Provide<Facts<T, R, C, E>> for KnownCaller {
    type Facts = Facts<T, R, Has, E>;
}
impl<T, R, C, E> Provide<Facts<T, R, C, E>> for Enforcement {
    type Facts = Facts<T, R, C, Has>;
}

/// That the facts hold what a layer of stage `S` needs. `()` needs nothing; a pair needs both.
pub trait Need<F, S> {}
impl<F, S> Need<F, S> for () {}
impl<F, S, A: Need<F, S>, B: Need<F, S>> Need<F, S> for (A, B) {}
impl<T: IsCanonical<S>, R, C, E, S> Need<Facts<T, R, C, E>, S> for CanonicalTarget {}
impl<T, R: IsRouted<S>, C, E, S> Need<Facts<T, R, C, E>, S> for KnownRoute {}
impl<T, R, C: IsKnown<S>, E, S> Need<Facts<T, R, C, E>, S> for KnownCaller {}

/// That the target is canonical.
#[diagnostic::on_unimplemented(
    message = "`{Stage}` needs the canonical target: put `EdgeLayer` before it",
    label = "no layer before this one makes the target canonical"
)]
pub trait IsCanonical<Stage> {}
impl<S> IsCanonical<S> for Has {}

/// That the route is known.
#[diagnostic::on_unimplemented(
    message = "`{Stage}` needs to know the route: put the route layer of your table before it",
    label = "no layer before this one knows the route"
)]
pub trait IsRouted<Stage> {}
impl<S> IsRouted<S> for Open {}
impl<S> IsRouted<S> for Restricted {}

/// That it is known who is asking.
#[diagnostic::on_unimplemented(
    message = "`{Stage}` needs to know who is asking: put a layer of stage `Authenticate` before it",
    label = "no layer before this one knows who is asking"
)]
pub trait IsKnown<Stage> {}
impl<S> IsKnown<S> for Has {}

/// That every route which is not public is enforced.
#[diagnostic::on_unimplemented(
    message = "the table has routes that are not public, but no layer of the stack enforces them: add `AuthorizeLayer` (one in an `Option` does not count)",
    label = "nothing enforces the access of these routes"
)]
pub trait Enforced {}
impl<T, C, E> Enforced for Facts<T, Lacks, C, E> {}
impl<T, C, E> Enforced for Facts<T, Open, C, E> {}
impl<T, C> Enforced for Facts<T, Restricted, C, Has> {}

/// That a route table is part of the stack.
#[diagnostic::on_unimplemented(
    message = "the stack has no route layer: add `.layer(routes.layer())` (axum: `.layer(api.route_layer())`) of the same table",
    label = "no layer finds the routes of these endpoints"
)]
pub trait Routed {}
impl<T, C, E> Routed for Facts<T, Open, C, E> {}
impl<T, C, E> Routed for Facts<T, Restricted, C, E> {}
