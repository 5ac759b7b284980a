//! A router that records who may call what.
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::DefaultBodyLimit;
use portcullis_core::route::{
    CatchAll, GuardLayer, Guardedness, MaxBody, Open, Restricted, RouteLayer, TableBuilder,
};
use portcullis_core::stack::Endpoints;
use portcullis_core::{ConfigError, ConfigErrors, Methods, Route, RouteTable, Rule, WithOptions};

use crate::App;
use crate::guard::AxumGuardLayer;
use crate::handlers::Handlers;
use crate::leaf::Leaf;

/// A router that records the method, template, access and options of each route, and builds an axum `Router` whose every
/// endpoint is guarded.
///
/// A route that does not say who may call it cannot be written. Mistakes (a template that stands twice, one that can
/// match no request) are told all at once when the stack is put around it.
///
/// ```
/// use portcullis_axum::{get, Guarded};
/// use portcullis_core::{authenticated, public, require};
///
/// let api: Guarded<(), _> = Guarded::new()
///     .route("/books/{id}", get(|| async { "a book" }), public())
///     .route("/orders", get(|| async { "mine" }).post(|| async { "ordered" }), require("orders:write"))
///     .nest("/legacy", axum::Router::new(), authenticated());
/// ```
///
/// `G` is what the compiler knows about the access of the routes: a stack around a router with routes that are not public
/// does not compile without `AuthorizeLayer`.
pub struct Guarded<S = (), G = Open> {
    routes: Vec<Recorded<S>>,
    errors: Vec<ConfigError>,
    table: OnceLock<Arc<RouteTable>>,
    kind: PhantomData<fn() -> G>,
}

struct Recorded<S> {
    template: String,
    rule: Rule<Restricted>,
    endpoint: Endpoint<S>,
}

enum Endpoint<S> {
    Handlers(Box<Handlers<S>>),
    Nested(Router<S>),
}

impl<S> Guarded<S, Open> {
    /// No routes yet.
    pub fn new() -> Self {
        Self { routes: Vec::new(), errors: Vec::new(), table: OnceLock::new(), kind: PhantomData }
    }
}

