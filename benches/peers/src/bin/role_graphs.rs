//! Random role graphs, decided by `portcullis-authz` and by `casbin`: they must never differ.
//!
//! ```text
//! PORTCULLIS_ROLE_GRAPHS=100000 cargo run --release --manifest-path benches/peers/Cargo.toml --bin role_graphs
//! ```
//!
//! Graph `n` is the same graph every time: a difference tells its number, and `PORTCULLIS_ROLE_GRAPH=n` runs that one alone.
use std::collections::BTreeSet;
use std::error::Error;
use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use casbin::{CoreApi, DefaultModel, Enforcer, MgmtApi, RbacApi, StringAdapter};
use portcullis_authz::{Authorizer, Binding, LiveRoles, Resource, RoleEdit, RoleModel, Roles};
use portcullis_core::{Identity, IdentityKey};

const ISSUER: &str = "https://id.example";
const NOUNS: [&str; 4] = ["books", "orders", "order", "orders:lines"];
const VERBS: [&str; 3] = ["read", "write", "read:all"];
const PATTERNS: [&str; 5] = ["*", "books:*", "orders:*", "orders:lines:*", "order:*"];
const QUESTIONS: usize = 16;

/// A permission of casbin ends in `*` where it is for all that begins so, which is what our patterns say.
const MODEL: &str = "
[request_definition]
r = sub, dom, perm
[policy_definition]
p = sub, dom, perm
[role_definition]
g = _, _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub, r.dom) && r.dom == p.dom && keyMatch(r.perm, p.perm)
";

/// Chance that comes again (SplitMix64).
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Where somebody has a role, and how we are told.
#[derive(Clone, Debug, PartialEq)]
enum Held {
    /// The token says so: in the tenant of its user.
    Token,
    /// A binding, for everything.
    Everywhere,
    /// A binding, for what belongs to one tenant.
    In(usize),
}

#[derive(Clone, Debug)]
struct Graph {
    domains: usize,
    users: usize,
    /// In which domain each user is at home.
    homes: Vec<usize>,
    /// By their numbers: `(senior, junior)`.
    inherits: BTreeSet<(usize, usize)>,
    /// By their numbers: who permits what.
    permits: BTreeSet<(usize, String)>,
    held: Vec<(usize, usize, Held)>,
    roles: usize,
}

impl Graph {
    fn new(chance: &mut Chance) -> Self {
        let (domains, users) = (1 + chance.below(3), 1 + chance.below(4));
        // Casbin follows ten links and no more.
        let roles = 1 + chance.below(8);
        let homes = (0..users).map(|_| chance.below(domains)).collect();
        // A role inherits from those before it in an order of its own, so that there is no circle.
        let mut order: Vec<usize> = (0..roles).collect();
        for at in (1..roles).rev() {
            order.swap(at, chance.below(at + 1));
        }
        let mut inherits = BTreeSet::new();
        for at in 1..roles {
            for _ in 0..chance.below(4) {
                inherits.insert((order[at], order[chance.below(at)]));
            }
        }
        let mut permits = BTreeSet::new();
        for role in 0..roles {
            for _ in 0..chance.below(3) {
                permits.insert((role, permission(chance)));
            }
            if chance.one_in(6) {
                permits.insert((role, (*chance.pick(&PATTERNS)).to_owned()));
            }
        }
        let mut held = Vec::new();
        for user in 0..users {
            for _ in 0..chance.below(4) {
                let how = match chance.below(3) {
                    0 => Held::Token,
                    1 => Held::Everywhere,
                    _ => Held::In(chance.below(domains)),
                };
                let one = (user, chance.below(roles), how);
                if !held.contains(&one) {
                    held.push(one);
                }
            }
        }
        Self { domains, users, homes, inherits, permits, held, roles }
    }
    /// The domains in which somebody has a role who has it so.
    fn reach(&self, user: usize, how: &Held) -> Vec<usize> {
        match how {
            Held::Token => vec![self.homes[user]],
            Held::Everywhere => (0..self.domains).collect(),
            Held::In(domain) => vec![*domain],
        }
    }
    /// As casbin has it: what holds everywhere is said of each domain.
    fn lines(&self) -> String {
        let mut text = String::new();
        for domain in 0..self.domains {
            for (role, permission) in &self.permits {
                _ = writeln!(text, "p, role-{role}, tenant-{domain}, {permission}");
            }
            for (senior, junior) in &self.inherits {
                _ = writeln!(text, "g, role-{senior}, role-{junior}, tenant-{domain}");
            }
        }
        let mut links = BTreeSet::new();
        for (user, role, how) in &self.held {
            links.extend(self.reach(*user, how).into_iter().map(|domain| (*user, *role, domain)));
        }
        for (user, role, domain) in links {
            _ = writeln!(text, "g, user-{user}, role-{role}, tenant-{domain}");
        }
        text
    }
    fn roles(&self) -> Result<Roles, Box<dyn Error>> {
        let mut model = RoleModel::default();
        for role in 0..self.roles {
            model.apply(&RoleEdit::add_role(format!("role-{role}")))?;
        }
        for (senior, junior) in &self.inherits {
            model.apply(&RoleEdit::inherit(format!("role-{senior}"), format!("role-{junior}")))?;
        }
        for (role, permission) in &self.permits {
            model.apply(&RoleEdit::permit(format!("role-{role}"), permission.as_str()))?;
        }
        for (user, role, how) in &self.held {
            if let Some(binding) = self.binding(*user, *role, how) {
                model.apply(&RoleEdit::Assign(binding))?;
            }
        }
        Ok(Roles::try_from(model)?)
    }
    fn binding(&self, user: usize, role: usize, how: &Held) -> Option<Binding> {
        let home = format!("tenant-{}", self.homes[user]);
        let binding =
            Binding::of(ISSUER, Some(&home), format!("user-{user}"), format!("role-{role}"));
        match how {
            Held::Token => None,
            Held::Everywhere => Some(binding),
            Held::In(domain) => Some(binding.in_tenant(format!("tenant-{domain}"))),
        }
    }
    fn identities(&self) -> Vec<Identity> {
        let of = |user: usize| {
            let said = self.held.iter().filter(|(who, _, how)| *who == user && *how == Held::Token);
            Identity::builder(ISSUER, format!("user-{user}"))
                .tenant(format!("tenant-{}", self.homes[user]))
                .roles(
                    said.map(|(_, role, _)| Arc::from(format!("role-{role}")))
                        .collect::<Vec<Arc<str>>>(),
                )
                .build()
        };
        (0..self.users).map(of).collect()
    }
}

