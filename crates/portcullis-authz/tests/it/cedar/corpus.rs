//! Every request of Cedar's own integration tests gets the decision that they say, for the reasons that they say.
//!
//! They lie in the folder that `PORTCULLIS_VECTORS` names, or beside the project in `shared/vectors`.
use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use portcullis_authz::cedar::CedarPolicies;
use portcullis_authz::cedar::cedar_policy::{
    Context, Decision, Entities, EntityUid, Request, Schema,
};
use serde_json::Value;

/// The files of a test by their names, as the tests name them.
type Files = HashMap<String, String>;

/// Where the tests lie. Where there are none they are skipped visibly, but not in CI.
fn folder() -> Option<PathBuf> {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    let folder = folder.join("cedar");
    if folder.exists() {
        return Some(folder);
    }
    assert!(std::env::var_os("CI").is_none(), "there are no vectors in {}", folder.display());
    eprintln!("skipped: there are no vectors in {}", folder.display());
    None
}

fn archive(path: &Path) -> Files {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let entries = archive.entries().unwrap().map(Result::unwrap);
    let files = entries.filter(|entry| entry.header().entry_type().is_file()).map(|mut entry| {
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        (name, text)
    });
    files.collect()
}

fn unpacked(folder: &Path, under: &str, files: &mut Files) {
    for entry in std::fs::read_dir(folder.join(under)).unwrap().map(Result::unwrap) {
        let name = format!("{under}/{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            unpacked(folder, &name, files);
        } else {
            files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

fn is_test(name: &str) -> bool {
    let path = Path::new(name);
    path.extension().is_some_and(|it| it == "json") && !name.ends_with("entities.json")
}

/// Runs every test of these files on all cores. How many tests, and how many requests.
fn run(files: &Files) -> (usize, usize) {
    let tests: Vec<&String> = files.keys().filter(|name| is_test(name)).collect();
    let (next, requests) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(name) = tests.get(next.fetch_add(1, Ordering::Relaxed)) {
                    requests.fetch_add(check(files, name), Ordering::Relaxed);
                }
            });
        }
    });
    (tests.len(), requests.into_inner())
}

/// Runs one test. How many requests it has.
fn check(files: &Files, name: &str) -> usize {
    let test: Value = serde_json::from_str(&files[name]).unwrap();
    let file = |key: &str| &files[test[key].as_str().unwrap()];
    let policies = file("policies");
    let schema = file("schema");
    let strict = CedarPolicies::builder(policies).schema(schema).allow_impossible().build();
    let validates = test["shouldValidate"].as_bool().unwrap();
    assert_eq!(strict.is_ok(), validates, "{name}: {strict:?}");
    let policies = strict.unwrap_or_else(|errors| {
        let all_of_policies = errors.iter().all(|it| it.place().starts_with("Cedar policy `"));
        assert!(all_of_policies, "{name}: {errors}");
        // Those that do not fit the schema decide as well.
        CedarPolicies::new(policies).unwrap_or_else(|error| panic!("{name}: {error}"))
    });
    let (schema, _) = Schema::from_cedarschema_str(schema).unwrap();
    let entities = Entities::from_json_str(file("entities"), Some(&schema)).unwrap();
    let requests = test["requests"].as_array().unwrap();
    for asked in requests {
        let place = format!("{name}: {}", asked["description"]);
        let uid = |key: &str| EntityUid::from_json(asked[key].clone()).unwrap();
        let action = uid("action");
        let context = Context::from_json_value(asked["context"].clone(), Some((&schema, &action)));
        let is_checked = asked.get("validateRequest").is_none_or(|it| it.as_bool().unwrap());
        let schema = is_checked.then_some(&schema);
        let request =
            Request::new(uid("principal"), action, uid("resource"), context.unwrap(), schema);
        let answer = policies.decide(&request.unwrap(), &entities);

        let decision = match asked["decision"].as_str().unwrap() {
            "allow" => Decision::Allow,
            "deny" => Decision::Deny,
            other => panic!("{place}: {other}"),
        };
        assert_eq!(answer.decision(), decision, "{place}");
        let names = |key: &str| -> BTreeSet<&str> {
            asked[key].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
        };
        assert_eq!(answer.determining().collect::<BTreeSet<_>>(), names("reason"), "{place}");
        let erroring = answer.erroring().map(|(name, _)| name);
        assert_eq!(erroring.collect::<BTreeSet<_>>(), names("errors"), "{place}");
    }
    requests.len()
}

#[test]
fn every_generated_request_is_decided_as_cedar_says() {
    let Some(folder) = folder() else { return };
    assert_eq!(run(&archive(&folder.join("corpus-tests.tar.gz"))), (7_809, 62_472));
}

#[test]
fn every_request_that_somebody_wrote_is_decided_as_cedar_says() {
    let Some(folder) = folder() else { return };
    let mut files = Files::new();
    for under in ["tests", "sample-data"] {
        unpacked(&folder, under, &mut files);
    }
    assert_eq!(run(&files), (22, 74));
}
