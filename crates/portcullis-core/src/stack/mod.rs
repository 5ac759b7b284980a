//! A stack of layers whose order the compiler checks.
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use tower_layer::{Identity as NoLayer, Layer, Stack as Pair};

use crate::route::{Guard, GuardLayer, RouteTable};
use crate::stage::{After, Stage, Start};
use crate::{ConfigError, ConfigErrors};

mod facts;
mod optional;
mod plan;

pub use facts::{
    CanonicalTarget, Enforced, Enforcement, Facts, Has, IsCanonical, IsKnown, IsRouted,
    KnownCaller, KnownRoute, KnownRoutes, Lacks, Need, Provide, Routed,
};
pub use optional::{Optional, OptionalFuture, OptionalService};
pub use plan::Plan;

/// Composes layers, and does not compile when they stand in an unsafe order, when one needs what none before it
/// provides, or when the route table has routes that are not public and nothing enforces them.
///
/// The first layer is the outermost. A foreign layer enters by [`at`](Self::at). The stack is itself a
/// [`tower::Layer`](Layer). As such it cannot know whether a router in front of it has matched the path already, as
/// `axum::Router::layer` has it; with a route table in it, it then refuses a path that had to be normalised.
///
/// What types cannot see is found when the stack is finished, by [`around`](Self::around) or
/// [`service`](Self::service): dangling names, options that nobody reads. A stack that is used as a plain layer
/// cannot return an error; with mistakes of that kind it answers every request with 500
/// `configuration-invalid` and leaves the reason in the log.
///
/// ```
/// use portcullis_core::{EdgeLayer, Stack};
/// # use portcullis_core::{Body, Routes};
/// # fn with(books: impl tower::Service<http::Request<Body>, Response = http::Response<Body>> + Clone)
/// # -> Result<(), portcullis_core::ConfigErrors> {
/// let routes = Routes::builder().get("/books", books).public().build()?;
/// let service = Stack::new().layer(EdgeLayer::default()).layer(routes.layer()).around(routes)?;
/// # Ok(()) }
/// ```
///
/// An order that is not safe:
///
/// ```compile_fail
/// # use portcullis_core::{EdgeLayer, Routes, Stack};
/// # let routes = Routes::builder().get("/books", ()).public().build().unwrap();
/// let stack = Stack::new().layer(routes.layer()).layer(EdgeLayer::default());
/// ```
#[must_use = "a stack does nothing until it is put around a service"]
pub struct Stack<L, Last, F> {
    layers: L,
    plan: Arc<Plan>,
    kind: PhantomData<fn() -> (Last, F)>,
}

/// The facts at the beginning of a stack: there are none.
pub type NoFacts = Facts<Lacks, Lacks, Lacks, Lacks>;

/// A layer that knows its stage, what it needs and what it provides.
///
/// ```
/// use portcullis_core::{stage, stack::{KnownCaller, Staged}};
/// #[derive(Clone)]
/// struct AuditLayer;
/// impl Staged for AuditLayer {
///     type Stage = stage::Inner;
///     type Needs = KnownCaller;
///     type Provides = ();
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know its stage",
    label = "not a layer of portcullis",
    note = "put a foreign layer in with `stack.at(stage::…, layer)`, or implement `Staged` for a layer of your own"
)]
pub trait Staged {
    /// Where the layer stands.
    type Stage: Stage;
    /// What a layer before it must provide: [`CanonicalTarget`], [`KnownRoute`], [`KnownCaller`], a pair of them, or `()`.
    type Needs;
    /// What it provides: [`CanonicalTarget`], [`KnownRoutes`], [`KnownCaller`], [`Enforcement`], or `()`.
    type Provides;
    /// Looks at the table when the stack starts, and says which route options the layer reads.
    fn check(&self, _plan: &mut Plan) {}
}

/// What [`Stack::layer`] takes: a layer that knows its stage, or an `Option` of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know its stage",
    label = "not a layer of portcullis",
    note = "put a foreign layer in with `stack.at(stage::…, layer)`, or implement `Staged` for a layer of your own"
)]
pub trait IntoStaged<Kind> {
    /// The layer.
    type Layer: Staged;
    /// Makes it a layer.
    fn into_staged(self) -> Self::Layer;
}

/// As the kind of an [`IntoStaged`]: always there.
#[derive(Clone, Copy, Debug)]
pub struct Always;
/// As the kind of an [`IntoStaged`]: may be absent.
#[derive(Clone, Copy, Debug)]
pub struct Maybe;

impl<L: Staged> IntoStaged<Always> for L {
    type Layer = L;
    fn into_staged(self) -> L {
        self
    }
}
impl<L: Staged> IntoStaged<Maybe> for Option<L> {
    type Layer = Optional<L>;
    fn into_staged(self) -> Optional<L> {
        Optional(self)
    }
}

