//! A table of routes with an endpoint for each, without any web framework.
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use http::Method;

use super::{
    CatchAll, Dispatch, Guardedness, Methods, Open, Restricted, RouteLayer, RouteMatch,
    RouteOption, RouteOptions, RouteTable, Rule, TableBuilder, WithOptions, authenticated,
    optional, policy, public, require,
};
use crate::stack::Endpoints;
use crate::{ConfigError, ConfigErrors};

/// A table of routes with an endpoint for each: any tower services.
///
/// ```
/// use portcullis_core::Routes;
/// let routes = Routes::builder()
///     .get("/books/{*rest}", "catalog").public()
///     .any("/orders/{*rest}", "orders").require("orders:write")
///     .build()?;
/// assert_eq!(routes.table().len(), 2);
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
///
/// `/books/{*rest}` also matches `/books` and `/books/`. A route without a stated access does not compile:
///
/// ```compile_fail
/// # use portcullis_core::Routes;
/// let routes = Routes::builder().get("/books", "catalog").build();
/// ```
pub struct Routes<E, G = Open> {
    table: Arc<RouteTable>,
    endpoints: Arc<[E]>,
    kind: PhantomData<fn() -> G>,
}

impl<E> Routes<E, Open> {
    /// No routes yet.
    pub fn builder() -> RoutesBuilder<E, Open> {
        RoutesBuilder {
            table: TableBuilder::new(CatchAll::Bare),
            endpoints: Vec::new(),
            kind: PhantomData,
        }
    }
}

impl<E, G: Guardedness> Routes<E, G> {
    /// The layer that finds the routes of this table.
    pub fn layer(&self) -> RouteLayer<G> {
        RouteLayer::new(Arc::clone(&self.table))
    }
    /// The table.
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }
    /// The endpoints, in the order of the table's routes.
    pub fn endpoints(&self) -> &[E] {
        &self.endpoints
    }
    /// The same routes with other endpoints: to find out what would be called, and call nothing.
    pub fn map<T>(&self, endpoint: impl FnMut(&E) -> T) -> Routes<T, G> {
        let endpoints = self.endpoints.iter().map(endpoint).collect();
        Routes { table: Arc::clone(&self.table), endpoints, kind: PhantomData }
    }
    /// The service that calls the endpoint of the matched route.
    pub fn into_service(self) -> Dispatch<E> {
        Dispatch::new(self.table, self.endpoints)
    }
}

impl<E, G: Guardedness> Endpoints for Routes<E, G> {
    type Leaf = Dispatch<E>;
    type Front<S> = S;
    fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }
    fn into_leaf(self) -> Result<Self::Leaf, ConfigErrors> {
        Ok(self.into_service())
    }
    fn front<S>(stacked: S) -> S {
        stacked
    }
}

impl<E, G> Clone for Routes<E, G> {
    fn clone(&self) -> Self {
        Self {
            table: Arc::clone(&self.table),
            endpoints: Arc::clone(&self.endpoints),
            kind: PhantomData,
        }
    }
}

impl<E, G> fmt::Debug for Routes<E, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Routes").field(&self.table).finish()
    }
}

/// Builds [`Routes`].
#[must_use = "routes are made by `build`"]
pub struct RoutesBuilder<E, G> {
    table: TableBuilder,
    endpoints: Vec<E>,
    kind: PhantomData<fn() -> G>,
}

/// A route that has not said yet who may call it.
#[must_use = "a route must say who may call it"]
pub struct RouteDraft<E, G> {
    builder: RoutesBuilder<E, G>,
    template: String,
    methods: Methods,
    matching: RouteMatch,
    endpoint: E,
}

