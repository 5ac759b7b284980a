//! Stacks that compile, and stacks that do not, with what the compiler says at the guilty layer.
//!
//! The files in `tests/ui/pairs` are made of the table in `tests/stages.md`. After a change of the table, run the test
//! with `PORTCULLIS_WRITE_PAIRS=1`; after a change of a message, with `TRYBUILD=overwrite`.
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::stages::table;

const LAYERS: [&str; 9] =
    ["Observe", "Edge", "Shed", "Route", "PreLimit", "Authenticate", "Limit", "Authorize", "Cache"];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui").join(name)
}

fn layer(name: &str) -> &'static str {
    match name {
        "Observe" => "ObserveLayer::default()",
        "Edge" => "EdgeLayer::default()",
        "Shed" => "RateLimitLayer::before_routing()",
        "Route" => "routes().layer()",
        "PreLimit" => "RateLimitLayer::before_authentication()",
        "Authenticate" => "AuthenticateLayer::new()",
        "Limit" => "RateLimitLayer::in_memory()",
        "Authorize" => "AuthorizeLayer::new(roles())",
        _ => "CacheLayer::in_memory(1 << 20)",
    }
}

fn in_front(outer: &str) -> &'static [&'static str] {
    match outer {
        "Route" => &["Edge"],
        "Limit" => &["Authenticate"],
        "Authorize" => &["Edge", "Route", "Authenticate"],
        _ => &[],
    }
}

/// One file for what may stand behind `outer`, one for what may not.
fn pairs(outer: &str, allowed: bool) -> String {
    let table = table("# Which of our layers");
    let mut file =
        String::from("//! Made of the table in tests/stages.md.\nuse portcullis::prelude::*;\n\n");
    file.push_str("fn routes() -> Routes<(), Restricted> {\n    Routes::builder().get(\"/\", ()).authenticated().build().unwrap()\n}\n");
    file.push_str("fn roles() -> Roles {\n    Roles::builder().build().unwrap()\n}\n");
    for inner in LAYERS {
        let cell = &table[&(outer.to_owned(), inner.to_owned())];
        if (cell == "+") != allowed {
            continue;
        }
        writeln!(file, "\nfn {}_{}() {{", outer.to_lowercase(), inner.to_lowercase()).unwrap();
        writeln!(file, "    let _ = Stack::new()").unwrap();
        for name in in_front(outer).iter().copied().chain([outer]) {
            writeln!(file, "        .layer({})", layer(name)).unwrap();
        }
        writeln!(file, "        .layer({});\n}}", layer(inner)).unwrap();
    }
    let calls = "\nfn main() {\n    let _ = (routes, roles);\n}\n";
    file + calls
}

#[test]
fn the_compiler_agrees_with_the_table() {
    let cases = trybuild::TestCases::new();
    for outer in LAYERS {
        for (allowed, what) in [(true, "allowed"), (false, "refused")] {
            let path = folder("pairs").join(format!("{}_{what}.rs", outer.to_lowercase()));
            let file = pairs(outer, allowed);
            if !file.contains("Stack::new()") {
                continue;
            }
            if std::env::var_os("PORTCULLIS_WRITE_PAIRS").is_some() {
                std::fs::write(&path, &file).unwrap();
            }
            let on_disk = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(on_disk, file, "{} is not what the table says", path.display());
            if allowed { cases.pass(&path) } else { cases.compile_fail(&path) }
        }
    }
    cases.pass("tests/ui/stacks/allowed.rs");
    cases.compile_fail("tests/ui/stacks/refused_*.rs");
}

#[test]
fn each_refusal_names_what_is_wrong() {
    let table = table("# Which of our layers");
    for outer in LAYERS {
        let path = folder("pairs").join(format!("{}_refused.stderr", outer.to_lowercase()));
        // Where another type has the name of the stage, the compiler prints its path.
        let messages = std::fs::read_to_string(&path).unwrap().replace("portcullis::stage::", "");
        for inner in LAYERS {
            let wanted = match table[&(outer.to_owned(), inner.to_owned())].as_str() {
                "order" => {
                    format!("a layer of stage `{inner}` cannot stand behind one of stage `{outer}`")
                }
                "needs" => format!("`{inner}` needs"),
                _ => continue,
            };
            assert!(messages.contains(&wanted), "{}: no `{wanted}`", path.display());
        }
    }
}
