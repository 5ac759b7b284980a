//! What a decision about a caller costs, with few roles and many, and what it takes to compile and to change roles. Run by `cargo xtask bench authz`, beside the program of
//! the same name that does it with what others use.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::cell::RefCell;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Cx, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use axum::http::{Request, Response};
use portcullis::authz::{
    AuthorizeLayer, Authorizer, Binding, LiveRoles, Resource, RoleEdit, Roles, RolesBuilder,
};
use portcullis::{AuthState, Body, BoxError, Clock, Context, Identity};
use portcullis_benches::rounds::{EACH, Figures, RULES, in_turn, mixed};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ISSUER: &str = "https://id.example";
const PEOPLE: usize = 10_000;
const BINDINGS: usize = 100_000;
/// How often roles change while decisions are made.
const EVERY: Duration = Duration::from_millis(10);

fn main() -> Result<(), BoxError> {
    match std::env::args().nth(1).as_deref() {
        Some("time") => RULES.into_iter().try_for_each(time),
        Some("compile") => compile(),
        _ => {
            println!("usage: authz time | compile");
            Ok(())
        }
    }
}

/// Somebody wants something, and may, or may not.
struct Question {
    caller: Identity,
    action: String,
    object: Resource,
    answer: bool,
}

impl Question {
    fn new(caller: Identity, action: String, answer: bool) -> Self {
        Self { caller, action, object: Resource::new("book", "7"), answer }
    }
}

fn now() -> Instant {
    Clock::system().now()
}

fn allocated() -> u64 {
    ALLOCATOR.stats().allocations as u64
}

fn role(number: usize) -> String {
    format!("role-{number}")
}

fn permission(rule: usize) -> String {
    format!("books-{rule}:read")
}

fn caller(subject: usize) -> portcullis::IdentityBuilder {
    Identity::builder(ISSUER, format!("5f2a7c1e-{subject}"))
}

/// So many rules, each as `write` says.
fn roles(
    rules: usize,
    write: impl Fn(RolesBuilder, usize) -> RolesBuilder,
) -> Result<Roles, BoxError> {
    let each = |roles: RolesBuilder, number| {
        let own = number * EACH..(number + 1) * EACH;
        own.fold(roles.role(&role(number)), &write)
    };
    Ok((0..rules / EACH).fold(Roles::builder(), each).build()?)
}

fn time(rules: usize) -> Result<(), BoxError> {
    let say = |name: &str, figures: Figures| println!("{}", figures.line(name, rules));
    let ask = |name: &str, authorizer: &Authorizer, questions: &[Question]| {
        let right = |it: &Question| authorizer.may(&it.caller, &it.action, &it.object) == it.answer;
        say(name, Figures::of(|| in_turn(questions, now, right), allocated));
    };
    let middle = rules / 2;
    let asked = || permission(middle);
    let plain = roles(rules, |roles, rule| roles.permits(&permission(rule)))?;
    let authorizer = Authorizer::new(plain.clone());

    let permitted = || caller(7).role(role(middle / EACH));
    ask(
        "a role of the token, allowed",
        &authorizer,
        &[Question::new(permitted().build(), asked(), true)],
    );
    // Of ten rules there is one role, and nobody may this.
    let denied = Question::new(permitted().build(), permission(middle + EACH), false);
    ask("a role of the token, denied", &authorizer, &[denied]);
    let five = ["a", "b", "c", "d"].into_iter().fold(caller(7), portcullis::IdentityBuilder::role);
    let five = five.role(role(middle / EACH)).build();
    ask("the last of five roles, allowed", &authorizer, &[Question::new(five, asked(), true)]);
    let anyone = |with_role: bool| {
        let questions = mixed(PEOPLE).map(|person| {
            let has = person % (rules / EACH);
            let caller = caller(person);
            let caller = if with_role { caller.role(role(has)) } else { caller };
            Question::new(caller.build(), permission(has * EACH + person % EACH), true)
        });
        questions.collect::<Vec<_>>()
    };
    ask("10 000 callers in turn, by a role of the token", &authorizer, &anyone(true));

    let bound = with_bindings(&plain, rules, PEOPLE)?;
    let people = anyone(false);
    let bound = Authorizer::new(bound);
    ask("a binding, one of 10 000", &bound, people.get(..1).unwrap_or_default());
    ask("10 000 callers in turn, by a binding", &bound, &people);

    let wild = roles(rules, |roles, rule| roles.permits(&format!("books-{rule}:*")))?;
    let one = Question::new(permitted().build(), asked(), true);
    ask("a wildcard, allowed", &Authorizer::new(wild), &[one]);

    let own = roles(rules, |roles, rule| roles.permits_own(&permission(rule)))?;
    let mut one = Question::new(permitted().build(), asked(), true);
    one.object = one.object.owner(one.caller.key().to_string());
    ask("an object of the caller's own, allowed", &Authorizer::new(own), &[one]);

    let live = LiveRoles::new(plain.clone());
    let authorizer = Authorizer::new(&live);
    let one = Question::new(permitted().build(), asked(), true);
    while_changing(&live, rules, |counted| {
        let right = |it: &Question| authorizer.may(&it.caller, &it.action, &it.object) == it.answer;
        // Nobody else allocates while it is counted.
        let figures = Figures::of(|| in_turn(std::slice::from_ref(&one), now, right), || 0);
        let allocations = counted(&|| assert!(right(&one), "the benchmark measures what is right"));
        say("roles that change 100 times a second, allowed", Figures { allocations, ..figures });
    })?;

    let layer = AuthorizeLayer::new(plain).require(asked());
    let with = |identity: Identity| {
        let without = Figures::of(|| through(|end| end, &identity), allocated);
        let with = Figures::of(|| through(|end| layer.layer(end), &identity), allocated);
        let [one, two] = without.nanos;
        let nanos = [with.nanos[0] - one, with.nanos[1] - two];
        Figures { nanos, allocations: with.allocations - without.allocations }
    };
    say("the layer, allowed", with(permitted().build()));

    floor(rules, say);
    Ok(())
}

