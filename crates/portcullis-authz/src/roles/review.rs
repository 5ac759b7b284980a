//! Who has what: the review functions of INCITS 359.
use std::collections::BTreeSet;

use portcullis_core::{Identity, IdentityKey};

use super::{Roles, reach};

impl Roles {
    /// Who has been given this role by a binding (`AssignedUsers`).
    pub fn assigned_users(&self, role: &str) -> impl Iterator<Item = IdentityKey<'_>> {
        let bindings = self.model().bindings().filter(move |binding| binding.role() == role);
        bindings.map(super::Binding::key).collect::<BTreeSet<_>>().into_iter()
    }
    /// Who has this role by a binding, also because a role of theirs inherits from it (`AuthorizedUsers`).
    pub fn authorized_users(&self, role: &str) -> impl Iterator<Item = IdentityKey<'_>> {
        let seniors = self.0.number(role).map(|role| reach(&self.0.seniors, [role]));
        let seniors = seniors.unwrap_or_default();
        let has = |role: &str| self.0.number(role).is_some_and(|role| seniors.contains(&role));
        let bindings = self.model().bindings().filter(|binding| has(binding.role()));
        bindings.map(super::Binding::key).collect::<BTreeSet<_>>().into_iter()
    }
    /// The roles that a caller has been given by bindings (`AssignedRoles`).
    pub fn assigned_roles(&self, key: IdentityKey<'_>) -> BTreeSet<&str> {
        self.held_by_key(key).into_iter().map(|role| self.name_of(role)).collect()
    }
    /// The roles that a caller has by bindings, inherited ones too (`AuthorizedRoles`).
    pub fn authorized_roles(&self, key: IdentityKey<'_>) -> BTreeSet<&str> {
        let all = reach(&self.0.juniors, self.held_by_key(key));
        all.into_iter().map(|role| self.name_of(role)).collect()
    }
    /// What a role permits with all objects, inherited permissions too, as it is written (`RolePermissions`).
    pub fn role_permissions(&self, role: &str) -> BTreeSet<&str> {
        let number = self.0.number(role);
        let all = number.map(|role| reach(&self.0.juniors, [role])).unwrap_or_default();
        self.permissions_of(all)
    }
    /// What a caller may do by bindings, anywhere, as it is written (`UserPermissions`).
    pub fn user_permissions(&self, key: IdentityKey<'_>) -> BTreeSet<&str> {
        self.permissions_of(reach(&self.0.juniors, self.held_by_key(key)))
    }
    /// The roles that count for a caller in this request: those of the token and of bindings that are active, without inherited ones and
    /// without those that are kept apart (`SessionRoles`).
    pub fn session_roles(&self, identity: &Identity) -> BTreeSet<&str> {
        let mut roles = BTreeSet::new();
        self.0.any_held(identity, |role, _| {
            roles.insert(self.name_of(role));
            false
        });
        roles
    }
    /// What a caller may do in this request, anywhere, as it is written (`SessionPermissions`).
    pub fn session_permissions(&self, identity: &Identity) -> BTreeSet<&str> {
        let roles = self.session_roles(identity);
        let roles = roles.into_iter().filter_map(|role| self.0.number(role));
        self.permissions_of(reach(&self.0.juniors, roles))
    }
    fn permissions_of(&self, roles: Vec<u32>) -> BTreeSet<&str> {
        let names = roles.into_iter().map(|role| self.name_of(role));
        let roles = names.filter_map(|name| self.model().roles.get(name));
        roles.flat_map(|role| &role.permissions).map(|permission| &**permission).collect()
    }
}
