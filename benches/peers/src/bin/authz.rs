//! What a decision about a caller costs with casbin and with Cedar: as many rules as in portcullis' own program of this name, the same questions, timed by the same code. Run by
//! `cargo xtask bench authz`.
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::error::Error;
use std::time::Instant;

use casbin::{CachedEnforcer, CoreApi, DefaultModel, Enforcer, MemoryAdapter, MgmtApi};
use cedar_policy::{Authorizer, Context, Decision, Entities, PolicySet, Request};

#[allow(dead_code, reason = "ours needs more of it")]
#[path = "../../../src/rounds.rs"]
mod rounds;

use rounds::{EACH, Figures, RULES, in_turn};

type Answer<T = ()> = Result<T, Box<dyn Error>>;

/// Counts for each thread, since a count for all would cost two threads more than one.
struct Counting;

thread_local!(static ALLOCATED: Cell<u64> = const { Cell::new(0) });

// SAFETY: all is left to the system's allocator, and counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.set(ALLOCATED.get() + 1);
        // SAFETY: the caller keeps to what the trait asks.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to what the trait asks.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Roles as casbin's own examples have them.
const MODEL: &str = "
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
";

fn main() -> Answer {
    match std::env::args().nth(1).as_deref() {
        Some("time") => {
            let runtime = tokio::runtime::Builder::new_current_thread().build()?;
            for rules in RULES {
                runtime.block_on(casbin(rules))?;
                cedar(rules)?;
            }
            Ok(())
        }
        _ => {
            println!("usage: authz time");
            Ok(())
        }
    }
}

fn say(name: &str, rules: usize, figures: Figures) {
    println!("{}", figures.line(name, rules));
}

fn time<T: Sync>(name: &str, rules: usize, question: &T, is_right: impl Fn(&T) -> bool + Sync) {
    let one = std::slice::from_ref(question);
    let figures = Figures::of(|| in_turn(one, Instant::now, &is_right), || ALLOCATED.get());
    say(name, rules, figures);
}

/// Somebody, what they want to have, and whether they may.
type Question = (String, String, bool);

/// With a rule in the middle, and with one that is another role's, or nobody's where there is one role.
fn questions(rules: usize) -> [Question; 2] {
    let middle = rules / 2;
    let ask = |book, may| (format!("user-{}", middle / EACH), format!("books-{book}"), may);
    [ask(middle, true), ask(middle + EACH, false)]
}

async fn casbin(rules: usize) -> Answer {
    let written = (0..rules).map(|rule| {
        let role = format!("role-{}", rule / EACH);
        vec![role, format!("books-{rule}"), "read".to_owned()]
    });
    let given =
        (0..rules / EACH).map(|number| vec![format!("user-{number}"), format!("role-{number}")]);
    let (written, given): (Vec<_>, Vec<_>) = (written.collect(), given.collect());
    let model = || DefaultModel::from_str(MODEL);

    let mut enforcer = Enforcer::new(model().await?, MemoryAdapter::default()).await?;
    enforcer.add_policies(written.clone()).await?;
    enforcer.add_grouping_policies(given.clone()).await?;
    let [allowed, denied] = questions(rules);
    let may = |(user, book, may): &Question| {
        enforcer.enforce((user.as_str(), book.as_str(), "read")).is_ok_and(|it| it == *may)
    };
    time("casbin, allowed", rules, &allowed, may);
    time("casbin, denied", rules, &denied, may);

    let mut enforcer = CachedEnforcer::new(model().await?, MemoryAdapter::default()).await?;
    enforcer.add_policies(written).await?;
    enforcer.add_grouping_policies(given).await?;
    let may = |(user, book, may): &Question| {
        enforcer.enforce((user.as_str(), book.as_str(), "read")).is_ok_and(|it| it == *may)
    };
    time("casbin with its cache, allowed", rules, &allowed, may);
    time("casbin with its cache, denied", rules, &denied, may);
    Ok(())
}

fn cedar(rules: usize) -> Answer {
    // One policy for each rule, which begins with whom it is for, so that Cedar can tell from its head that it is for somebody else.
    let policies: String = (0..rules)
        .map(|rule| {
            let role = rule / EACH;
            format!(
                "permit(principal in Role::\"role-{role}\", action == Action::\"read\", resource == Book::\"books-{rule}\");\n"
            )
        })
        .collect();
    let policies: PolicySet = policies.parse()?;
    let entities: Vec<_> = (0..rules / EACH)
        .flat_map(|number| {
            let entity = |kind: &str, name: String, parents: serde_json::Value| {
                serde_json::json!({"uid": {"type": kind, "id": name}, "attrs": {}, "parents": parents})
            };
            let role = serde_json::json!([{"type": "Role", "id": format!("role-{number}")}]);
            [
                entity("User", format!("user-{number}"), role),
                entity("Role", format!("role-{number}"), serde_json::json!([])),
            ]
        })
        .collect();
    let entities = Entities::from_json_value(entities.into(), None)?;
    let authorizer = Authorizer::new();
    for (name, (user, book, may)) in
        ["Cedar, allowed", "Cedar, denied"].into_iter().zip(questions(rules))
    {
        let request = Request::new(
            format!("User::\"{user}\"").parse()?,
            "Action::\"read\"".parse()?,
            format!("Book::\"{book}\"").parse()?,
            Context::empty(),
            None,
        )?;
        let want = if may { Decision::Allow } else { Decision::Deny };
        let is_right = |request: &Request| {
            authorizer.is_authorized(request, &policies, &entities).decision() == want
        };
        time(name, rules, &request, is_right);
    }
    Ok(())
}
