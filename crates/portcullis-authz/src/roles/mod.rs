//! Roles, compiled: who may do what is a look into two tables, however many roles there are.
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use portcullis_core::{Identity, IdentityKey};
use rustc_hash::FxHasher;

mod builder;
mod grant;
mod model;
mod review;
mod set;

pub use builder::RolesBuilder;
pub(crate) use grant::{Granted, Reach};
pub use model::{
    Binding, RoleDefinition, RoleEdit, RoleError, RoleModel, Scope, Separation, SeparationKind,
};
use set::RoleSet;

type Table<K, V> = HashMap<K, V, BuildHasherDefault<FxHasher>>;

/// Roles with everything that they permit, inherited permissions included. Cheap to clone.
///
/// A permission is a name such as `orders:write`. `orders:*` permits all that begins with `orders:`, `*:read` all `read` after a first `:`, `*` everything.
///
/// The words are those of INCITS 359, the NIST model of roles: a senior role inherits what its juniors permit; a separation of duty keeps roles apart.
///
/// ```
/// use portcullis_authz::Roles;
/// let roles = Roles::builder()
///     .role("reader").permits("books:read").permits_own("orders:read")
///     .role("clerk").inherits("reader").permits("orders:*")
///     .build()?;
/// assert!(roles.grants("clerk", "orders:write"));
/// // A reader reads orders, if they are the reader's own.
/// assert!(!roles.grants("reader", "orders:read") && roles.grants_own("reader", "orders:read"));
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct Roles(Arc<Compiled>);

/// Who grants one permission, or one pattern of permissions.
#[derive(Clone, Debug, Default)]
struct Grants {
    /// With all objects.
    all: RoleSet,
    /// With the caller's own.
    own: RoleSet,
}

/// What somebody has by a binding.
#[derive(Clone, Debug)]
struct Held {
    role: u32,
    scope: Scope,
}

/// Roles that are kept apart, compiled.
#[derive(Clone, Debug)]
struct Apart {
    kind: SeparationKind,
    too_many: usize,
    /// For each of them, the roles that are it, or inherit from it.
    members: Vec<RoleSet>,
}

#[derive(Debug, Default)]
struct Compiled {
    model: RoleModel,
    names: Vec<Arc<str>>,
    index: Table<Arc<str>, u32>,
    /// For each role, those that it inherits from and that inherit from it, by their numbers.
    juniors: Vec<Vec<u32>>,
    seniors: Vec<Vec<u32>>,
    /// For each role, itself and all that inherit from it in the end.
    above: Vec<RoleSet>,
    /// By the whole name; what patterns say of it is in it.
    exact: Table<Arc<str>, Grants>,
    /// By what stands before the `*`, and by what stands behind it.
    prefixes: Table<Arc<str>, Grants>,
    suffixes: Table<Arc<str>, Grants>,
    everything: Grants,
    bound: Table<u128, Box<[Held]>>,
    apart: Vec<Apart>,
}

impl Default for Roles {
    fn default() -> Self {
        Self(Arc::new(Compiled::default()))
    }
}

impl TryFrom<RoleModel> for Roles {
    type Error = RoleError;
    fn try_from(model: RoleModel) -> Result<Self, RoleError> {
        model.check()?;
        Ok(Self(Arc::new(Compiled::new(model))))
    }
}

