//! Whether a caller may do something, by their roles.
use std::sync::Arc;

use portcullis_core::Identity;

use super::{Apart, Compiled, RoleError, RoleSet, Roles, Scope, SeparationKind, reach};
use crate::Resource;

/// Whether a caller may do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    /// By this role.
    By(u32),
    /// With some objects: their own, or those of some place.
    WithSome,
    /// No role of theirs permits it.
    No,
}

/// How far a role reaches that somebody has.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach<'a> {
    /// By what the caller is: what belongs to the caller's tenant, or to none.
    Home,
    /// By a binding.
    Bound(&'a Scope),
}

impl Reach<'_> {
    /// Whether it is for a resource.
    fn covers(self, identity: &Identity, resource: &Resource) -> bool {
        match self {
            Self::Home => {
                resource.tenant_name().is_none() || resource.tenant_name() == identity.tenant()
            }
            Self::Bound(Scope::Everywhere) => true,
            Self::Bound(Scope::Tenant(tenant)) => resource.tenant_name() == Some(tenant),
            Self::Bound(Scope::Path(above)) => resource.place().is_some_and(|path| {
                path.strip_prefix(&**above)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }),
        }
    }
    /// Whether it is for whatever a caller can ask for who names no object.
    fn is_general(self, identity: &Identity) -> bool {
        match self {
            Self::Home | Self::Bound(Scope::Everywhere) => true,
            Self::Bound(Scope::Tenant(tenant)) => identity.tenant() == Some(tenant),
            Self::Bound(Scope::Path(_)) => false,
        }
    }
}

impl Compiled {
    /// The roles that a caller has, active or not, and how far each reaches.
    fn held<'a>(&'a self, identity: &Identity) -> impl Iterator<Item = (u32, Reach<'a>)> {
        let bound = self.bound_to(identity.fingerprint());
        let own = identity.roles().filter_map(|role| Some((self.number(role)?, Reach::Home)));
        own.chain(bound.iter().map(|held| (held.role, Reach::Bound(&held.scope))))
    }
    /// Calls `each` with every role that counts for a caller, and how far it reaches, until it says `true`. Says whether it did.
    pub(super) fn any_held<'a>(
        &'a self,
        identity: &Identity,
        each: impl FnMut(u32, Reach<'a>) -> bool,
    ) -> bool {
        if identity.active_roles().is_none() {
            return self.any_together(|| self.held(identity), each);
        }
        let active = || {
            let chosen = identity.active_roles().into_iter().flatten();
            let chosen = chosen.filter_map(|role| self.number(role));
            chosen.flat_map(|role| {
                // A role is active wherever the caller has it, or one that inherits from it.
                let above = self.above.get(role as usize);
                let held = self.held(identity);
                let held = held.filter(move |(had, _)| above.is_some_and(|it| it.has(*had)));
                held.map(move |(_, reach)| (role, reach))
            })
        };
        self.any_together(active, each)
    }
    /// The same of roles that are active together, without those that are kept apart. They are looked at anew for each separation, so that nothing need be written down.
    fn any_together<'a, I: Iterator<Item = (u32, Reach<'a>)>>(
        &self,
        active: impl Fn() -> I,
        mut each: impl FnMut(u32, Reach<'a>) -> bool,
    ) -> bool {
        let is_apart = |role| self.apart.iter().any(|it| it.touches(role) && it.is_broken(&active));
        active().any(|(role, reach)| !is_apart(role) && each(role, reach))
    }
}

impl Apart {
    fn touches(&self, role: u32) -> bool {
        self.members.iter().any(|member| member.has(role))
    }
    fn is_broken<'a, I: Iterator<Item = (u32, Reach<'a>)>>(&self, active: &impl Fn() -> I) -> bool {
        let has = |member: &&RoleSet| active().any(|(role, _)| member.has(role));
        self.members.iter().filter(has).count() >= self.too_many
    }
}

