//! What a stack knows about itself at start.
use std::any::TypeId;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::route::{RouteOption, RouteTable};
use crate::{ConfigError, ConfigErrors};

/// What a stack knows about itself when it starts: the table, and which options its layers read. Each layer sees it
/// through [`Staged::check`](super::Staged::check).
#[derive(Clone, Debug, Default)]
pub struct Plan {
    table: Option<Arc<RouteTable>>,
    /// Set when the stack is finished in front of its router.
    in_front: Option<Arc<AtomicBool>>,
    options: HashMap<TypeId, BTreeSet<Arc<str>>>,
    roles: Vec<(String, String)>,
    errors: ConfigErrors,
}

impl Plan {
    /// The table, for layers behind the route layer.
    pub fn table(&self) -> Option<&Arc<RouteTable>> {
        self.table.as_ref()
    }
    /// Says that requests are routed by `table`, and who wants to know that the stack stands in front of the router.
    pub(crate) fn routes_by(&mut self, table: &Arc<RouteTable>, in_front: &Arc<AtomicBool>) {
        self.in_front = Some(Arc::clone(in_front));
        self.errors.extend(table.errors().clone());
        self.table = Some(Arc::clone(table));
    }
    /// Says that a layer reads the route option `O`, and which of the names in it this layer defines.
    pub fn reads<O: RouteOption>(&mut self, names: impl IntoIterator<Item = Arc<str>>) {
        self.options.entry(TypeId::of::<O>()).or_default().extend(names);
    }
    /// Says that the caller at `place` has this role, so that a layer that knows the roles can tell a misspelled one.
    pub fn mentions_role(&mut self, place: impl Into<String>, role: impl Into<String>) {
        self.roles.push((place.into(), role.into()));
    }
    /// The roles that layers before this one have mentioned, each with its place.
    pub fn mentioned_roles(&self) -> impl Iterator<Item = (&str, &str)> {
        self.roles.iter().map(|(place, role)| (place.as_str(), role.as_str()))
    }
    /// Adds errors. With any, the stack does not start.
    pub fn errors(&mut self, errors: impl IntoIterator<Item = ConfigError>) {
        self.errors.extend(errors);
    }

    /// Says that the stack stands in front of the router, so that nobody has matched the path before.
    pub(super) fn stands_in_front(&self) {
        if let Some(in_front) = &self.in_front {
            in_front.store(true, Ordering::Relaxed);
        }
    }

    /// All that is wrong, now that every layer has spoken.
    pub(super) fn finish(&self) -> ConfigErrors {
        let mut errors = self.errors.clone();
        for route in self.table.iter().flat_map(RouteTable::routes) {
            let place = format!("route `{route}`");
            for (id, option) in route.options().iter() {
                let Some(defined) = self.options.get(&id) else {
                    let name = option.name();
                    let layer = option.read_by();
                    let message = format!(
                        "no layer of the stack reads its `{name}` option: add {layer}, or drop the option"
                    );
                    errors.push(ConfigError::new(&place, message));
                    continue;
                };
                for name in option.names().iter().filter(|name| !defined.contains(*name)) {
                    let known: Vec<_> = defined.iter().map(|name| format!("`{name}`")).collect();
                    let known = if known.is_empty() {
                        "there is none".to_owned()
                    } else {
                        known.join(", ")
                    };
                    let message =
                        format!("no {} is called `{name}` (defined: {known})", option.name());
                    errors.push(ConfigError::new(&place, message));
                }
            }
        }
        errors
    }
}
