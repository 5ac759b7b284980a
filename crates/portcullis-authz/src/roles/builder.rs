//! Roles, written in code.
use std::collections::BTreeSet;
use std::sync::Arc;

use portcullis_core::{ConfigError, ConfigErrors};

use super::model::{is_name, is_permission};
use super::{RoleDefinition, RoleError, RoleModel, Roles, Separation, SeparationKind};

/// Builds [`Roles`]: `role` begins a role, `permits` and `inherits` say what it can do.
#[derive(Clone, Debug, Default)]
#[must_use = "roles are made by `build`"]
pub struct RolesBuilder {
    model: RoleModel,
    current: Option<Arc<str>>,
    errors: ConfigErrors,
}

impl RolesBuilder {
    /// Begins a role.
    pub fn role(mut self, name: &str) -> Self {
        if name.is_empty() {
            self.errors.push(ConfigError::new(place(name), "a role needs a name"));
        } else if !is_name(name) {
            let message = "it is no name of a role: a word without spaces, commas and brackets";
            self.errors.push(ConfigError::new(place(name), message));
        }
        let name: Arc<str> = name.into();
        if self.model.roles.insert(Arc::clone(&name), RoleDefinition::default()).is_some() {
            self.errors.push(ConfigError::new(
                place(&name),
                "the role stands twice; put all it permits in one place",
            ));
        }
        self.current = Some(name);
        self
    }
    /// What the role permits: a name, `noun:*`, `*:verb`, or `*`.
    pub fn permits(self, permission: &str) -> Self {
        self.add("permits", permission, |role| &mut role.permissions)
    }
    /// What the role permits with objects of the caller's own: those whose [owner](crate::Resource::owner) is the caller.
    pub fn permits_own(self, permission: &str) -> Self {
        self.add("permits_own", permission, |role| &mut role.own)
    }
    fn add(
        mut self,
        word: &str,
        permission: &str,
        list: impl FnOnce(&mut RoleDefinition) -> &mut BTreeSet<Arc<str>>,
    ) -> Self {
        let role = self.current.as_ref().and_then(|name| self.model.roles.get_mut(name));
        match (role, &self.current) {
            (Some(role), _) if is_permission(permission) => {
                _ = list(role).insert(permission.into());
            }
            (Some(_), Some(name)) => {
                let message = format!(
                    "`{permission}` is no permission: write a name, `noun:*`, `*:verb`, or `*`"
                );
                self.errors.push(ConfigError::new(place(name), message));
            }
            _ => self.before_role(word),
        }
        self
    }
    /// Which role it inherits from.
    pub fn inherits(mut self, junior: &str) -> Self {
        match self.current.as_ref().and_then(|name| self.model.roles.get_mut(name)) {
            Some(role) => _ = role.inherits.insert(junior.into()),
            None => self.before_role("inherits"),
        }
        self
    }
    /// Keeps roles apart (static separation of duty): nobody may have `too_many` of them, inherited ones included. Whoever has them all the same,
    /// because their token says so, can use none of them.
    pub fn separates_statically(self, name: &str, roles: &[&str], too_many: usize) -> Self {
        self.separates(name, roles, too_many, SeparationKind::Static)
    }
    /// Keeps roles apart in use (dynamic separation of duty): nobody may have `too_many` of them active at once, inherited ones included.
    /// Whoever has them and has not [activated](Roles::activate) fewer can use none of them.
    pub fn separates_dynamically(self, name: &str, roles: &[&str], too_many: usize) -> Self {
        self.separates(name, roles, too_many, SeparationKind::Dynamic)
    }
    /// A role inherits from one other at most: the limited hierarchy of INCITS 359. Default: from any number.
    pub fn limited(mut self) -> Self {
        self.model = self.model.limited();
        self
    }
    fn separates(
        mut self,
        name: &str,
        roles: &[&str],
        too_many: usize,
        kind: SeparationKind,
    ) -> Self {
        let roles = roles.iter().map(|role| Arc::from(*role)).collect();
        let separation = Separation { roles, too_many, kind };
        if self.model.separations.insert(name.into(), separation).is_some() {
            let place = format!("separation `{name}`");
            self.errors.push(ConfigError::new(place, "it stands twice"));
        }
        self
    }
    fn before_role(&mut self, word: &str) {
        self.errors
            .push(ConfigError::new("roles", format!("`{word}` stands before the first `role`")));
    }
    /// Follows the inheritance.
    ///
    /// # Errors
    /// A role that stands twice, inherits from one that is not defined, or from itself in the end; a separation that separates nothing, or roles that
    /// one role has together; all of it at once.
    pub fn build(self) -> Result<Roles, ConfigErrors> {
        let Self { model, mut errors, .. } = self;
        for (name, role) in &model.roles {
            for junior in role.inherits.iter().filter(|it| !model.roles.contains_key(*it)) {
                let message = format!("it inherits from `{junior}`, which is not defined");
                errors.push(ConfigError::new(place(name), message));
            }
        }
        for (name, separation) in &model.separations {
            for role in separation.roles.iter().filter(|it| !model.roles.contains_key(*it)) {
                let message = format!("it keeps `{role}` apart, which is not defined");
                errors.push(ConfigError::new(format!("separation `{name}`"), message));
            }
        }
        if model.circle().is_some() {
            for name in model.in_circles() {
                let message = "it inherits from itself; break the circle";
                errors.push(ConfigError::new(place(name), message));
            }
        }
        // What is wrong was told where it stands.
        if errors.is_empty()
            && let Err(error) = model.check()
        {
            let place = match &error {
                RoleError::Separated { separation, .. } => format!("separation `{separation}`"),
                RoleError::Limited(role) => place(role),
                _ => "roles".to_owned(),
            };
            errors.push(ConfigError::new(place, error.to_string()));
        }
        let roles = Roles::try_from(model).unwrap_or_default();
        errors.or(roles)
    }
}

fn place(role: &str) -> String {
    format!("role `{role}`")
}
