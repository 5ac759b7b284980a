//! Whether a caller may do something, by their roles.
use std::collections::BTreeSet;
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
            Self::Home => resource.is_at_home_in(identity.tenant()),
            Self::Bound(Scope::Everywhere) => true,
            Self::Bound(Scope::Tenant(tenant)) => resource.tenant_name() == Some(tenant),
            Self::Bound(Scope::Path(above)) => resource.is_at(above),
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
    /// The roles that a caller has active, and how far each reaches: all that they have, unless they have chosen some.
    fn active<'a>(&'a self, identity: &Identity) -> impl Iterator<Item = (u32, Reach<'a>)> {
        let chosen = identity.active_roles();
        let all = chosen.is_none().then(|| self.held(identity)).into_iter().flatten();
        let chosen = chosen.into_iter().flatten().filter_map(|role| self.number(role));
        let chosen = chosen.flat_map(move |role| {
            // A role is active wherever the caller has it, or one that inherits from it.
            let above = self.above.get(role as usize);
            let held = self.held(identity);
            let held = held.filter(move |(had, _)| above.is_some_and(|it| it.has(*had)));
            held.map(move |(_, reach)| (role, reach))
        });
        all.chain(chosen)
    }
    /// Calls `each` with every role that counts for a caller, and how far it reaches, until it says `true`. Says whether it did.
    pub(super) fn any_held<'a>(
        &'a self,
        identity: &Identity,
        mut each: impl FnMut(u32, Reach<'a>) -> bool,
    ) -> bool {
        // Found out once, in one word, so that nothing need be allocated; separations beyond the 64th are looked at anew for each role.
        let broken = self
            .apart
            .iter()
            .take(64)
            .rev()
            .fold(0_u64, |broken, it| broken << 1 | u64::from(it.is_broken(self, identity)));
        let is_broken = |at: usize, it: &Apart| match at {
            0..64 => broken >> at & 1 == 1,
            _ => it.is_broken(self, identity),
        };
        let counts = |role: u32| {
            let mut all = self.apart.iter().enumerate();
            !all.any(|(at, it)| it.touches(role) && is_broken(at, it))
        };
        let mut told = |(role, reach)| counts(role) && each(role, reach);
        // Nearly nobody has chosen some, and without a choice the way is half as long.
        if identity.active_roles().is_none() {
            return self.held(identity).any(told);
        }
        self.active(identity).any(&mut told)
    }
}

impl Apart {
    fn touches(&self, role: u32) -> bool {
        self.members.iter().any(|member| member.has(role))
    }
    /// Whether a caller has too many of them: has them at all, or has them active.
    fn is_broken(&self, roles: &Compiled, identity: &Identity) -> bool {
        let has = |member: &&RoleSet| match self.kind {
            SeparationKind::Static => roles.held(identity).any(|(role, _)| member.has(role)),
            SeparationKind::Dynamic => roles.active(identity).any(|(role, _)| member.has(role)),
        };
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
    /// Whether a caller has roles that do not count, since they are kept apart.
    pub(crate) fn keeps_apart(&self, identity: &Identity) -> bool {
        self.0.apart.iter().any(|it| it.is_broken(&self.0, identity))
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
    /// The names of the roles that count for a caller wherever no object is named, inherited ones too. Names that nobody has defined are among them, since
    /// a policy may know them.
    pub(crate) fn counting(&self, identity: &Identity) -> BTreeSet<String> {
        let mut numbers = Vec::new();
        self.0.any_held(identity, |role, reach| {
            if reach.is_general(identity) {
                numbers.push(role);
            }
            false
        });
        let known = reach(&self.0.juniors, numbers);
        let known = known.into_iter().map(|role| self.name_of(role).to_owned());
        let is_active = |role: &&str| {
            identity.active_roles().is_none_or(|mut active| active.any(|it| it == *role))
        };
        let unknown = identity.roles().filter(|role| self.0.number(role).is_none());
        known.chain(unknown.filter(is_active).map(str::to_owned)).collect()
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
    /// The caller does not have a role, or dynamic separation of duty keeps some of them apart; or the caller has roles that static separation keeps apart.
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
            // Of what is static, to have them is too much already.
            let counted = match separation.kind {
                SeparationKind::Static => &held,
                SeparationKind::Dynamic => &active,
            };
            let is_counted = |role: &&Arc<str>| {
                self.0.number(role).is_some_and(|number| counted.contains(&number))
            };
            let too_many: Vec<_> = separation.roles.iter().filter(is_counted).cloned().collect();
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
