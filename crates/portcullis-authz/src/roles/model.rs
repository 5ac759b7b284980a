//! Roles as they are written: what each permits, inherits, excludes, and who has it. After INCITS 359 (the NIST model of roles).
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::sync::Arc;

use portcullis_core::IdentityKey;
use serde::{Deserialize, Serialize};

use super::Table;

/// Roles as they are written, before they are compiled into [`Roles`](crate::Roles): what a store keeps, and what administration changes.
///
/// Every change is checked as a whole: one that is refused changes nothing.
///
/// ```
/// use portcullis_authz::{Binding, RoleEdit, RoleModel};
/// let mut model = RoleModel::default();
/// model.apply(&RoleEdit::add_role("requester"))?;
/// model.apply(&RoleEdit::add_role("approver"))?;
/// model.apply(&RoleEdit::permit("approver", "invoices:approve"))?;
/// model.apply(&RoleEdit::separate_statically("invoices", ["requester", "approver"], 2))?;
/// let ada = || Binding::of("https://id.example", None, "ada", "requester");
/// model.apply(&RoleEdit::Assign(ada()))?;
/// // Nobody asks for money and grants it.
/// let refused = model.apply(&RoleEdit::Assign(ada().to_role("approver")));
/// assert!(refused.unwrap_err().to_string().contains("invoices"));
/// # Ok::<(), portcullis_authz::RoleError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleModel {
    pub(crate) roles: BTreeMap<Arc<str>, RoleDefinition>,
    pub(crate) separations: BTreeMap<Arc<str>, Separation>,
    pub(crate) bindings: BTreeSet<Binding>,
    pub(crate) is_limited: bool,
}

/// What a role is, beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct RoleDefinition {
    /// What it permits: names, `noun:*`, `*:verb`, or `*`.
    pub permissions: BTreeSet<Arc<str>>,
    /// What it permits with objects of the caller's own alone.
    pub own: BTreeSet<Arc<str>>,
    /// The roles whose permissions it has too.
    pub inherits: BTreeSet<Arc<str>>,
}

/// Roles of which nobody may have, or use at once, more than a few.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Separation {
    /// The roles.
    pub roles: BTreeSet<Arc<str>>,
    /// How many of them are too many: 2 or more.
    pub too_many: usize,
    /// When it counts.
    pub kind: SeparationKind,
}

/// When a [`Separation`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum SeparationKind {
    /// Nobody may have so many, inherited ones included: static separation of duty.
    Static,
    /// Nobody may have so many active in one session, inherited ones included: dynamic separation of duty.
    Dynamic,
}

/// That somebody has a role, everywhere or somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Binding {
    pub(crate) issuer: Arc<str>,
    pub(crate) tenant: Option<Arc<str>>,
    pub(crate) subject: Arc<str>,
    pub(crate) role: Arc<str>,
    pub(crate) scope: Scope,
}

/// Where somebody has a role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scope {
    /// With everything, of whatever tenant.
    #[default]
    Everywhere,
    /// With what belongs to this tenant.
    Tenant(Arc<str>),
    /// With the object at this path, and with all below it: `/acme/projects/7` is also for `/acme/projects/7/plans`.
    Path(Arc<str>),
}

impl Scope {
    /// The scope as a word and a text, for stores: `everywhere`, `tenant`, `path`.
    pub fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Everywhere => ("everywhere", ""),
            Self::Tenant(tenant) => ("tenant", tenant),
            Self::Path(path) => ("path", path),
        }
    }
    /// The scope that a store has kept; `None` where it is none.
    pub fn from_parts(word: &str, text: &str) -> Option<Self> {
        match word {
            "everywhere" => Some(Self::Everywhere),
            "tenant" => Some(Self::Tenant(text.into())),
            "path" => Some(Self::Path(text.into())),
            _ => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everywhere => f.write_str("everywhere"),
            Self::Tenant(tenant) => write!(f, "in tenant {tenant}"),
            Self::Path(path) => write!(f, "at {path}"),
        }
    }
}