fn permission(chance: &mut Chance) -> String {
    format!("{}:{}", chance.pick(&NOUNS), chance.pick(&VERBS))
}

/// What is counted.
#[derive(Default)]
struct Tally {
    decisions: u64,
    allowed: u64,
    reviews: u64,
    differences: u64,
    ours: Duration,
    theirs: Duration,
}

/// What is asked about one graph, of both.
struct Asked {
    number: u64,
    questions: Vec<(usize, usize, String)>,
    authorizer: Authorizer,
    lines: String,
}

impl Asked {
    fn ask(
        &self,
        casbin: &Enforcer,
        identities: &[Identity],
        when: &str,
        tally: &mut Tally,
    ) -> Result<(), Box<dyn Error>> {
        let Self { number, questions, authorizer, lines } = self;
        for (user, domain, permission) in questions {
            let tenant = format!("tenant-{domain}");
            let resource = Resource::new("thing", "1").tenant(tenant.as_str());
            let question = (format!("user-{user}"), tenant.clone(), permission.clone());
            let began = Instant::now();
            let ours = authorizer.may(&identities[*user], permission, &resource);
            let then = Instant::now();
            let theirs = casbin.enforce(question)?;
            tally.ours += then - began;
            tally.theirs += then.elapsed();
            tally.decisions += 1;
            tally.allowed += u64::from(theirs);
            if ours != theirs {
                tally.differences += 1;
                eprintln!(
                    "graph {number}, {when}: user-{user} in {tenant}, {permission}: we say {ours}, casbin {theirs}\n{lines}"
                );
            }
        }
        Ok(())
    }
}

