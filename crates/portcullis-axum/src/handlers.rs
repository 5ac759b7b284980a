//! axum's method routers with a memory.
use std::convert::Infallible;
use std::fmt;

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};
use http::Method;
use portcullis_core::Methods;

/// Handlers for one path, and the methods that they answer.
///
/// Made by [`get`] and its like, which take what their namesakes in `axum::routing` take. An axum `MethodRouter` becomes
/// one too; since it does not tell its methods, it counts as one for every method.
#[must_use = "handlers do nothing until a route has them"]
pub struct Handlers<S = ()> {
    pub(crate) methods: Methods,
    pub(crate) router: MethodRouter<S>,
    /// A method that was given two handlers: a mistake that the route tells.
    pub(crate) doubled: Option<Method>,
}

impl<S> fmt::Debug for Handlers<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handlers").field(&self.methods).finish()
    }
}

impl<S> Clone for Handlers<S> {
    fn clone(&self) -> Self {
        Self {
            methods: self.methods.clone(),
            router: self.router.clone(),
            doubled: self.doubled.clone(),
        }
    }
}

impl<S> From<MethodRouter<S>> for Handlers<S> {
    fn from(router: MethodRouter<S>) -> Self {
        Self { methods: Methods::Any, router, doubled: None }
    }
}

impl<S: Clone + Send + Sync + 'static> Handlers<S> {
    fn of(method: Method, router: MethodRouter<S>) -> Self {
        Self { methods: method.into(), router, doubled: None }
    }
    /// Adds a method, unless it is there already: axum panics on that, we tell it when the table is checked.
    fn add(self, method: Method, add: impl FnOnce(MethodRouter<S>) -> MethodRouter<S>) -> Self {
        let Self { methods, router, doubled } = self;
        match methods {
            Methods::These(mut these) if !these.contains(&method) => {
                these.push(method);
                Self { methods: Methods::These(these), router: add(router), doubled }
            }
            methods => Self { methods, router, doubled: Some(method) },
        }
    }
    pub(crate) fn with_state<S2>(self, state: S) -> Handlers<S2> {
        Handlers {
            methods: self.methods,
            router: self.router.with_state(state),
            doubled: self.doubled,
        }
    }
}

macro_rules! methods {
    ($($name:ident $method:ident $what:literal;)+) => {
        $(
            #[doc = concat!("A handler for ", $what, ".")]
            pub fn $name<H, T, S>(handler: H) -> Handlers<S>
            where
                H: Handler<T, S>,
                T: 'static,
                S: Clone + Send + Sync + 'static,
            {
                Handlers::of(Method::$method, routing::$name::<H, T, S>(handler))
            }
        )+
        impl<S: Clone + Send + Sync + 'static> Handlers<S> {
            $(
                #[doc = concat!("Adds a handler for ", $what, ".")]
                pub fn $name<H, T>(self, handler: H) -> Self
                where
                    H: Handler<T, S>,
                    T: 'static,
                {
                    self.add(Method::$method, |router: MethodRouter<S, Infallible>| router.$name(handler))
                }
            )+
        }
    };
}

methods! {
    get GET "GET, and HEAD unless that has its own";
    head HEAD "HEAD";
    post POST "POST";
    put PUT "PUT";
    patch PATCH "PATCH";
    delete DELETE "DELETE";
    options OPTIONS "OPTIONS";
}

/// A handler for every method.
pub fn any<H, T, S>(handler: H) -> Handlers<S>
where
    H: Handler<T, S>,
    T: 'static,
    S: Clone + Send + Sync + 'static,
{
    routing::any(handler).into()
}
