//! Which methods a gateway takes beside those that every server knows.
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use http::Method;
use portcullis_cache::Cached;
use portcullis_core::{Methods, RouteTable};
use portcullis_server::Limits;

/// The methods that routes name; and any at all, where a route with a cache takes any: a cache is told of whatever may change what it has stored, also by
/// methods that nobody knows (RFC 9111, section 4.4).
#[derive(Debug)]
pub(crate) struct TakenMethods {
    named: HashSet<Method>,
    any: bool,
}

impl TakenMethods {
    pub(crate) fn of(table: &Arc<RouteTable>) -> Self {
        let mut taken = Self { named: HashSet::new(), any: false };
        for route in table.routes() {
            match route.methods() {
                Methods::These(these) => taken.named.extend(these.iter().cloned()),
                Methods::Any => taken.any |= route.options().get::<Cached>().is_some(),
                _ => {}
            }
        }
        taken.named.retain(|method| !Limits::METHODS.contains(method));
        taken
    }
    /// Whether a route may have a request with this method. CONNECT and TRACE are no requests for a route, whoever names them.
    pub(crate) fn contains(&self, method: &Method) -> bool {
        let is_for_routes = *method != Method::CONNECT && *method != Method::TRACE;
        is_for_routes && (self.any || self.named.contains(method))
    }
    /// Those of a gateway that goes on after another one. Whether any method is taken stays as it was at the start: it would open every route that names none,
    /// and a cache need not be told of what is refused.
    pub(crate) fn continuing(&self, before: &Self) -> Self {
        Self { named: self.named.clone(), any: before.any }
    }
    /// Which methods are named that the others do not name, by their names.
    pub(crate) fn beside(&self, others: &Self) -> BTreeSet<String> {
        self.named.difference(&others.named).map(ToString::to_string).collect()
    }
}