impl Roles {
    /// Whether a caller may do something, without a look at any object.
    pub(crate) fn granted(&self, identity: &Identity, permission: &str) -> Granted {
        let mut some = false;
        let mut by = None;
        let mut look = |grants: &super::Grants| {
            self.0.any_held(identity, |role, reach| {
                let general = reach.is_general(identity);
                if general && grants.all.has(role) {
                    by = Some(role);
                    return true;
                }
                some = some || grants.all.has(role) || grants.own.has(role);
                false
            })
        };
        self.0.any(permission, &mut look);
        match by {
            Some(role) => Granted::By(role),
            None if some => Granted::WithSome,
            None => Granted::No,
        }
    }
    /// Whether a caller may do something with an object.
    pub(crate) fn granted_on(
        &self,
        identity: &Identity,
        permission: &str,
        resource: &Resource,
    ) -> Option<u32> {
        let is_own = resource.is_owned_by(identity);
        let mut by = None;
        self.0.any(permission, |grants| {
            self.0.any_held(identity, |role, reach| {
                let has = grants.all.has(role) || (is_own && grants.own.has(role));
                let may = has && reach.covers(identity, resource);
                if may {
                    by = Some(role);
                }
                may
            })
        });
        by
    }
    /// What a caller may do something with: calls `each` with how far it reaches, and whether that is for their own objects alone.
    pub(crate) fn reaches<'a>(
        &'a self,
        identity: &Identity,
        permission: &str,
        mut each: impl FnMut(Reach<'a>, bool),
    ) {
        self.0.any(permission, |grants| {
            self.0.any_held(identity, |role, reach| {
                if grants.all.has(role) {
                    each(reach, false);
                } else if grants.own.has(role) {
                    each(reach, true);
                }
                false
            })
        });
    }
    pub(crate) fn name_of(&self, role: u32) -> &str {
        self.0.names.get(role as usize).map_or("", |name| name)
    }

    /// The caller with these roles active and no others: what a session of theirs is that activates a subset of their roles (INCITS 359,
    /// `CreateSession` and `AddActiveRole`). A role that one of theirs inherits from can be activated too. Log the caller in anew with it.
    ///
    /// ```
    /// use portcullis_authz::Roles;
    /// use portcullis_core::Identity;
    /// let roles = Roles::builder()
    ///     .role("cashier").role("auditor").separates_dynamically("till", &["cashier", "auditor"], 2)
    ///     .build()?;
    /// let ada = Identity::builder("https://id.example", "ada").roles(["cashier", "auditor"]).build();
    /// assert!(roles.activate(&ada, ["cashier", "auditor"]).is_err());
    /// let at_the_till = roles.activate(&ada, ["cashier"])?;
    /// assert_eq!(at_the_till.active_roles().unwrap().len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The caller does not have a role, or dynamic separation of duty keeps some of them apart.
    pub fn activate<R: Into<Arc<str>>>(
        &self,
        identity: &Identity,
        roles: impl IntoIterator<Item = R>,
    ) -> Result<Identity, RoleError> {
        let roles: Vec<Arc<str>> = roles.into_iter().map(Into::into).collect();
        let held = reach(&self.0.juniors, self.numbers_of(identity));
        let mut numbers = Vec::new();
        for role in &roles {
            let number = self.0.number(role).filter(|number| held.contains(number));
            numbers.push(number.ok_or_else(|| RoleError::NotHeld(Arc::clone(role)))?);
        }
        let active = reach(&self.0.juniors, numbers);
        for (name, separation) in &self.0.model.separations {
            let is_active = |role: &&Arc<str>| {
                self.0.number(role).is_some_and(|number| active.contains(&number))
            };
            let too_many: Vec<_> = separation.roles.iter().filter(is_active).cloned().collect();
            // What is static counts too: nobody should have had them.
            if too_many.len() >= separation.too_many {
                let who = match separation.kind {
                    SeparationKind::Static => identity.key().to_string(),
                    SeparationKind::Dynamic => "a session".to_owned(),
                };
                return Err(RoleError::Separated {
                    separation: Arc::clone(name),
                    who,
                    roles: too_many,
                });
            }
        }
        Ok(identity.to_builder().active_roles(roles).build())
    }
}
