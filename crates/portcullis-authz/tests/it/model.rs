//! Random role graphs, against a model that only follows the words of the documentation.
use portcullis_authz::{AuthorizeLayer, Roles};
use portcullis_core::{EdgeLayer, Routes, Stack, require};
use portcullis_testkit::{StubAuthenticateLayer, as_user, get};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use tower::ServiceBuilder;

use crate::support::{Endpoint, send};

const PERMISSIONS: [&str; 6] = ["a:x", "a:y", "a:b:x", "b:x", "ab:x", "c"];
const PATTERNS: [&str; 10] =
    ["a:x", "a:y", "a:b:x", "b:x", "ab:x", "c", "a:*", "a:b:*", "b:*", "*"];

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
        3 => subsequence(PATTERNS[..9].to_vec(), 1..3),
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
        Some(_) => false,
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
