//! Routes: what they ask for, how a request finds its own, and the guard in front of the endpoint.
use std::fmt;
use std::sync::Arc;

mod access;
mod dispatch;
mod example;
mod front;
mod guard;
mod layer;
mod matching;
mod options;
mod routes;
mod rule;
mod table;
#[cfg(test)]
mod tests;

pub use access::{Access, Requirement, StepUp, is_scope};
pub use dispatch::{Dispatch, DispatchFuture};
pub use example::Example;
pub use front::{MaxBody, OnlyFrom, RouteExt, Streaming, TimeLimit};
pub use guard::{Guard, GuardFuture, GuardLayer, adopt_problem};
pub use layer::{RouteLayer, RouteService};
pub(crate) use matching::Asked;
pub use matching::RouteMatch;
pub use options::{RouteOption, RouteOptions, WithOptions};
pub use routes::{RouteDraft, Routes, RoutesBuilder};
pub use rule::{
    Guardedness, Open, Restricted, Rule, authenticated, optional, policy, public, require,
};
pub(crate) use table::Found;
pub use table::{CatchAll, Methods, RouteTable, TableBuilder};

use table::Entry;

/// One route of one table. Cheap to clone; equal only to itself.
#[derive(Clone)]
pub struct Route {
    table: Arc<RouteTable>,
    index: usize,
}

impl Route {
    /// Invariant: `index` is one of the table's.
    fn new(table: Arc<RouteTable>, index: usize) -> Self {
        Self { table, index }
    }
    fn entry(&self) -> &Entry {
        #[expect(
            clippy::indexing_slicing,
            reason = "a route is only made for an index of its table"
        )]
        &self.table.entries[self.index]
    }
    /// The table.
    pub fn table(&self) -> &Arc<RouteTable> {
        &self.table
    }
    /// Which route of the table it is.
    pub fn index(&self) -> usize {
        self.index
    }
    /// Its name, where it has one.
    pub fn name(&self) -> Option<&str> {
        self.entry().name.as_deref()
    }
    /// Its path template, such as `/books/{id}`: for logs and metrics too.
    pub fn template(&self) -> &str {
        &self.entry().template
    }
    /// Its methods.
    pub fn methods(&self) -> &Methods {
        &self.entry().methods
    }
    /// What it asks of a request beside path and method.
    pub fn matching(&self) -> &RouteMatch {
        &self.entry().matching
    }
    /// What it asks of the caller.
    pub fn access(&self) -> &Access {
        &self.entry().access
    }
    /// What the layers want to know about it.
    pub fn options(&self) -> &RouteOptions {
        &self.entry().options
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && Arc::ptr_eq(&self.table, &other.table)
    }
}

impl Eq for Route {}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.methods(), self.template())
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({self}, {})", self.access())
    }
}
