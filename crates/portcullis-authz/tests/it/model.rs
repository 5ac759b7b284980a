//! Random role graphs, against a model that only follows the words of the documentation.
use std::convert::Infallible;

use http::{Request, Response};
use portcullis_authz::{
    AuthorizeLayer, Authorizer, Binding, Resource, RoleEdit, RoleModel, Roles, Scope,
};
use portcullis_core::{
    Body, Context, EdgeLayer, Identity, IdentityBuilder, Routes, Stack, require,
};
use portcullis_testkit::{StubAuthenticateLayer, as_user, get};
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use tower::{ServiceBuilder, service_fn};

use crate::support::{Endpoint, send};

const PERMISSIONS: [&str; 6] = ["a:x", "a:y", "a:b:x", "b:x", "ab:x", "c"];
const PATTERNS: [&str; 12] =
    ["a:x", "a:y", "a:b:x", "b:x", "ab:x", "c", "a:*", "a:b:*", "b:*", "*:x", "*:b:x", "*"];

/// A role: what it permits, and the roles before it that it inherits from.
#[derive(Clone, Debug)]
struct Role {
    permits: Vec<&'static str>,
    inherits: Vec<usize>,
}

/// Roles of which each inherits only from those before it, so that there is no circle.
fn graph() -> impl Strategy<Value = Vec<Role>> {
    let permits = prop_oneof![
        2 => Just(Vec::new()),
        3 => subsequence(PATTERNS[..11].to_vec(), 1..3),
        1 => subsequence(PATTERNS.to_vec(), 1..3),
    ];
    let role = (permits, prop::collection::vec(any::<Index>(), 0..4));
    prop::collection::vec(role, 1..90).prop_map(|roles| {
        let roles = roles.into_iter().enumerate();
        let inherits = |at: usize, parents: Vec<Index>| {
            if at == 0 {
                Vec::new()
            } else {
                parents.iter().map(|parent| parent.index(at)).collect()
            }
        };
        roles
            .map(|(at, (permits, parents))| Role { permits, inherits: inherits(at, parents) })
            .collect()
    })
}

/// What the documentation says, word for word.
fn permits(pattern: &str, permission: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == permission,
        Some(("", "")) => true,
        Some((prefix, "")) => permission.get(..prefix.len()) == Some(prefix),
        Some((_, verb)) => {
            permission.split_once(':').is_some_and(|(_, it)| verb == format!(":{it}"))
        }
    }
}

/// A role grants what it permits itself, and what each of its parents grants.
fn grants(roles: &[Role], at: usize, permission: &str, known: &mut [Option<bool>]) -> bool {
    if let Some(known) = known[at] {
        return known;
    }
    let own = roles[at].permits.iter().any(|pattern| permits(pattern, permission));
    let answer =
        own || roles[at].inherits.iter().any(|parent| grants(roles, *parent, permission, known));
    known[at] = Some(answer);
    answer
}

fn name(at: usize) -> String {
    format!("role-{at}")
}

/// The roles in the order of `order`, which need not be that of inheritance.
fn build(roles: &[Role], order: &[usize]) -> Roles {
    let built = order.iter().fold(Roles::builder(), |built, &at| {
        let built = built.role(&name(at));
        let built = roles[at].permits.iter().fold(built, |built, pattern| built.permits(pattern));
        roles[at].inherits.iter().fold(built, |built, parent| built.inherits(&name(*parent)))
    });
    built.build().unwrap()
}