impl<E, G: Guardedness> RoutesBuilder<E, G> {
    /// A route for these methods.
    pub fn on(self, methods: impl Into<Methods>, template: &str, endpoint: E) -> RouteDraft<E, G> {
        RouteDraft {
            builder: self,
            template: template.to_owned(),
            methods: methods.into(),
            matching: RouteMatch::default(),
            endpoint,
        }
    }
    /// A route for every method.
    pub fn any(self, template: &str, endpoint: E) -> RouteDraft<E, G> {
        self.on(Methods::Any, template, endpoint)
    }
    /// A route for GET and HEAD.
    pub fn get(self, template: &str, endpoint: E) -> RouteDraft<E, G> {
        self.on(Method::GET, template, endpoint)
    }
    /// A route for POST.
    pub fn post(self, template: &str, endpoint: E) -> RouteDraft<E, G> {
        self.on(Method::POST, template, endpoint)
    }
    /// A route for PUT.
    pub fn put(self, template: &str, endpoint: E) -> RouteDraft<E, G> {
        self.on(Method::PUT, template, endpoint)
    }
    /// A route for PATCH.
    pub fn patch(self, template: &str, endpoint: E) -> RouteDraft<E, G> {
        self.on(Method::PATCH, template, endpoint)
    }
    /// A route for DELETE.
    pub fn delete(self, template: &str, endpoint: E) -> RouteDraft<E, G> {
        self.on(Method::DELETE, template, endpoint)
    }
    /// Names the route that was added last.
    pub fn name(mut self, name: &str) -> Self {
        self.table.name_last(name);
        self
    }
    /// Treats the table as one that must be enforced, for code that adds routes in a loop.
    pub fn restricted(self) -> RoutesBuilder<E, Restricted> {
        self.of_kind()
    }
    fn of_kind<K>(self) -> RoutesBuilder<E, K> {
        RoutesBuilder { table: self.table, endpoints: self.endpoints, kind: PhantomData }
    }
    /// Freezes the routes.
    ///
    /// # Errors
    /// Everything that is wrong with the templates, all of it at once.
    pub fn build(self) -> Result<Routes<E, G>, ConfigErrors> {
        let table = self.table.build();
        table.errors().clone().or(Routes {
            table,
            endpoints: self.endpoints.into(),
            kind: PhantomData,
        })
    }
}

impl<E, G: Guardedness> RouteDraft<E, G> {
    /// Only for this host, without a port: `shop.example`, or `*.shop.example` for all names below it. Said several times, one
    /// of them must be it. Default: every host. What is wrong with it shows when the routes are built.
    pub fn host(mut self, pattern: &str) -> Self {
        match std::mem::take(&mut self.matching).host(pattern) {
            Ok(matching) => self.matching = matching,
            Err(message) => {
                let place = format!("route `{} {}`", self.methods, self.template);
                self.builder.table.error(ConfigError::new(place, message));
            }
        }
        self
    }
    /// Only for requests that have all this. Default: whatever they have.
    pub fn matching(self, matching: RouteMatch) -> Self {
        Self { matching, ..self }
    }
    /// States the access by a [`Rule`].
    pub fn rule<A: Guardedness>(self, rule: Rule<A>) -> RoutesBuilder<E, G::With<A>> {
        let Self { mut builder, template, methods, matching, endpoint } = self;
        builder.table.add_matching(&template, methods, matching, rule);
        builder.endpoints.push(endpoint);
        builder.of_kind()
    }
    /// Everybody may call; no credential is looked at.
    pub fn public(self) -> RoutesBuilder<E, G::With<Open>> {
        self.rule(public())
    }
    /// Everybody may call; who they are is found out where they say it.
    pub fn optional(self) -> RoutesBuilder<E, G::With<Restricted>> {
        self.rule(optional())
    }
    /// Everybody may call who says who they are.
    pub fn authenticated(self) -> RoutesBuilder<E, G::With<Restricted>> {
        self.rule(authenticated())
    }
    /// Those may call whose roles grant `permission`.
    pub fn require(self, permission: impl Into<Arc<str>>) -> RoutesBuilder<E, G::With<Restricted>> {
        self.rule(require(permission))
    }
    /// Those may call whom the policy of this name allows.
    pub fn policy(self, name: impl Into<Arc<str>>) -> RoutesBuilder<E, G::With<Restricted>> {
        self.rule(policy(name))
    }
}

/// Adds the option to the route that was added last; to nothing where there is none.
impl<E, G> WithOptions for RoutesBuilder<E, G> {
    fn option<O: RouteOption>(&self) -> Option<&O> {
        self.table.options_of_last().and_then(RouteOptions::get)
    }
    fn with_option<O: RouteOption>(mut self, option: O) -> Self {
        if let Some(options) = self.table.last_options() {
            options.set(option);
        }
        self
    }
}

impl<E, G> fmt::Debug for RoutesBuilder<E, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RoutesBuilder").field(&self.table).finish()
    }
}

impl<E, G> fmt::Debug for RouteDraft<E, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RouteDraft")
            .field(&self.methods)
            .field(&self.template)
            .finish_non_exhaustive()
    }
}