impl Binding {
    /// That the caller of this issuer, tenant and subject has `role`, everywhere: with what belongs to any tenant. The tenant here says who it is; where they
    /// have the role, [`in_tenant`](Self::in_tenant) and [`at`](Self::at) say.
    pub fn of(
        issuer: impl Into<Arc<str>>,
        tenant: Option<&str>,
        subject: impl Into<Arc<str>>,
        role: impl Into<Arc<str>>,
    ) -> Self {
        let (tenant, scope) = (tenant.map(Arc::from), Scope::Everywhere);
        Self { issuer: issuer.into(), tenant, subject: subject.into(), role: role.into(), scope }
    }
    /// That the caller of this key has `role`, everywhere.
    pub fn for_key(key: IdentityKey<'_>, role: impl Into<Arc<str>>) -> Self {
        Self::of(key.issuer, key.tenant, key.subject, role)
    }
    /// The same of another role.
    #[must_use]
    pub fn to_role(self, role: impl Into<Arc<str>>) -> Self {
        Self { role: role.into(), ..self }
    }
    /// The same, but somewhere.
    #[must_use]
    pub fn within(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }
    /// The same, but with what belongs to this tenant.
    #[must_use]
    pub fn in_tenant(self, tenant: impl Into<Arc<str>>) -> Self {
        self.within(Scope::Tenant(tenant.into()))
    }
    /// The same, but with the object at this path, and with all below it.
    #[must_use]
    pub fn at(self, path: impl Into<Arc<str>>) -> Self {
        self.within(Scope::Path(path.into()))
    }
    /// Who has the role.
    pub fn key(&self) -> IdentityKey<'_> {
        let tenant = self.tenant.as_deref();
        IdentityKey { issuer: &self.issuer, tenant, subject: &self.subject }
    }
    /// The role.
    pub fn role(&self) -> &str {
        &self.role
    }
    /// Where they have it.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.key(), self.role, self.scope)
    }
}

/// One change of a [`RoleModel`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoleEdit {
    /// A new role, which permits and inherits nothing.
    AddRole(Arc<str>),
    /// A role is gone, with whatever it permitted, whoever had it, and whoever inherited from it.
    DeleteRole(Arc<str>),
    /// The role permits something.
    Permit {
        /// The role.
        role: Arc<str>,
        /// What it permits.
        permission: Arc<str>,
        /// Whether it permits that with the caller's own objects alone.
        own: bool,
    },
    /// The role no longer permits something, neither with all objects nor with the caller's own.
    Forbid {
        /// The role.
        role: Arc<str>,
        /// What it no longer permits, as it was written.
        permission: Arc<str>,
    },
    /// The first role has what the second one permits.
    Inherit {
        /// Who has it.
        senior: Arc<str>,
        /// From whom.
        junior: Arc<str>,
    },
    /// It has that no longer.
    Disinherit {
        /// Who has it no longer.
        senior: Arc<str>,
        /// From whom.
        junior: Arc<str>,
    },
    /// A separation of this name, in place of any of the same name.
    Separate {
        /// The name.
        name: Arc<str>,
        /// What is separated.
        separation: Separation,
    },
    /// The separation is gone.
    Unseparate(Arc<str>),
    /// Somebody has a role.
    Assign(Binding),
    /// They have it no longer.
    Unassign(Binding),
}