impl<S> Default for Guarded<S, Open> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Clone + Send + Sync + 'static, G: Guardedness> Guarded<S, G> {
    /// Adds a route. The template is axum's; `handlers` come from [`get`](crate::get) and its like; `access` says who may
    /// call: [`public`](portcullis_core::public), [`optional`](portcullis_core::optional),
    /// [`authenticated`](portcullis_core::authenticated), [`require`](portcullis_core::require) or
    /// [`policy`](portcullis_core::policy). OPTIONS is answered for every path, with what is allowed there.
    ///
    /// A rule with a [`body_limit`](portcullis_core::RouteExt::body_limit) also sets the limit that axum's extractors have.
    ///
    /// The type of the router changes with the access. Code that adds routes in a loop begins with
    /// [`restricted`](Self::restricted).
    #[must_use]
    pub fn route<A: Guardedness>(
        mut self,
        template: &str,
        handlers: impl Into<Handlers<S>>,
        access: Rule<A>,
    ) -> Guarded<S, G::With<A>> {
        let handlers = handlers.into();
        if let Some(method) = &handlers.doubled {
            let message = format!("{method} is said twice, or besides `any`; give it one handler");
            self.errors.push(ConfigError::new(format!("route `{template}`"), message));
        }
        self.record(template, access, Endpoint::Handlers(Box::new(handlers)))
    }

    /// Adds a whole existing router below `prefix`, with one access for all of it. Inside, the prefix is cut off the path,
    /// as in `Router::nest`. The prefix has no parameters.
    ///
    /// What the router does not know is answered by axum or by the router's own fallback, and is no problem document. In
    /// logs and metrics all of it is the route `/prefix/{*rest}`. A path that moves out of the router gets a route of its
    /// own beside it, which wins with all its methods; take the path out of the router then.
    #[must_use]
    pub fn nest<A: Guardedness>(
        mut self,
        prefix: &str,
        router: Router<S>,
        access: Rule<A>,
    ) -> Guarded<S, G::With<A>> {
        if !prefix.starts_with('/') || prefix.ends_with('/') || prefix.contains(['{', '*']) {
            let message = "a prefix begins with `/`, does not end with one, and has no parameters";
            self.errors.push(ConfigError::new(format!("nest `{prefix}`"), message));
        }
        self.record(prefix, access, Endpoint::Nested(router))
    }

    fn record<A: Guardedness>(
        mut self,
        template: &str,
        rule: Rule<A>,
        endpoint: Endpoint<S>,
    ) -> Guarded<S, G::With<A>> {
        self.routes.push(Recorded {
            template: template.to_owned(),
            rule: rule.restricted(),
            endpoint,
        });
        self.of_kind()
    }

    /// Treats the router as one that must be enforced, for code that adds routes in a loop.
    #[must_use]
    pub fn restricted(self) -> Guarded<S, Restricted> {
        self.of_kind()
    }

    fn of_kind<K>(self) -> Guarded<S, K> {
        // What was frozen before a route came is not this router's table any more.
        Guarded {
            routes: self.routes,
            errors: self.errors,
            table: OnceLock::new(),
            kind: PhantomData,
        }
    }

    /// Gives the handlers their state.
    #[must_use]
    pub fn with_state<S2>(self, state: S) -> Guarded<S2, G> {
        let give = |recorded: Recorded<S>| Recorded {
            template: recorded.template,
            rule: recorded.rule,
            endpoint: match recorded.endpoint {
                Endpoint::Handlers(handlers) => {
                    Endpoint::Handlers(Box::new(handlers.with_state(state.clone())))
                }
                Endpoint::Nested(router) => Endpoint::Nested(router.with_state(state.clone())),
            },
        };
        let routes = self.routes.into_iter().map(give).collect();
        Guarded { routes, errors: self.errors, table: self.table, kind: PhantomData }
    }

    /// The layer that finds the routes of this router: the stage `Route` of its stack. Take it when all routes are added.
    pub fn route_layer(&self) -> RouteLayer<G> {
        RouteLayer::new(Arc::clone(self.frozen()))
    }

    fn frozen(&self) -> &Arc<RouteTable> {
        self.table.get_or_init(|| {
            let mut table = TableBuilder::new(CatchAll::NotEmpty);
            let overlaps = self.overlaps().chain(self.below_nests());
            self.errors.iter().cloned().chain(overlaps).for_each(|error| table.error(error));
            for Recorded { template, rule, endpoint } in &self.routes {
                match endpoint {
                    Endpoint::Handlers(handlers) => {
                        table.add(template, handlers.methods.clone(), rule.clone());
                    }
                    Endpoint::Nested(_) => {
                        let (slash, rest) =
                            (format!("{template}/"), format!("{template}/{{*rest}}"));
                        table.add_all(
                            &[template, &slash, &rest],
                            &rest,
                            Methods::Any,
                            rule.clone(),
                        );
                    }
                }
            }
            table.build()
        })
    }

    /// Templates that stand again beside handlers for every method: axum cannot merge those.
    fn overlaps(&self) -> impl Iterator<Item = ConfigError> {
        let handlers = |recorded: &'_ Recorded<S>| match &recorded.endpoint {
            Endpoint::Handlers(handlers) => {
                Some((recorded.template.clone(), handlers.methods == Methods::Any))
            }
            Endpoint::Nested(_) => None,
        };
        let (mut seen, mut any) = (HashSet::new(), HashSet::new());
        self.routes.iter().filter_map(handlers).filter_map(move |(template, for_any)| {
            let again = !seen.insert(template.clone());
            let beside_any = any.contains(&template);
            if for_any {
                any.insert(template.clone());
            }
            (again && (for_any || beside_any)).then(|| {
                let message = "it stands twice, once with handlers for every method; use this crate's `get`, `post`, …";
                ConfigError::new(format!("route `{template}`"), message)
            })
        })
    }

    /// What stands below the prefix of a nested router and is no path of its own there: which of the two gets a request
    /// would be axum's choice, and not the table's.
    fn below_nests(&self) -> impl Iterator<Item = ConfigError> {
        let nests =
            self.routes.iter().filter(|recorded| matches!(recorded.endpoint, Endpoint::Nested(_)));
        let pairs = nests.flat_map(|nest| self.routes.iter().map(move |other| (nest, other)));
        pairs.filter_map(|(nest, other)| {
            let below = other.template.strip_prefix(&nest.template)?.strip_prefix('/')?;
            let nested = matches!(other.endpoint, Endpoint::Nested(_));
            (nested || below.contains('{')).then(|| {
                let message = format!(
                    "it lies below `{}`, where a router is nested, and both could match the same paths: put it into that \
                     router, or give it another prefix",
                    nest.template
                );
                ConfigError::new(format!("route `{}`", other.template), message)
            })
        })
    }

    /// The router, with a guard on every endpoint. Assembled by hand, it refuses whatever nobody has decided about.
    ///
    /// # Errors
    /// Everything that is wrong with the routes, all of it at once.
    pub fn into_router(self) -> Result<Router<S>, ConfigErrors> {
        let table = Arc::clone(self.frozen());
        table.errors().clone().or(())?;
        let mut router = Router::new();
        for (recorded, route) in self.routes.into_iter().zip(table.routes()) {
            let place = format!("route `{route}`");
            // axum panics on routes that overlap inside a nested router, which cannot be looked into.
            let mounted = catch_unwind(AssertUnwindSafe(|| recorded.mount(router, route)));
            router = mounted.map_err(|payload| {
                let said =
                    payload.downcast::<String>().map_or_else(|_| String::new(), |said| *said);
                ConfigError::new(place, format!("axum cannot add it: {said}"))
            })?;
        }
        Ok(router)
    }
}