impl Roles {
    /// What a store keeps, as far as it fits with what the program knows: a role that another program has defined permits nothing here. What does not
    /// fit is told to the log.
    pub(crate) fn kept(model: RoleModel) -> Result<Self, RoleError> {
        if let Some(circle) = model.circle() {
            return Err(RoleError::Circle(circle));
        }
        match model.check() {
            Ok(()) => {}
            Err(error @ (RoleError::Malformed(_) | RoleError::Limited(_))) => return Err(error),
            Err(error) => tracing::warn!(
                "what the store of roles keeps counts as far as this program knows it: {error}"
            ),
        }
        Ok(Self(Arc::new(Compiled::new(model))))
    }
    /// No roles yet.
    pub fn builder() -> RolesBuilder {
        RolesBuilder::default()
    }
    /// As they were written.
    pub fn model(&self) -> &RoleModel {
        &self.0.model
    }
    /// Whether `role` permits `permission` with all objects. A role that is not defined permits nothing.
    pub fn grants(&self, role: &str, permission: &str) -> bool {
        self.0.index.get(role).is_some_and(|role| self.0.any(permission, |it| it.all.has(*role)))
    }
    /// Whether `role` permits `permission` with objects of the caller's own.
    pub fn grants_own(&self, role: &str, permission: &str) -> bool {
        self.0.index.get(role).is_some_and(|role| self.0.any(permission, |it| it.own.has(*role)))
    }
    /// The names of the roles, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.names.iter().map(|name| &**name)
    }
    /// Whether some role permits it: with all objects, or with some.
    pub(crate) fn is_granted(&self, permission: &str, with_own: bool) -> bool {
        let some = |it: &Grants| !it.all.is_empty() || (with_own && !it.own.is_empty());
        self.0.any(permission, some)
    }
}

impl Grants {
    fn is_empty(&self) -> bool {
        self.all.is_empty() && self.own.is_empty()
    }
}

impl Compiled {
    fn new(model: RoleModel) -> Self {
        let names: Vec<Arc<str>> = model.roles.keys().cloned().collect();
        let numbers = names.iter().enumerate();
        let numbered =
            numbers.map(|(at, name)| (Arc::clone(name), u32::try_from(at).unwrap_or(u32::MAX)));
        let index: Table<_, _> = numbered.collect();
        let count = names.len();
        let none: Vec<Vec<u32>> = vec![Vec::new(); count];
        let (mut juniors, mut seniors) = (none.clone(), none);
        for (name, role) in &model.roles {
            for junior in &role.inherits {
                let (Some(one), Some(other)) = (index.get(name), index.get(junior)) else {
                    continue;
                };
                juniors.get_mut(*one as usize).into_iter().for_each(|it| it.push(*other));
                seniors.get_mut(*other as usize).into_iter().for_each(|it| it.push(*one));
            }
        }
        let mut walk = Walk::new(&seniors);
        let roles = 0..u32::try_from(count).unwrap_or(u32::MAX);
        let above = roles.map(|role| RoleSet::new(count, walk.from([role]))).collect();
        let mut compiled = Self { names, index, juniors, seniors, above, ..Self::default() };
        compiled.grants(&model);
        // Those of one caller stand together.
        let bindings: Vec<&Binding> = model.bindings.iter().collect();
        for of_one in bindings.chunk_by(|one, other| one.key() == other.key()) {
            let Some(first) = of_one.first() else { continue };
            let held = of_one.iter().filter_map(|binding| {
                let role = compiled.number(&binding.role)?;
                Some(Held { role, scope: binding.scope.clone() })
            });
            let held = held.collect();
            compiled.bound.insert(first.key().fingerprint(), held);
        }
        let separations = model.separations.values();
        compiled.apart = separations.map(|it| compiled.apart(it)).collect();
        compiled.model = model;
        compiled
    }
    fn apart(&self, separation: &Separation) -> Apart {
        let members = separation.roles.iter().filter_map(|role| self.number(role));
        let members = members.filter_map(|role| self.above.get(role as usize).cloned());
        Apart { kind: separation.kind, too_many: separation.too_many, members: members.collect() }
    }
    fn grants(&mut self, model: &RoleModel) {
        // By pattern, who has it written down.
        let mut written: HashMap<&Arc<str>, [Vec<u32>; 2]> = HashMap::new();
        for (name, role) in &model.roles {
            let Some(number) = self.index.get(name).copied() else { continue };
            for (which, permissions) in [&role.permissions, &role.own].into_iter().enumerate() {
                for permission in permissions {
                    let lists = written.entry(permission).or_default();
                    lists.iter_mut().skip(which).take(1).for_each(|list| list.push(number));
                }
            }
        }
        let count = self.names.len();
        let (mut walk, mut exact) = (Walk::new(&self.seniors), Vec::new());
        for (pattern, lists) in written {
            let [all, own] = lists.map(|list| walk.from(list));
            if &**pattern == "*" {
                self.everything =
                    Grants { all: RoleSet::new(count, all), own: RoleSet::new(count, own) };
            } else if let Some(prefix) = pattern.strip_suffix('*') {
                let grants =
                    Grants { all: RoleSet::new(count, all), own: RoleSet::new(count, own) };
                self.prefixes.insert(prefix.into(), grants);
            } else if let Some(suffix) = pattern.strip_prefix("*:") {
                let grants =
                    Grants { all: RoleSet::new(count, all), own: RoleSet::new(count, own) };
                self.suffixes.insert(suffix.into(), grants);
            } else {
                exact.push((Arc::clone(pattern), all, own));
            }
        }
        for (name, mut all, mut own) in exact {
            // What patterns say of a name that is known is found with it.
            self.patterns(&name, |grants| {
                all.extend(grants.all.members());
                own.extend(grants.own.members());
                false
            });
            self.exact.insert(
                name,
                Grants { all: RoleSet::new(count, all), own: RoleSet::new(count, own) },
            );
        }
    }
    /// Whether `found` is true of one of the patterns that a name matches.
    fn patterns(&self, permission: &str, mut found: impl FnMut(&Grants) -> bool) -> bool {
        if !self.everything.is_empty() && found(&self.everything) {
            return true;
        }
        let colons = || permission.bytes().enumerate().filter(|(_, byte)| *byte == b':');
        if !self.prefixes.is_empty() {
            for (at, _) in colons() {
                if permission
                    .get(..=at)
                    .and_then(|it| self.prefixes.get(it))
                    .is_some_and(&mut found)
                {
                    return true;
                }
            }
        }
        if !self.suffixes.is_empty()
            && let Some((_, verb)) = permission.split_once(':')
        {
            return self.suffixes.get(verb).is_some_and(found);
        }
        false
    }
    /// Whether `found` is true of one of those that say something of a permission.
    fn any(&self, permission: &str, mut found: impl FnMut(&Grants) -> bool) -> bool {
        match self.exact.get(permission) {
            Some(grants) => found(grants),
            None => self.patterns(permission, found),
        }
    }
    fn number(&self, role: &str) -> Option<u32> {
        self.index.get(role).copied()
    }
    fn bound_to(&self, key: u128) -> &[Held] {
        if self.bound.is_empty() {
            return &[];
        }
        self.bound.get(&key).map_or(&[], |held| held)
    }
}