impl RoleEdit {
    /// [`AddRole`](Self::AddRole).
    pub fn add_role(name: impl Into<Arc<str>>) -> Self {
        Self::AddRole(name.into())
    }
    /// [`DeleteRole`](Self::DeleteRole).
    pub fn delete_role(name: impl Into<Arc<str>>) -> Self {
        Self::DeleteRole(name.into())
    }
    /// [`Permit`](Self::Permit) with all objects.
    pub fn permit(role: impl Into<Arc<str>>, permission: impl Into<Arc<str>>) -> Self {
        Self::Permit { role: role.into(), permission: permission.into(), own: false }
    }
    /// [`Permit`](Self::Permit) with the caller's own objects.
    pub fn permit_own(role: impl Into<Arc<str>>, permission: impl Into<Arc<str>>) -> Self {
        Self::Permit { role: role.into(), permission: permission.into(), own: true }
    }
    /// [`Forbid`](Self::Forbid).
    pub fn forbid(role: impl Into<Arc<str>>, permission: impl Into<Arc<str>>) -> Self {
        Self::Forbid { role: role.into(), permission: permission.into() }
    }
    /// [`Inherit`](Self::Inherit).
    pub fn inherit(senior: impl Into<Arc<str>>, junior: impl Into<Arc<str>>) -> Self {
        Self::Inherit { senior: senior.into(), junior: junior.into() }
    }
    /// [`Disinherit`](Self::Disinherit).
    pub fn disinherit(senior: impl Into<Arc<str>>, junior: impl Into<Arc<str>>) -> Self {
        Self::Disinherit { senior: senior.into(), junior: junior.into() }
    }
    /// A [`Separation`] of what somebody may have.
    pub fn separate_statically<R: Into<Arc<str>>>(
        name: impl Into<Arc<str>>,
        roles: impl IntoIterator<Item = R>,
        too_many: usize,
    ) -> Self {
        Self::separate(name.into(), roles, too_many, SeparationKind::Static)
    }
    /// A [`Separation`] of what somebody may have active at once.
    pub fn separate_dynamically<R: Into<Arc<str>>>(
        name: impl Into<Arc<str>>,
        roles: impl IntoIterator<Item = R>,
        too_many: usize,
    ) -> Self {
        Self::separate(name.into(), roles, too_many, SeparationKind::Dynamic)
    }
    fn separate<R: Into<Arc<str>>>(
        name: Arc<str>,
        roles: impl IntoIterator<Item = R>,
        too_many: usize,
        kind: SeparationKind,
    ) -> Self {
        let roles = roles.into_iter().map(Into::into).collect();
        Self::Separate { name, separation: Separation { roles, too_many, kind } }
    }
}

/// Why a change of roles is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoleError {
    /// There is no role of this name.
    Unknown(Arc<str>),
    /// There is one already.
    Exists(Arc<str>),
    /// A text that cannot be what it should be: what it is, and what would do.
    Malformed(String),
    /// There is nothing to take away: what it would be. It may stand elsewhere, in the file or in the code that the store's roles come to.
    Nothing(String),
    /// A role would inherit from more than one other, in a hierarchy that is [limited](RoleModel::limited).
    Limited(Arc<str>),
    /// A role would inherit from itself, on this way.
    Circle(Vec<Arc<str>>),
    /// Somebody would have too many roles that are kept apart.
    Separated {
        /// The separation.
        separation: Arc<str>,
        /// Who: the key of an identity, or what stands in a session.
        who: String,
        /// Which of its roles they would have.
        roles: Vec<Arc<str>>,
    },
    /// They do not have the role that they want to activate.
    NotHeld(Arc<str>),
}

impl fmt::Display for RoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(role) => {
                write!(f, "no role is called `{role}`: add it, or correct the name")
            }
            Self::Exists(name) => write!(f, "there is a `{name}` already"),
            Self::Malformed(what) => f.write_str(what),
            Self::Nothing(what) => {
                write!(
                    f,
                    "there is nothing to take away: {what}; if it counts all the same, it stands in the file or in code"
                )
            }
            Self::Limited(role) => write!(
                f,
                "the role `{role}` would inherit from several, and the hierarchy is limited to one each"
            ),
            Self::Circle(way) => {
                write!(f, "a role would inherit from itself: {}", way.join(" > "))
            }
            Self::Separated { separation, who, roles } => write!(
                f,
                "`{separation}` keeps roles apart, and {who} would have {} of them: {}",
                roles.len(),
                roles.join(", ")
            ),
            Self::NotHeld(role) => write!(f, "the caller does not have the role `{role}`"),
        }
    }
}