impl<S: Clone + Send + Sync + 'static> Recorded<S> {
    fn mount(self, router: Router<S>, route: Route) -> Router<S> {
        // axum's extractors have a limit of their own, which would hold where the route says more.
        let max_body = self.rule.option::<MaxBody>().map(|limit| {
            DefaultBodyLimit::max(usize::try_from(limit.bytes()).unwrap_or(usize::MAX))
        });
        let guard = GuardLayer::route(route);
        match self.endpoint {
            Endpoint::Handlers(handlers) => {
                let mut methods = handlers.router;
                if let Some(max_body) = max_body {
                    methods = methods.layer(max_body);
                }
                router.route(&self.template, methods.layer(AxumGuardLayer::new(guard)))
            }
            Endpoint::Nested(mut nested) => {
                if let Some(max_body) = max_body {
                    nested = nested.layer(max_body);
                }
                let guard = AxumGuardLayer::new(guard.behind_prefix(self.template.as_str()));
                router.nest(&self.template, nested.layer(guard))
            }
        }
    }
}

impl<G: Guardedness> Endpoints for Guarded<(), G> {
    type Leaf = Leaf;
    type Front<S> = App<S>;
    fn table(&self) -> &Arc<RouteTable> {
        self.frozen()
    }
    fn into_leaf(self) -> Result<Leaf, ConfigErrors> {
        self.into_router().map(Leaf::new)
    }
    fn front<S>(stacked: S) -> App<S> {
        App::new(stacked)
    }
}

impl<S, G> fmt::Debug for Guarded<S, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self
            .routes
            .iter()
            .map(|recorded| format!("{} ({})", recorded.template, recorded.rule.access()));
        f.debug_list().entries(lines).finish()
    }
}
