//! Roles, what they permit, and what they inherit.
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use portcullis_core::{ConfigError, ConfigErrors, Identity};

/// Roles with everything that they permit, inherited permissions included. Cheap to clone.
///
/// A permission is a name such as `orders:write`. `orders:*` permits all that begins with `orders:`, `*` everything.
#[derive(Clone, Debug)]
pub struct Roles(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    index: HashMap<Arc<str>, usize>,
    /// What each role permits, by index.
    permits: Vec<BTreeSet<Arc<str>>>,
}

/// A set of roles, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RoleSet(Box<[u64]>);

impl RoleSet {
    fn of(count: usize, members: impl Iterator<Item = usize>) -> Self {
        let mut words = vec![0_u64; count.div_ceil(64)];
        for member in members {
            if let Some(word) = words.get_mut(member / 64) {
                *word |= 1 << (member % 64);
            }
        }
        Self(words.into())
    }
    fn has(&self, member: usize) -> bool {
        self.0.get(member / 64).is_some_and(|word| word & (1 << (member % 64)) != 0)
    }
    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }
}

impl Roles {
    /// No roles yet.
    pub fn builder() -> RolesBuilder {
        RolesBuilder::default()
    }
    /// Whether `role` permits `permission`. A role that is not defined permits nothing.
    pub fn grants(&self, role: &str, permission: &str) -> bool {
        let permits = self.0.index.get(role).and_then(|index| self.0.permits.get(*index));
        permits.is_some_and(|patterns| patterns.iter().any(|pattern| matches(pattern, permission)))
    }
    /// The names of the roles.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.index.keys().map(|name| &**name)
    }
    /// The roles that permit `permission`.
    pub(crate) fn granting(&self, permission: &str) -> RoleSet {
        let grants = |patterns: &BTreeSet<Arc<str>>| {
            patterns.iter().any(|pattern| matches(pattern, permission))
        };
        let members = self.0.permits.iter().enumerate().filter(|(_, patterns)| grants(patterns));
        RoleSet::of(self.0.permits.len(), members.map(|(index, _)| index))
    }
    /// Whether one of the identity's roles is in `set`.
    pub(crate) fn any_in(&self, identity: &Identity, set: &RoleSet) -> bool {
        identity.roles().any(|role| self.0.index.get(role).is_some_and(|index| set.has(*index)))
    }
}

fn matches(pattern: &str, permission: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => permission.starts_with(prefix),
        None => pattern == permission,
    }
}

/// Builds [`Roles`]: `role` begins a role, `permits` and `inherits` say what it can do.
#[derive(Clone, Debug, Default)]
#[must_use = "roles are made by `build`"]
pub struct RolesBuilder {
    roles: Vec<Draft>,
    errors: ConfigErrors,
}

#[derive(Clone, Debug)]
struct Draft {
    name: Arc<str>,
    permits: BTreeSet<Arc<str>>,
    inherits: Vec<Arc<str>>,
}

impl RolesBuilder {
    /// Begins a role.
    pub fn role(mut self, name: &str) -> Self {
        if self.roles.iter().any(|role| &*role.name == name) {
            self.errors.push(ConfigError::new(
                place(name),
                "the role stands twice; put all it permits in one place",
            ));
        }
        if name.is_empty() {
            self.errors.push(ConfigError::new(place(name), "a role needs a name"));
        }
        self.roles.push(Draft {
            name: name.into(),
            permits: BTreeSet::new(),
            inherits: Vec::new(),
        });
        self
    }
    /// What the role permits: a name, `prefix:*`, or `*`.
    pub fn permits(mut self, permission: &str) -> Self {
        let stars = permission.matches('*').count();
        let well_formed =
            stars == 0 || (stars == 1 && (permission == "*" || permission.ends_with(":*")));
        match self.roles.last_mut() {
            Some(role) if well_formed && !permission.is_empty() => {
                _ = role.permits.insert(permission.into());
            }
            Some(role) => {
                let message =
                    format!("`{permission}` is no permission: write a name, `prefix:*`, or `*`");
                self.errors.push(ConfigError::new(place(&role.name), message));
            }
            None => self.before_role("permits"),
        }
        self
    }
    /// Which role it inherits from.
    pub fn inherits(mut self, role: &str) -> Self {
        match self.roles.last_mut() {
            Some(draft) => draft.inherits.push(role.into()),
            None => self.before_role("inherits"),
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
    /// A role that stands twice, inherits from one that is not defined, or from itself in the end; all of it at once.
    pub fn build(self) -> Result<Roles, ConfigErrors> {
        let Self { roles, mut errors } = self;
        let index: HashMap<_, _> =
            roles.iter().enumerate().map(|(at, role)| (Arc::clone(&role.name), at)).collect();
        for role in &roles {
            for parent in role.inherits.iter().filter(|parent| !index.contains_key(*parent)) {
                let message = format!("it inherits from `{parent}`, which is not defined");
                errors.push(ConfigError::new(place(&role.name), message));
            }
        }
        let closed: Vec<_> = (0..roles.len()).map(|start| close(start, &roles, &index)).collect();
        for (role, closed) in roles.iter().zip(&closed) {
            if closed.is_none() {
                errors.push(ConfigError::new(
                    place(&role.name),
                    "it inherits from itself; break the circle",
                ));
            }
        }
        let permits = closed.into_iter().map(Option::unwrap_or_default).collect();
        errors.or(Roles(Arc::new(Inner { index, permits })))
    }
}

fn place(role: &str) -> String {
    format!("role `{role}`")
}

/// All that the role at `start` permits; `None` when it inherits from itself.
fn close(
    start: usize,
    roles: &[Draft],
    index: &HashMap<Arc<str>, usize>,
) -> Option<BTreeSet<Arc<str>>> {
    let mut permits = BTreeSet::new();
    let mut seen = vec![false; roles.len()];
    let mut waiting = vec![start];
    while let Some(at) = waiting.pop() {
        let role = roles.get(at)?;
        permits.extend(role.permits.iter().cloned());
        for parent in role.inherits.iter().filter_map(|name| index.get(name)) {
            if *parent == start {
                return None;
            }
            // A role that is inherited on two ways counts once.
            if let Some(seen @ false) = seen.get_mut(*parent) {
                *seen = true;
                waiting.push(*parent);
            }
        }
    }
    Some(permits)
}