/// Endpoints that know their route table: [`Routes`](crate::Routes), or the guarded router of `portcullis-axum`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not know who may call its routes",
    label = "no endpoints with a route table",
    note = "a plain axum `Router` goes into a `Guarded`: `Guarded::new().nest(\"/api\", router, authenticated())`",
    note = "a `Guarded` whose handlers need a state gets it by `.with_state(..)` before it gets here",
    note = "a service without a table goes into `stack.service(..)`"
)]
pub trait Endpoints {
    /// The service that the stack goes around. It guards each endpoint by itself.
    type Leaf;
    /// What the finished stack is wrapped in, to fit its framework.
    type Front<S>;
    /// The table.
    fn table(&self) -> &Arc<RouteTable>;
    /// The service.
    ///
    /// # Errors
    /// What is wrong with the endpoints beyond their table.
    fn into_leaf(self) -> Result<Self::Leaf, ConfigErrors>;
    /// Wraps the finished stack.
    fn front<S>(stacked: S) -> Self::Front<S>;
}

impl Stack<NoLayer, Start, NoFacts> {
    /// No layers yet.
    pub fn new() -> Self {
        Self { layers: NoLayer::new(), plan: Arc::default(), kind: PhantomData }
    }
}

impl Default for Stack<NoLayer, Start, NoFacts> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L, Last, F> Stack<L, Last, F> {
    #[expect(clippy::type_complexity, reason = "the next state of the stack; nobody writes it out")]
    /// Adds a layer inside the ones so far. An `Option` of a layer is one that may be absent.
    pub fn layer<N, Kind>(
        self,
        layer: N,
    ) -> Stack<
        Pair<N::Layer, L>,
        <N::Layer as Staged>::Stage,
        <<N::Layer as Staged>::Provides as Provide<F>>::Facts,
    >
    where
        N: IntoStaged<Kind>,
        <N::Layer as Staged>::Stage: After<Last>,
        <N::Layer as Staged>::Needs: Need<F, <N::Layer as Staged>::Stage>,
        <N::Layer as Staged>::Provides: Provide<F>,
    {
        let Self { layers, mut plan, .. } = self;
        let layer = layer.into_staged();
        // A stack that was cloned shares its plan only until one of the two goes on.
        layer.check(Arc::make_mut(&mut plan));
        Stack { layers: Pair::new(layer, layers), plan, kind: PhantomData }
    }

    /// Adds a foreign layer at a stage. Nothing is known about it but where it stands.
    pub fn at<S: Stage + After<Last>, N>(self, _stage: S, layer: N) -> Stack<Pair<N, L>, S, F> {
        Stack { layers: Pair::new(layer, self.layers), plan: self.plan, kind: PhantomData }
    }

    /// Puts the stack around endpoints that know their table.
    ///
    /// # Errors
    /// Everything that is wrong with the table and with the names and options in it, all of it at once.
    pub fn around<E>(self, endpoints: E) -> Result<E::Front<L::Service>, ConfigErrors>
    where
        F: Routed + Enforced,
        E: Endpoints,
        L: Layer<E::Leaf>,
    {
        let mut errors = self.plan.finish();
        if !self.plan.table().is_some_and(|table| Arc::ptr_eq(table, endpoints.table())) {
            let message = "the route layer belongs to another table: take it from the very value that is passed to `around`";
            errors.push(ConfigError::new("stack", message));
        }
        errors.or(())?;
        self.plan.stands_in_front();
        Ok(E::front(self.layers.layer(endpoints.into_leaf()?)))
    }

    /// Puts the stack around a service, behind the leaf guard.
    ///
    /// # Errors
    /// As [`around`](Self::around).
    pub fn service<S>(self, inner: S) -> Result<L::Service, ConfigErrors>
    where
        F: Enforced,
        L: Layer<Guard<S>>,
    {
        self.plan.finish().or(())?;
        self.plan.stands_in_front();
        Ok(self.layers.layer(self.guard().layer(inner)))
    }

    fn guard(&self) -> GuardLayer {
        let errors = self.plan.finish();
        match self.plan.table() {
            _ if !errors.is_empty() => GuardLayer::invalid(errors),
            Some(table) => GuardLayer::table(Arc::clone(table)),
            None => GuardLayer::service(),
        }
    }
}

impl<L, Last, F, S> Layer<S> for Stack<L, Last, F>
where
    F: Enforced,
    L: Layer<Guard<S>>,
{
    type Service = L::Service;
    fn layer(&self, inner: S) -> L::Service {
        self.layers.layer(self.guard().layer(inner))
    }
}

impl<L: Clone, Last, F> Clone for Stack<L, Last, F> {
    fn clone(&self) -> Self {
        Self { layers: self.layers.clone(), plan: Arc::clone(&self.plan), kind: PhantomData }
    }
}

impl<L: fmt::Debug, Last, F> fmt::Debug for Stack<L, Last, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack").field("layers", &self.layers).finish_non_exhaustive()
    }
}
