//! A table's access, compiled against the roles.
use std::sync::Arc;

use portcullis_core::{ConfigError, Requirement, RouteTable};

use crate::roles::{RoleSet, Roles};

/// For each route of a table, the roles that may call it.
#[derive(Debug)]
pub(crate) struct Compiled {
    table: Arc<RouteTable>,
    granting: Vec<Option<RoleSet>>,
}

impl Compiled {
    pub(crate) fn new(table: &Arc<RouteTable>, roles: &Roles) -> Self {
        let granting = table.routes().map(|route| match route.access().requirement() {
            Requirement::Permission(permission) => Some(roles.granting(permission)),
            _ => None,
        });
        Self { granting: granting.collect(), table: Arc::clone(table) }
    }
    /// The roles that may call the route at `index` of `table`; `None` for another table.
    pub(crate) fn granting(&self, table: &Arc<RouteTable>, index: usize) -> Option<&RoleSet> {
        Arc::ptr_eq(&self.table, table).then(|| self.granting.get(index)?.as_ref())?
    }
}

/// What is wrong with a requirement: a permission that nobody has, a policy that nobody defines.
pub(crate) fn objection(
    roles: &Roles,
    requirement: &Requirement,
    place: &str,
) -> Option<ConfigError> {
    let message = match requirement {
        Requirement::Permission(permission) if roles.granting(permission).is_empty() => {
            format!(
                "no role grants the permission `{permission}`: add it to a role, or correct the name"
            )
        }
        Requirement::Policy(name) => {
            format!("no policy is called `{name}`: `AuthorizeLayer` has no policies yet")
        }
        _ => return None,
    };
    Some(ConfigError::new(place, message))
}