/// What it costs at least: a map of roles and a map of permissions as the standard library has them, and a bit.
fn floor(rules: usize, say: impl Fn(&str, Figures)) {
    let numbers: HashMap<String, usize> =
        (0..rules / EACH).map(|number| (role(number), number)).collect();
    let words = (rules / EACH).div_ceil(64);
    let permits = |rule: usize| {
        let (mut bits, number) = (vec![0_u64; words], rule / EACH);
        bits.iter_mut().skip(number / 64).take(1).for_each(|word| *word |= 1 << (number % 64));
        (permission(rule), bits)
    };
    let permissions: HashMap<String, Vec<u64>> = (0..rules).map(permits).collect();
    let may = |(role, permission): &(String, String)| {
        let has = |number: &usize| {
            let bits = permissions.get(permission)?;
            Some(bits.get(number / 64)? & (1 << (number % 64)) != 0)
        };
        numbers.get(role).and_then(has).unwrap_or(false)
    };
    let question = |rule: usize| (role(rule / EACH), permission(rule));
    let one = [question(rules / 2)];
    say("two plain look-ups, allowed", Figures::of(|| in_turn(&one, now, may), allocated));
    let all: Vec<_> = mixed(PEOPLE).map(|person| question(person % rules)).collect();
    say(
        "10 000 questions in turn, two plain look-ups",
        Figures::of(|| in_turn(&all, now, may), allocated),
    );
}

/// The same with people who have one role each.
fn with_bindings(to: &Roles, rules: usize, people: usize) -> Result<Roles, BoxError> {
    let mut model = to.model().clone();
    for person in 0..people {
        model.put_binding(binding(person, person % (rules / EACH)));
    }
    Ok(Roles::try_from(model)?)
}

fn binding(person: usize, number: usize) -> Binding {
    Binding::of(ISSUER, None, format!("5f2a7c1e-{person}"), role(number))
}

/// Does `look` while another thread changes roles. What it is given counts how often something allocates between two changes.
fn while_changing(
    live: &LiveRoles,
    rules: usize,
    look: impl FnOnce(&dyn Fn(&dyn Fn()) -> f64),
) -> Result<(), BoxError> {
    let other = role(0);
    let edits = [
        RoleEdit::permit(other.as_str(), "magazines:read"),
        RoleEdit::forbid(other.as_str(), "magazines:read"),
    ];
    let (is_over, pause) = (AtomicBool::new(false), std::sync::Mutex::new(()));
    let (is_over, pause) = (&is_over, &pause);
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let since = now();
            for (edit, turn) in edits.iter().cycle().zip(1_u32..) {
                if is_over.load(Ordering::Relaxed) {
                    let rate = f64::from(turn - 1) / (now() - since).as_secs_f64();
                    eprintln!("{rules} rules changed {rate:.0} times a second");
                    break;
                }
                let held = pause.lock();
                live.change(std::slice::from_ref(edit))?;
                drop(held);
                thread::sleep((since + EVERY * turn).saturating_duration_since(now()));
            }
            Ok::<_, portcullis::authz::RoleError>(())
        });
        look(&|one| {
            let _held = pause.lock();
            let before = allocated();
            (0..1_000).for_each(|_| one());
            f64::from(u32::try_from(allocated() - before).unwrap_or(u32::MAX)) / 1e3
        });
        is_over.store(true, Ordering::Relaxed);
        Ok(writer.join().map_err(|_| "the writer failed")??)
    })
}