/// One graph: questions, the roles of each user, and the same questions after something was taken away.
async fn compare(number: u64, tally: &mut Tally) -> Result<(), Box<dyn Error>> {
    let mut chance = Chance(number.wrapping_mul(0xd134_2543_de82_ef95) ^ 0x0a02_bdbf_7bb3_c0a7);
    let graph = Graph::new(&mut chance);
    let lines = graph.lines();
    let model = DefaultModel::from_str(MODEL).await?;
    let mut casbin = Enforcer::new(model, StringAdapter::new(lines.clone())).await?;
    // What is taken away is taken from its memory alone.
    casbin.enable_auto_save(false);
    let live = LiveRoles::new(graph.roles()?);
    let authorizer = Authorizer::new(&live);
    let mut identities = graph.identities();
    let questions: Vec<(usize, usize, String)> = (0..QUESTIONS)
        .map(|_| (chance.below(graph.users), chance.below(graph.domains), permission(&mut chance)))
        .collect();
    let asked = Asked { number, questions, authorizer, lines: lines.clone() };
    asked.ask(&casbin, &identities, "as it was", tally)?;
    // Whom has a role by bindings: what the review functions say is what casbin follows its links to.
    for (user, home) in graph.homes.iter().enumerate() {
        let (name, tenant) = (format!("user-{user}"), format!("tenant-{home}"));
        let key = IdentityKey { issuer: ISSUER, tenant: Some(&tenant), subject: &name };
        let roles = live.current();
        let ours: BTreeSet<String> =
            roles.authorized_roles(key).into_iter().map(str::to_owned).collect();
        let mut theirs = BTreeSet::new();
        for domain in 0..graph.domains {
            // A token's roles are known to the review of a session, and not to that of a user.
            let bound = graph.held.iter().filter(|(who, _, how)| {
                *who == user && *how != Held::Token && graph.reach(*who, how).contains(&domain)
            });
            for (_, role, _) in bound {
                theirs.insert(format!("role-{role}"));
                theirs.extend(casbin.get_implicit_roles_for_user(
                    &format!("role-{role}"),
                    Some(&format!("tenant-{domain}")),
                ));
            }
        }
        tally.reviews += 1;
        if ours != theirs {
            tally.differences += 1;
            eprintln!(
                "graph {number}: the roles of {name}: we say {ours:?}, casbin {theirs:?}\n{lines}"
            );
        }
        for role in 0..graph.roles {
            let name = format!("role-{role}");
            let has = roles.authorized_users(&name).any(|user| user == key);
            if has != theirs.contains(&name) {
                tally.differences += 1;
                eprintln!(
                    "graph {number}: the users of {name}: we say {has} of user-{user}\n{lines}"
                );
            }
        }
    }
    // Something is taken away, and counts at once.
    let mut after = graph.clone();
    let (edits, gone): (Vec<RoleEdit>, Vec<(&str, Vec<String>)>) = match chance.below(3) {
        0 if !graph.held.is_empty() => {
            let at = chance.below(graph.held.len());
            let (user, role, how) = after.held.remove(at);
            let still: BTreeSet<usize> = after
                .held
                .iter()
                .filter(|(who, what, _)| (*who, *what) == (user, role))
                .flat_map(|(who, _, how)| after.reach(*who, how))
                .collect();
            let reach = graph.reach(user, &how).into_iter().filter(|it| !still.contains(it));
            let gone = reach.map(|domain| {
                (
                    "g",
                    vec![
                        format!("user-{user}"),
                        format!("role-{role}"),
                        format!("tenant-{domain}"),
                    ],
                )
            });
            let edits = graph.binding(user, role, &how).map(RoleEdit::Unassign);
            (edits.into_iter().collect(), gone.collect())
        }
        1 if !graph.inherits.is_empty() => {
            let all: Vec<_> = graph.inherits.iter().copied().collect();
            let (senior, junior) = *chance.pick(&all);
            let gone = (0..graph.domains).map(|domain| {
                (
                    "g",
                    vec![
                        format!("role-{senior}"),
                        format!("role-{junior}"),
                        format!("tenant-{domain}"),
                    ],
                )
            });
            let edit = RoleEdit::disinherit(format!("role-{senior}"), format!("role-{junior}"));
            (vec![edit], gone.collect())
        }
        _ if !graph.permits.is_empty() => {
            let all: Vec<_> = graph.permits.iter().cloned().collect();
            let (role, permission) = chance.pick(&all).clone();
            let gone = (0..graph.domains).map(|domain| {
                ("p", vec![format!("role-{role}"), format!("tenant-{domain}"), permission.clone()])
            });
            let edit = RoleEdit::forbid(format!("role-{role}"), permission.as_str());
            (vec![edit], gone.collect())
        }
        _ => return Ok(()),
    };
    live.change(&edits)?;
    for (kind, rule) in gone {
        let removed = if kind == "g" {
            casbin.remove_grouping_policy(rule).await?
        } else {
            casbin.remove_policy(rule).await?
        };
        assert!(removed, "graph {number}: casbin does not know what was taken away");
    }
    identities = after.identities();
    asked.ask(&casbin, &identities, "after something was taken away", tally)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let asked = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>()).transpose();
    let numbers = match asked("PORTCULLIS_ROLE_GRAPH")? {
        Some(one) => one..one + 1,
        None => 0..asked("PORTCULLIS_ROLE_GRAPHS")?.unwrap_or(100_000),
    };
    let count = numbers.end - numbers.start;
    let began = Instant::now();
    let mut tally = Tally::default();
    for number in numbers {
        compare(number, &mut tally).await?;
    }
    let Tally { decisions, allowed, reviews, differences, ours, theirs } = tally;
    println!(
        "{count} graphs in {:.1} s: {decisions} decisions ({allowed} allowed), {reviews} reviews of users, {differences} differences",
        began.elapsed().as_secs_f64()
    );
    println!(
        "a decision: ours {:.0} ns, casbin {:.0} ns",
        ours.as_nanos() as f64 / decisions.max(1) as f64,
        theirs.as_nanos() as f64 / decisions.max(1) as f64
    );
    // Questions that all have one answer show nothing.
    let shows = allowed * 10 > decisions && allowed * 10 < decisions * 9;
    Ok(if differences == 0 && (shows || count < 100) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