fn graph_and_order() -> impl Strategy<Value = (Vec<Role>, Vec<usize>)> {
    graph().prop_flat_map(|roles| {
        let order: Vec<_> = (0..roles.len()).collect();
        (Just(roles), Just(order).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn roles_and_the_layer_decide_as_the_model_does(
        (graph, order) in graph_and_order(),
        held in prop::collection::vec(any::<Index>(), 0..4),
    ) {
        let roles = build(&graph, &order);
        let held: Vec<_> = held.iter().map(|index| index.index(graph.len())).collect();
        let caller = || as_user("ada").roles(held.iter().map(|at| name(*at))).roles(["ghost"]);
        let routes = PERMISSIONS.iter().fold(Routes::builder().restricted(), |routes, permission| {
            routes.get(&format!("/{permission}"), Endpoint::default()).rule(require(*permission))
        });
        let routes = routes.build().unwrap();
        let layers = ServiceBuilder::new()
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(AuthorizeLayer::new(roles.clone()));
        let service = layers.service(routes.clone().into_service());
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

        let mut nobody_has = Vec::new();
        for permission in PERMISSIONS {
            let mut known = vec![None; graph.len()];
            let mut model = |at| grants(&graph, at, permission, &mut known);
            let all: Vec<_> = (0..graph.len()).map(&mut model).collect();
            for (at, granted) in all.iter().enumerate() {
                prop_assert_eq!(roles.grants(&name(at), permission), *granted, "{} {}", at, permission);
            }
            let may = held.iter().any(|at| all[*at]);
            let request = get(format!("/{permission}")).as_user(caller());
            let (status, _) = runtime.block_on(send(service.clone(), request));
            prop_assert_eq!(status, if may { 200 } else { 403 }, "{}", permission);
            if !all.contains(&true) {
                nobody_has.push(format!("route `GET /{permission}`"));
            }
        }

        // A stack starts when, and only when, each permission is somebody's.
        let stack = Stack::new()
            .layer(EdgeLayer::default())
            .layer(routes.layer())
            .layer(StubAuthenticateLayer::new())
            .layer(AuthorizeLayer::new(roles));
        let told: Vec<_> = match stack.around(routes) {
            Ok(_) => Vec::new(),
            Err(errors) => errors.iter().map(|error| error.place().to_owned()).collect(),
        };
        prop_assert_eq!(told, nobody_has);
    }
}

/// A role that also permits something with the caller's own.
#[derive(Clone, Debug)]
struct Owning {
    role: Role,
    own: Vec<&'static str>,
}

/// Where somebody has a role, as it was told.
#[derive(Clone, Debug)]
enum Told {
    Token,
    Bound(Scope),
}

#[derive(Clone, Debug)]
struct Case {
    roles: Vec<Owning>,
    held: Vec<(usize, Told)>,
    tenant: Option<&'static str>,
}

const TENANTS: [Option<&str>; 3] = [None, Some("acme"), Some("bolt")];
const OWNERS: [Option<&str>; 4] = [None, Some("id||ada"), Some("id|acme|ada"), Some("id||bob")];
const PATHS: [Option<&str>; 5] = [None, Some("/a"), Some("/a/b"), Some("/a/b/c"), Some("/a/bc")];

fn cases() -> impl Strategy<Value = Case> {
    let some = || prop_oneof![2 => Just(Vec::new()), 1 => subsequence(PATTERNS.to_vec(), 1..3)];
    let role = (some(), some(), prop::collection::vec(any::<Index>(), 0..3));
    let told = prop_oneof![
        3 => Just(Told::Token),
        1 => Just(Told::Bound(Scope::Everywhere)),
        2 => select(vec!["acme", "bolt"]).prop_map(|it| Told::Bound(Scope::Tenant(it.into()))),
        3 => select(vec!["/a", "/a/b", "/a/bc"]).prop_map(|it| Told::Bound(Scope::Path(it.into()))),
    ];
    let lists = (
        prop::collection::vec(role, 1..8),
        prop::collection::vec((any::<Index>(), told), 0..4),
        select(&TENANTS[..2]),
    );
    lists.prop_map(|(roles, held, tenant)| {
        let count = roles.len();
        let roles = roles.into_iter().enumerate().map(|(at, (permits, own, parents))| {
            let parents = parents.iter().filter(|_| at > 0);
            let inherits = parents.map(|parent| parent.index(at)).collect();
            Owning { role: Role { permits, inherits }, own }
        });
        let held = held.into_iter().map(|(at, told)| (at.index(count), told)).collect();
        Case { roles: roles.collect(), held, tenant }
    })
}

impl Case {
    fn roles(&self) -> Roles {
        let mut model = RoleModel::default();
        let mut make = |edit: RoleEdit| model.apply(&edit).unwrap();
        for at in 0..self.roles.len() {
            make(RoleEdit::add_role(name(at)));
        }
        for (at, Owning { role, own }) in self.roles.iter().enumerate() {
            let permits = role.permits.iter().map(|it| RoleEdit::permit(name(at), *it));
            let own = own.iter().map(|it| RoleEdit::permit_own(name(at), *it));
            let inherits = role.inherits.iter().map(|it| RoleEdit::inherit(name(at), name(*it)));
            permits.chain(own).chain(inherits).for_each(&mut make);
        }
        for (at, told) in &self.held {
            if let Told::Bound(scope) = told {
                let binding = Binding::of("id", self.tenant, "ada", name(*at));
                make(RoleEdit::Assign(binding.within(scope.clone())));
            }
        }
        Roles::try_from(model).unwrap()
    }
    fn caller(&self) -> Identity {
        let said = self.held.iter().filter(|(_, told)| matches!(told, Told::Token));
        let ada = Identity::builder("id", "ada").roles(said.map(|(at, _)| name(*at)));
        self.tenant.into_iter().fold(ada, IdentityBuilder::tenant).build()
    }
    /// Whether a role grants something: with all objects, and with the caller's own.
    fn grants(&self, at: usize, permission: &str) -> (bool, bool) {
        let with =
            |lists: Vec<Role>| grants(&lists, at, permission, &mut vec![None; self.roles.len()]);
        let own = |it: &Owning| Role { permits: it.own.clone(), ..it.role.clone() };
        (
            with(self.roles.iter().map(|it| it.role.clone()).collect()),
            with(self.roles.iter().map(own).collect()),
        )
    }
    fn covers(&self, told: &Told, tenant: Option<&str>, path: Option<&str>) -> bool {
        match told {
            Told::Token => tenant.is_none() || tenant == self.tenant,
            Told::Bound(Scope::Tenant(of)) => tenant == Some(of),
            Told::Bound(Scope::Path(above)) => {
                // Segment by segment.
                let segments = |path: &str| path.split('/').map(str::to_owned).collect::<Vec<_>>();
                path.is_some_and(|path| segments(path).starts_with(&segments(above)))
            }
            Told::Bound(_) => true,
        }
    }
    fn is_general(&self, told: &Told) -> bool {
        match told {
            Told::Bound(Scope::Tenant(of)) => self.tenant == Some(of),
            Told::Bound(Scope::Path(_)) => false,
            _ => true,
        }
    }
}

/// An endpoint that has looked at its object.
async fn looks(mut request: Request<Body>) -> Result<Response<Body>, Infallible> {
    Context::of(&mut request).set_object_checked();
    Ok(Response::new(Body::empty()))
}

proptest! {
    #[test]
    fn objects_are_decided_about_as_the_words_say(case in cases()) {
        let (roles, caller) = (case.roles(), case.caller());
        let authorizer = Authorizer::new(roles.clone());
        let key = caller.key().to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for permission in PERMISSIONS {
            for at in 0..case.roles.len() {
                let (all, own) = case.grants(at, permission);
                prop_assert_eq!(roles.grants(&name(at), permission), all, "{} {}", at, permission);
                prop_assert_eq!(roles.grants_own(&name(at), permission), own, "{} {}", at, permission);
            }
            for tenant in TENANTS {
                for owner in OWNERS {
                    for path in PATHS {
                        let mut thing = Resource::new("thing", "7");
                        thing = tenant.into_iter().fold(thing, Resource::tenant);
                        thing = owner.into_iter().fold(thing, Resource::owner);
                        thing = path.into_iter().fold(thing, Resource::path);
                        let is_own = owner == Some(&*key);
                        let may = case.held.iter().any(|(at, told)| {
                            let (all, own) = case.grants(*at, permission);
                            (all || own && is_own) && case.covers(told, tenant, path)
                        });
                        let decided = authorizer.may(&caller, permission, &thing);
                        prop_assert_eq!(decided, may, "{} {:?}", permission, thing);
                    }
                }
            }
            // A route looks at no object: it asks for all of them, or leaves the look to its handler.
            let general = case.held.iter().any(|(at, told)| {
                case.grants(*at, permission).0 && case.is_general(told)
            });
            let some = case.held.iter().any(|(at, _)| {
                let (all, own) = case.grants(*at, permission);
                all || own
            });
            for (rule, may) in [
                (require(permission), general),
                (require(permission).object_checked(), some),
            ] {
                let routes = Routes::builder().get("/", service_fn(looks)).rule(rule).build().unwrap();
                let layers = ServiceBuilder::new()
                    .layer(routes.layer())
                    .layer(StubAuthenticateLayer::new())
                    .layer(AuthorizeLayer::new(roles.clone()));
                let request = get("/").as_user(caller.to_builder());
                let (status, _) = runtime.block_on(send(layers.service(routes.into_service()), request));
                prop_assert_eq!(status, if may { 200 } else { 403 }, "{}", permission);
            }
        }
    }
}