/// An endpoint that keeps each request, so that none is freed while time is measured.
#[derive(Clone, Default)]
struct Kept(Rc<RefCell<Vec<Request<Body>>>>);

impl Service<Request<Body>> for Kept {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Cx<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }
    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.borrow_mut().push(request);
        ready(Ok(Response::new(Body::empty())))
    }
}

/// Sends requests of a caller through a layer, and says how long that took, without what it takes to make them.
fn through<S>(layer: impl FnOnce(Kept) -> S, identity: &Identity) -> impl FnMut(u32) -> Duration
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    const AT_ONCE: u32 = 64;
    let kept = Kept::default();
    let mut service = layer(kept.clone());
    move |count| {
        let mut took = Duration::ZERO;
        for _ in 0..count.div_ceil(AT_ONCE) {
            let requests: Vec<_> = (0..AT_ONCE).map(|_| request(identity)).collect();
            let since = now();
            for request in requests {
                let mut call = std::pin::pin!(service.call(request));
                let answer = call.as_mut().poll(&mut Cx::from_waker(Waker::noop()));
                let is_right = matches!(answer, Poll::Ready(Ok(answer)) if answer.status() == 200);
                assert!(is_right, "the benchmark measures what succeeds");
            }
            took += now() - since;
            kept.0.borrow_mut().clear();
        }
        took * count / (count.div_ceil(AT_ONCE) * AT_ONCE)
    }
}

fn request(identity: &Identity) -> Request<Body> {
    let mut request = Request::new(Body::empty());
    Context::of(&mut request).set_auth(AuthState::Authenticated(identity.clone()));
    request
}

fn compile() -> Result<(), BoxError> {
    let many = 10_000;
    let written = |inherits: fn(usize) -> Option<usize>| {
        let mut roles = Roles::builder();
        for number in 0..many {
            roles = roles.role(&role(number));
            for permission in 0..EACH {
                roles =
                    roles.permits(&format!("books-{}:read", (number + permission * 997) % many));
            }
            if let Some(junior) = inherits(number) {
                roles = roles.inherits(&role(junior));
            }
        }
        roles
    };
    let flat = timed("10 000 roles, 10 000 permissions", || Ok(written(|_| None).build()?))?;
    let tree = |number: usize| (number > 0).then(|| (number - 1) / 10);
    timed("the same, each inherits from one of ten above it", || Ok(written(tree).build()?))?;
    timed("the same, each inherits from the one before it", || {
        Ok(written(|number| number.checked_sub(1)).build()?)
    })?;
    changes("a change of them", flat)?;
    let bound = |roles: Roles| with_bindings(&roles, many, BINDINGS);
    let few = timed("1 000 roles, 10 000 permissions, 100 000 bindings", || {
        bound(roles(many, |roles, rule| roles.permits(&permission(rule)))?)
    })?;
    changes("a change of them", few.clone())?;
    let mut model = few.model().clone();
    model.apply(&RoleEdit::separate_statically("two", [role(1), role(2)], 2))?;
    changes("a change of them, two roles kept apart", Roles::try_from(model)?)?;
    let mut model = few.model().clone();
    for number in 0..many {
        model.put_binding(binding(0, 0).at(format!("/books/{number}")));
    }
    changes("a change of them, 10 000 more of one caller", Roles::try_from(model)?)?;
    Ok(())
}

/// Says how long it took to make something, and how much of the heap that holds.
fn timed(name: &str, make: impl FnOnce() -> Result<Roles, BoxError>) -> Result<Roles, BoxError> {
    let (region, since) = (Region::new(ALLOCATOR), now());
    let roles = make()?;
    let took = (now() - since).as_secs_f64() * 1e3;
    let counted = region.change();
    let held = counted.bytes_allocated.saturating_sub(counted.bytes_deallocated);
    println!("{name}: {took:.0} ms, {} KiB", held / 1024);
    Ok(roles)
}

/// Says how long one change takes, of several.
fn changes(name: &str, roles: Roles) -> Result<(), BoxError> {
    const TURNS: usize = 11;
    let live = LiveRoles::new(roles);
    let mut times = Vec::new();
    for turn in 0..TURNS {
        let edit = RoleEdit::Assign(Binding::of(ISSUER, None, format!("new-{turn}"), role(0)));
        let since = now();
        live.change(&[edit])?;
        times.push(now() - since);
    }
    times.sort_unstable();
    let median = times.get(TURNS / 2).copied().unwrap_or_default().as_secs_f64() * 1e3;
    println!("{name}: {median:.1} ms, -");
    Ok(())
}
