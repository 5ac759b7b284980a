//! The public tests of HTTP caches (`http-tests/cache-tests`), run by a client and an origin of our own against `portcullis serve`.
//!
//! The definitions are data: `cache-tests/cache-tests.json` in the folder that `PORTCULLIS_VECTORS` names, or beside the project in
//! `shared/vectors`. Time is real: what lives two seconds is asked for again after three.
mod client;
mod date;
mod definition;
mod judge;
mod message;
mod origin;
mod score;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;

use crate::support::Serving;
use definition::{Kind, Test};
use judge::{Fault, Verdict};
use origin::Origin;
use score::{Outcome, Score};

/// How many tests are under way at once. Nearly all their time is pauses.
const AT_ONCE: usize = 60;
const PAUSE: Duration = Duration::from_secs(3);

fn definitions() -> Option<Vec<Arc<Test>>> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    let path = folder.join("cache-tests/cache-tests.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("CI").is_none(), "there is no {}", path.display());
        eprintln!("skipped: there is no {}", path.display());
        return None;
    };
    let tests: Vec<_> = definition::read(&text).into_iter().map(Arc::new).collect();
    assert!(tests.len() >= 272, "the suite has shrunk to {} tests", tests.len());
    Some(tests)
}

/// Runs one test against whoever listens at `front`.
async fn run(origin: &Origin, front: SocketAddr, at: usize, test: &Arc<Test>) -> Verdict {
    // As long as the bodies that the definitions give a length.
    let id = format!("{at:08x}-0000-4000-8000-{at:012x}");
    origin.begin(&id, test);
    let path = format!("/test/{id}");
    let mut answers = Vec::new();
    for (at, exchange) in test.exchanges.iter().enumerate() {
        let number = at + 1;
        let got = client::ask(front, &path, number, exchange, answers.last()).await;
        let got = got.ok_or_else(|| Fault::Failed(format!("request {number} got no answer")))?;
        judge::answer(&id, number, exchange, &got)?;
        answers.push(got);
        if exchange.pause_after {
            tokio::time::sleep(PAUSE).await;
        }
    }
    judge::origin(test, &answers, &origin.seen(&id))
}

async fn run_all(
    origin: &Origin,
    front: SocketAddr,
    tests: &[Arc<Test>],
) -> Vec<(Arc<Test>, Verdict)> {
    let runs = tests
        .iter()
        .enumerate()
        .map(|(at, test)| async move { (Arc::clone(test), run(origin, front, at, test).await) });
    futures_util::stream::iter(runs).buffer_unordered(AT_ONCE).collect().await
}

/// A gateway in front of the origin, with this in its file, and this at its one route.
fn gateway(origin: &Origin, tables: &str, route: &str) -> String {
    format!(
        r#"
[server]
listen = ["http://127.0.0.1:0"]
workers = 1
[telemetry]
access_log = "off"
{tables}
[upstreams.origin]
servers = ["http://{}"]
retries = 0
[[routes]]
match = {{ path = "/{{*rest}}", methods = ["GET", "POST", "PUT", "DELETE", "M-SEARCH"] }}
access = "public"
to = "origin"
{route}
"#,
        origin.address
    )
}

/// The misses that `docs/caching-conformance.md` gives a reason for: rows of its tables that begin with the name of a test and its kind.
fn explained(kind: Kind) -> BTreeSet<String> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/caching-conformance.md");
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter_map(|line| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        let name = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
        let (is, why) = (cells.next()?, cells.next()?);
        (is == kind.name() && !why.is_empty()).then(|| name.to_owned())
    });
    rows.collect()
}

/// The preset `rfc`: every test that is required, nearly all that an optimal cache passes, and a reason for every other one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_preset_of_the_standard_passes() {
    let Some(tests) = definitions() else { return };
    let origin = Origin::start().await;
    let tables = "[cache]\ncapacity = \"64MiB\"\npreset = \"rfc\"";
    let front = Serving::start(&gateway(&origin, tables, "cache = true")).await;
    let results = run_all(&origin, front.address, &tests).await;
    let score = Score::new(&results);
    eprintln!("{}", score.table());
    let required = score.count(Kind::Required, Some(Outcome::Passed));
    assert_eq!(required, score.count(Kind::Required, None), "required\n{}", score.table());
    let optimal = score.count(Kind::Optimal, Some(Outcome::Passed));
    let of = score.count(Kind::Optimal, None);
    assert!(optimal * 100 >= of * 92, "{optimal} of {of} optimal\n{}", score.table());
    for kind in Kind::ALL {
        assert_eq!(score.misses(kind), explained(kind), "{}\n{}", kind.name(), score.table());
    }
}

/// Without a cache little passes that builds on one: the suite can fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_cache_hardly_anything_passes() {
    let Some(tests) = definitions() else { return };
    let origin = Origin::start().await;
    let front = Serving::start(&gateway(&origin, "", "")).await;
    let results = run_all(&origin, front.address, &tests).await;
    let score = Score::new(&results);
    eprintln!("{}", score.table());
    let passed = Kind::ALL.map(|kind| score.count(kind, Some(Outcome::Passed)));
    assert!(passed[0] <= 25 && passed[1] == 0 && passed[2] <= 6, "{}", score.table());
    // And what a gateway alone must do is done.
    assert!(passed[0] >= 10 && passed[2] >= 2, "{}", score.table());
}
