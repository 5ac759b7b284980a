//! Who may do what. The roles themselves stand here; who has which is in the database, and changes while the shop is open.
use portcullis::authn::ApiKeys;
use portcullis::authz::{Authorizer, Binding, Resource, Roles, StoredRoles};
use portcullis::{BoxError, Clock, Identity};
use tokio::runtime::Handle;

use crate::store::Store;

/// A key to try the shop with.
#[derive(Clone, Copy, Debug)]
pub struct DemoKey {
    /// Whose it is.
    pub name: &'static str,
    /// The key itself.
    pub key: &'static str,
    /// Their role.
    pub role: &'static str,
    /// Where they have it.
    pub place: Place,
    /// Their plan, by which they are limited.
    pub plan: &'static str,
}

/// Where somebody with a demo key works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// In the shop itself: with orders that no branch has taken.
    Shop,
    /// In this branch, which is a tenant: it sees no other one's orders.
    Branch(&'static str),
    /// Above all branches.
    Everywhere,
}

const fn key(name: &'static str, key: &'static str, role: &'static str, place: Place) -> DemoKey {
    DemoKey { name, key, role, place, plan: "trade" }
}

/// The demo keys.
pub const DEMO_KEYS: [DemoKey; 7] = [
    DemoKey { plan: "free", ..key("rita", "demo-reader-4c1f", "reader", Place::Shop) },
    key("carl", "demo-clerk-9b2e", "clerk", Place::Shop),
    key("anna", "demo-auditor-77d0", "auditor", Place::Everywhere),
    key("lena", "demo-leeds-clerk-51aa", "clerk", Place::Branch("leeds")),
    key("mona", "demo-leeds-manager-0e3d", "manager", Place::Branch("leeds")),
    key("yuri", "demo-york-clerk-c86b", "clerk", Place::Branch("york")),
    key("olga", "demo-operator-a2f4", "operator", Place::Everywhere),
];

/// The roles of the shop, and who has one above all branches. A role is for the orders of one's own branch, or, without one, for those of no branch.
fn roles() -> Result<Roles, BoxError> {
    let roles = Roles::builder()
        .role("reader")
        .permits_own("orders:read")
        // Whoever has an account.
        .role("customer")
        .inherits("reader")
        .permits_own("orders:write")
        .role("clerk")
        .inherits("reader")
        .permits("orders:read")
        .permits("orders:write")
        .role("auditor")
        .inherits("reader")
        .permits("orders:audit")
        .role("manager")
        .inherits("clerk")
        .permits("orders:audit")
        .permits("roles:assign")
        .role("operator")
        .permits("*")
        // Nobody audits what they have a hand in, a manager included.
        .separates_statically("sales-and-audit", &["clerk", "auditor"], 2)
        .build()?;
    let above = DEMO_KEYS.iter().filter(|it| it.place == Place::Everywhere);
    let above = above.map(|it| Binding::of(ApiKeys::ISSUER, None, it.name, it.role));
    let mut model = roles.model().clone();
    above.for_each(|binding| model.put_binding(binding));
    Ok(Roles::try_from(model)?)
}

/// The roles, with whatever the database says about who has them. Each replica of the shop asks it every second.
pub(crate) async fn open(store: &Store, clock: Clock) -> Result<StoredRoles, BoxError> {
    let stored = StoredRoles::open(roles()?, store.stores().roles().await?).await?.clock(clock);
    stored.start(&Handle::current());
    Ok(stored)
}

/// Whether somebody may do all that a role permits, in a branch: nobody gives more than they have.
pub(crate) fn may_give(authorizer: &Authorizer, who: &Identity, role: &str, branch: &str) -> bool {
    let roles = authorizer.roles().current();
    let all = Resource::new("role", role).tenant(branch);
    let own = all.clone().owner(who.key().to_string());
    let known = roles.model().roles();
    let mut permissions = known.flat_map(|(_, it)| it.permissions.iter().chain(&it.own));
    permissions.all(|permission| {
        if roles.grants(role, permission) {
            authorizer.may(who, permission, &all)
        } else {
            !roles.grants_own(role, permission) || authorizer.may(who, permission, &own)
        }
    })
}