impl std::error::Error for RoleError {}

/// Whether a text is a permission that a role may have: a name, `noun:*`, `*:verb`, or `*`.
pub(crate) fn is_permission(text: &str) -> bool {
    let is_odd = |c: char| c == '*' || c.is_whitespace() || c.is_control();
    let is_plain = |text: &str| !text.is_empty() && !text.contains(is_odd);
    text == "*"
        || is_plain(text)
        || text.strip_suffix(":*").is_some_and(is_plain)
        || text.strip_prefix("*:").is_some_and(is_plain)
}

impl RoleModel {
    /// The same model, in which a role inherits from one other at most: the limited hierarchy of INCITS 359. Default: from any number.
    #[must_use]
    pub fn limited(self) -> Self {
        Self { is_limited: true, ..self }
    }
    /// The roles.
    pub fn roles(&self) -> impl ExactSizeIterator<Item = (&str, &RoleDefinition)> {
        self.roles.iter().map(|(name, role)| (&**name, role))
    }
    /// The separations.
    pub fn separations(&self) -> impl ExactSizeIterator<Item = (&str, &Separation)> {
        self.separations.iter().map(|(name, separation)| (&**name, separation))
    }
    /// Who has which role where.
    pub fn bindings(&self) -> impl ExactSizeIterator<Item = &Binding> {
        self.bindings.iter()
    }
    /// Puts what a store has kept, without a look at whether it is sound: [`check`](Self::check) looks.
    pub fn put_role(&mut self, name: impl Into<Arc<str>>, role: RoleDefinition) {
        self.roles.insert(name.into(), role);
    }
    /// Puts what a store has kept.
    pub fn put_separation(&mut self, name: impl Into<Arc<str>>, separation: Separation) {
        self.separations.insert(name.into(), separation);
    }
    /// Puts what a store has kept.
    pub fn put_binding(&mut self, binding: Binding) {
        self.bindings.insert(binding);
    }
    /// This model with another one: a role that both have permits and inherits what either says.
    #[must_use]
    pub fn with(&self, other: &Self) -> Self {
        let mut whole = self.clone();
        for (name, role) in &other.roles {
            let known = whole.roles.entry(Arc::clone(name)).or_default();
            known.permissions.extend(role.permissions.iter().cloned());
            known.own.extend(role.own.iter().cloned());
            known.inherits.extend(role.inherits.iter().cloned());
        }
        whole.is_limited |= other.is_limited;
        for (name, separation) in &other.separations {
            // What the program says by itself is not taken away by what is kept elsewhere.
            let entry = whole.separations.entry(Arc::clone(name));
            entry.or_insert_with(|| separation.clone());
        }
        whole.bindings.extend(other.bindings.iter().cloned());
        whole
    }
    /// Makes a change.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed.
    pub fn apply(&mut self, edit: &RoleEdit) -> Result<(), RoleError> {
        self.apply_above(&Self::default(), edit)
    }
    /// Makes a change of a model that is used together with another one, such as the roles that a program knows by itself. Names of either are known,
    /// and what both say together is checked; what only the other one says is not changed.
    ///
    /// # Errors
    /// Why it is refused; then nothing has changed.
    pub fn apply_above(&mut self, base: &Self, edit: &RoleEdit) -> Result<(), RoleError> {
        self.apply_all_above(base, std::slice::from_ref(edit))
    }
    /// The same with several changes, one after the other. What they come to is checked once, however many they are: what they pass on the way there may be
    /// unsound.
    ///
    /// # Errors
    /// Why they are refused; then nothing has changed.
    pub fn apply_all_above(&mut self, base: &Self, edits: &[RoleEdit]) -> Result<(), RoleError> {
        let mut changed = self.clone();
        edits.iter().try_for_each(|edit| changed.put(base, edit))?;
        if base.is_empty() {
            changed.check()?;
        } else {
            base.with(&changed).check()?;
        }
        *self = changed;
        Ok(())
    }
    fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.separations.is_empty() && self.bindings.is_empty()
    }
    /// This model with some changes, of which nobody has looked yet whether they are sound together.
    ///
    /// # Errors
    /// A change is of what there is not.
    pub(crate) fn changed(&self, edits: &[RoleEdit]) -> Result<Self, RoleError> {
        let (mut changed, base) = (self.clone(), Self::default());
        edits.iter().try_for_each(|edit| changed.put(&base, edit))?;
        Ok(changed)
    }
    fn put(&mut self, base: &Self, edit: &RoleEdit) -> Result<(), RoleError> {
        let is_known = |model: &Self, role: &Arc<str>| {
            model.roles.contains_key(role) || base.roles.contains_key(role)
        };
        let known = |model: &Self, role: &Arc<str>| {
            if is_known(model, role) { Ok(()) } else { Err(RoleError::Unknown(Arc::clone(role))) }
        };
        match edit {
            RoleEdit::AddRole(role) if is_known(self, role) => {
                return Err(RoleError::Exists(Arc::clone(role)));
            }
            RoleEdit::AddRole(role) => {
                self.roles.insert(Arc::clone(role), RoleDefinition::default());
            }
            RoleEdit::DeleteRole(role) => {
                if self.roles.remove(role).is_none() {
                    known(self, role)?;
                    let what = format!("the role `{role}` is not written here");
                    return Err(RoleError::Nothing(what));
                }
                if !base.roles.contains_key(role) {
                    self.bindings.retain(|binding| binding.role != *role);
                    self.roles.values_mut().for_each(|other| {
                        other.inherits.remove(role);
                    });
                    self.separations.values_mut().for_each(|it| {
                        it.roles.remove(role);
                    });
                    self.separations.retain(|_, it| it.roles.len() >= it.too_many);
                }
            }
            RoleEdit::Permit { role, permission, own } => {
                known(self, role)?;
                let definition = self.roles.entry(Arc::clone(role)).or_default();
                let list = if *own { &mut definition.own } else { &mut definition.permissions };
                list.insert(Arc::clone(permission));
            }
            RoleEdit::Forbid { role, permission } => {
                known(self, role)?;
                let taken = self.roles.get_mut(role).is_some_and(|definition| {
                    definition.permissions.remove(permission) | definition.own.remove(permission)
                });
                if !taken {
                    let what = format!("`{role}` is not written to permit `{permission}` here");
                    return Err(RoleError::Nothing(what));
                }
            }
            RoleEdit::Inherit { senior, junior } => {
                known(self, senior)?;
                known(self, junior)?;
                let definition = self.roles.entry(Arc::clone(senior)).or_default();
                definition.inherits.insert(Arc::clone(junior));
            }
            RoleEdit::Disinherit { senior, junior } => {
                known(self, senior)?;
                let definition = self.roles.get_mut(senior);
                if !definition.is_some_and(|definition| definition.inherits.remove(junior)) {
                    let what = format!("`{senior}` is not written to inherit from `{junior}` here");
                    return Err(RoleError::Nothing(what));
                }
            }
            RoleEdit::Separate { name, .. } if base.separations.contains_key(name) => {
                return Err(RoleError::Exists(Arc::clone(name)));
            }
            RoleEdit::Separate { name, separation } => {
                self.separations.insert(Arc::clone(name), separation.clone());
            }
            RoleEdit::Unseparate(name) => {
                if self.separations.remove(name).is_none() {
                    let what = format!("no separation is called `{name}` here");
                    return Err(RoleError::Nothing(what));
                }
            }
            RoleEdit::Assign(binding) => {
                known(self, &binding.role)?;
                self.bindings.insert(binding.clone());
            }
            RoleEdit::Unassign(binding) => {
                if !self.bindings.remove(binding) && base.bindings.contains(binding) {
                    let what = format!("`{binding}` is not written here");
                    return Err(RoleError::Nothing(what));
                }
            }
        }
        Ok(())
    }
    /// Whether all of it is sound.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), RoleError> {
        let malformed = |what: String| Err(RoleError::Malformed(what));
        for (name, role) in &self.roles {
            if !is_name(name) {
                return malformed(format!(
                    "`{name}` is no name of a role: a word without spaces, commas and brackets"
                ));
            }
            let mut all = role.permissions.iter().chain(&role.own);
            if let Some(wrong) = all.find(|permission| !is_permission(permission)) {
                return malformed(format!(
                    "`{wrong}`, of role `{name}`, is no permission: write a name, `noun:*`, `*:verb`, or `*`"
                ));
            }
            if let Some(wrong) = role.inherits.iter().find(|it| !self.roles.contains_key(*it)) {
                return Err(RoleError::Unknown(Arc::clone(wrong)));
            }
        }
        // There may be many of them.
        let names: rustc_hash::FxHashSet<&Arc<str>> = self.roles.keys().collect();
        for binding in &self.bindings {
            if !names.contains(&binding.role) {
                return Err(RoleError::Unknown(Arc::clone(&binding.role)));
            }
            if let Scope::Path(path) = &binding.scope
                && !is_path(path)
            {
                return malformed(format!(
                    "`{path}` is no path: it begins with `/`, does not end with one, and has no empty parts"
                ));
            }
        }
        let is_too_much = |role: &RoleDefinition| self.is_limited && role.inherits.len() > 1;
        if let Some((name, _)) = self.roles.iter().find(|(_, role)| is_too_much(role)) {
            return Err(RoleError::Limited(Arc::clone(name)));
        }
        if let Some(circle) = self.circle() {
            return Err(RoleError::Circle(circle));
        }
        self.check_separations()
    }
    /// The roles that inherit from themselves in the end.
    pub(super) fn in_circles(&self) -> impl Iterator<Item = &Arc<str>> {
        self.roles
            .iter()
            .filter(|(name, role)| {
                let mut held = HashSet::new();
                role.inherits.iter().for_each(|junior| self.closure(junior, &mut held));
                held.contains(name)
            })
            .map(|(name, _)| name)
    }
    /// A way from a role to itself.
    pub(super) fn circle(&self) -> Option<Vec<Arc<str>>> {
        let mut done = HashSet::new();
        for start in self.roles.keys() {
            // The way so far, with what is still to be followed from each of its roles.
            let mut way: Vec<(&Arc<str>, std::collections::btree_set::Iter<'_, Arc<str>>)> =
                vec![(start, self.juniors(start))];
            let mut on_way = HashSet::from([start]);
            while let Some((at, rest)) = way.last_mut() {
                let Some(next) = rest.next() else {
                    on_way.remove(*at);
                    done.insert(Arc::clone(at));
                    way.pop();
                    continue;
                };
                if on_way.contains(next) {
                    let names = way.iter().map(|(name, _)| *name).skip_while(|name| *name != next);
                    return Some(names.chain([next]).cloned().collect());
                }
                if !done.contains(next) {
                    on_way.insert(next);
                    way.push((next, self.juniors(next)));
                }
            }
        }
        None
    }
    fn juniors(&self, role: &Arc<str>) -> std::collections::btree_set::Iter<'_, Arc<str>> {
        static NONE: BTreeSet<Arc<str>> = BTreeSet::new();
        self.roles.get(role).map_or(&NONE, |role| &role.inherits).iter()
    }
    /// A role with all that it inherits from.
    fn closure<'a>(&'a self, role: &'a Arc<str>, into: &mut HashSet<&'a Arc<str>>) {
        let mut waiting = vec![role];
        while let Some(role) = waiting.pop() {
            if into.insert(role) {
                waiting.extend(self.juniors(role));
            }
        }
    }
    fn check_separations(&self) -> Result<(), RoleError> {
        if self.separations.is_empty() {
            return Ok(());
        }
        for (name, it) in &self.separations {
            if it.too_many < 2 || it.roles.len() < it.too_many {
                return Err(RoleError::Malformed(format!(
                    "the separation `{name}` keeps {} roles apart, and {} are too many: name more roles than that allows, and allow at least one",
                    it.roles.len(),
                    it.too_many
                )));
            }
            if let Some(wrong) = it.roles.iter().find(|role| !self.roles.contains_key(*role)) {
                return Err(RoleError::Unknown(Arc::clone(wrong)));
            }
        }
        let comprises = self.separated();
        let none = Vec::new();
        // A role that has too many of them by itself can be given to nobody.
        for role in self.roles.keys() {
            let held = comprises.get(role).unwrap_or(&none);
            for (name, it) in &self.separations {
                overstep(name, it, held, || format!("whoever has `{role}`"))?;
            }
        }
        let fixed = || self.separations.iter().filter(|(_, it)| it.kind == SeparationKind::Static);
        if fixed().next().is_none() {
            return Ok(());
        }
        // Those of one caller stand together.
        let bindings: Vec<&Binding> = self.bindings.iter().collect();
        for of_one in bindings.chunk_by(|one, other| one.key() == other.key()) {
            let held = of_one.iter().filter_map(|binding| comprises.get(&binding.role));
            let held: Vec<_> = held.flatten().copied().collect();
            for (name, it) in fixed() {
                let who = || of_one.first().map(|it| it.key().to_string()).unwrap_or_default();
                overstep(name, it, &held, who)?;
            }
        }
        Ok(())
    }
    /// For each role, which of those that are kept apart it is, or inherits from in the end; nothing for the many that have none of them.
    fn separated(&self) -> Table<&Arc<str>, Vec<&Arc<str>>> {
        let mut seniors: Table<&Arc<str>, Vec<&Arc<str>>> = Table::default();
        for (name, role) in &self.roles {
            role.inherits.iter().for_each(|junior| seniors.entry(junior).or_default().push(name));
        }
        let mut comprises: Table<&Arc<str>, Vec<&Arc<str>>> = Table::default();
        let apart: BTreeSet<_> = self.separations.values().flat_map(|it| &it.roles).collect();
        for role in apart {
            let (mut seen, mut waiting) = (rustc_hash::FxHashSet::default(), vec![role]);
            while let Some(at) = waiting.pop() {
                if seen.insert(at) {
                    comprises.entry(at).or_default().push(role);
                    waiting.extend(seniors.get(at).into_iter().flatten());
                }
            }
        }
        comprises
    }
}

fn overstep(
    name: &Arc<str>,
    separation: &Separation,
    held: &[&Arc<str>],
    who: impl FnOnce() -> String,
) -> Result<(), RoleError> {
    if held.len() < separation.too_many {
        return Ok(());
    }
    let roles: Vec<_> = separation.roles.iter().filter(|role| held.contains(role)).collect();
    if roles.len() < separation.too_many {
        return Ok(());
    }
    let roles = roles.into_iter().cloned().collect();
    Err(RoleError::Separated { separation: Arc::clone(name), who: who(), roles })
}

/// Whether a text is the name of a role: a word that a list, a line and a matrix can hold.
pub(super) fn is_name(name: &str) -> bool {
    let is_odd = |c: char| c.is_whitespace() || c.is_control() || ",()".contains(c);
    !name.is_empty() && !name.contains(is_odd)
}

/// Whether a text is the path of an object: it begins with `/`, and has no empty parts.
fn is_path(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(|part| !part.is_empty()))
}