impl Roles {
    fn numbers_of(&self, identity: &Identity) -> Vec<u32> {
        let own = identity.roles().filter_map(|role| self.0.number(role));
        own.chain(self.0.bound_to(identity.fingerprint()).iter().map(|held| held.role)).collect()
    }
    fn held_by_key(&self, key: IdentityKey<'_>) -> Vec<u32> {
        self.0.bound_to(key.fingerprint()).iter().map(|held| held.role).collect()
    }
}

/// These, and all that can be reached from them.
fn reach(edges: &[Vec<u32>], from: impl IntoIterator<Item = u32>) -> Vec<u32> {
    let mut seen = rustc_hash::FxHashSet::default();
    let mut waiting: Vec<u32> = from.into_iter().collect();
    while let Some(at) = waiting.pop() {
        if seen.insert(at) {
            waiting.extend(edges.get(at as usize).into_iter().flatten());
        }
    }
    seen.into_iter().collect()
}

/// Goes from roles along edges again and again, and makes no set of those that it has seen for each way.
struct Walk<'a> {
    edges: &'a [Vec<u32>],
    /// For each role, the latest way on which it was seen.
    seen: Vec<u32>,
    way: u32,
}

impl<'a> Walk<'a> {
    fn new(edges: &'a [Vec<u32>]) -> Self {
        Self { edges, seen: vec![0; edges.len()], way: 0 }
    }
    /// These, and all that can be reached from them.
    fn from(&mut self, from: impl IntoIterator<Item = u32>) -> Vec<u32> {
        self.way += 1;
        let (mut reached, mut waiting) = (Vec::new(), Vec::new());
        waiting.extend(from);
        while let Some(at) = waiting.pop() {
            let Some(seen) = self.seen.get_mut(at as usize) else { continue };
            if std::mem::replace(seen, self.way) != self.way {
                reached.push(at);
                waiting.extend(self.edges.get(at as usize).into_iter().flatten());
            }
        }
        reached
    }
}
