//! The matrix, held against what callers really get.
use std::fmt::Write;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::Value;

use crate::support::{Backend, Serving, program, within};

/// Numbers that look random, and are the same each time.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
    pub(crate) fn one_in(&mut self, limit: usize) -> bool {
        self.below(limit) == 0
    }
    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

pub(crate) fn hash(key: &str) -> String {
    let digest = digest(&SHA256, key.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

const PERMISSIONS: [&str; 9] = [
    "books:read",
    "books:write",
    "orders:read",
    "orders:write",
    "orders:audit:all",
    "books:*",
    "orders:*",
    "*:read",
    "*",
];
const ASKED: [&str; 6] =
    ["books:read", "books:write", "orders:read", "orders:write", "orders:audit:all", "vault:read"];

/// A file with random roles and routes; each role has a key that is called like it.
fn generated(backend: &Backend, seed: u64) -> String {
    let mut dice = Dice::new(seed);
    let mut text = format!(
        "[server]\nlisten = [\"http://127.0.0.1:0\"]\nworkers = 1\n[telemetry]\naccess_log = \"off\"\n[upstreams.b]\nservers = [\"http://{}\"]\n[auth.api_key]\nkeys = [\n  {{ id = \"(anybody)\", hash = \"{}\", scopes = [\"s1\", \"s2\"] }},\n",
        backend.address,
        hash("(anybody)")
    );
    let roles: Vec<String> = (0..2 + dice.below(5)).map(|role| format!("role{role}")).collect();
    for role in &roles {
        writeln!(
            text,
            "  {{ id = \"{role}\", hash = \"{}\", roles = [\"{role}\"], scopes = [\"s1\", \"s2\"] }},",
            hash(role)
        )
        .unwrap();
    }
    text.push_str("]\n");
    let all = |texts: Vec<&str>| format!("[\"{}\"]", texts.join("\", \"")).replace("[\"\"]", "[]");
    for (at, role) in roles.iter().enumerate() {
        let permissions: Vec<_> = (0..dice.below(4)).map(|_| *dice.of(&PERMISSIONS)).collect();
        let permissions = if at == 0 { vec!["*"] } else { permissions };
        // From those before it, so that there is no circle.
        let inherits: Vec<_> = (0..dice.below(3))
            .filter(|_| at > 1)
            .map(|_| &*roles[1 + dice.below(at - 1)])
            .collect();
        writeln!(
            text,
            "[roles.{role}]\npermissions = {}\ninherits = {}",
            all(permissions),
            all(inherits)
        )
        .unwrap();
    }
    for route in 0..4 + dice.below(6) {
        let methods = dice.of(&["", ", methods = [\"GET\"]", ", methods = [\"POST\", \"DELETE\"]"]);
        let path =
            dice.of(&["/r{N}", "/r{N}/{id}", "/r{N}/{*rest}"]).replace("{N}", &route.to_string());
        let scopes = dice.of(&["", ", scopes = [\"s1\"]", ", scopes = [\"s1\", \"s2\"]"]);
        let issuers = dice.of(&["", "", ", issuers = [\"api_key\"]"]);
        let access = match dice.below(5) {
            0 => "\"public\"".to_owned(),
            1 => "\"optional\"".to_owned(),
            2 => "\"authenticated\"".to_owned(),
            _ => format!("{{ permission = \"{}\"{scopes}{issuers} }}", dice.of(&ASKED)),
        };
        let step_up = if access == "\"public\"" {
            &""
        } else {
            dice.of(&["", "", "step_up = true\n", "step_up = { max_age = \"5m\" }\n"])
        };
        writeln!(
            text,
            "[[routes]]\nmatch = {{ path = \"{path}\"{methods} }}\naccess = {access}\n{step_up}to = \"b\""
        )
        .unwrap();
    }
    text
}

/// Every cell of 20 generated files is what a request with that caller's key gets.
#[tokio::test]
async fn every_cell_is_what_a_caller_really_gets() {
    let backend = Backend::hello().await;
    let (mut cells, mut words) = (0, std::collections::BTreeMap::<String, usize>::new());
    for seed in 1..=20 {
        let text = generated(&backend, seed);
        let front = Serving::start(&text).await;
        let printed = program().args(["matrix", "--json", "--config"]).arg(front.path()).output();
        let printed = within(printed).await.unwrap();
        assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
        let rows: Vec<Value> = serde_json::from_slice(&printed.stdout).unwrap();
        let mut client = front.connect().await;
        for row in &rows {
            let template = row["path"].as_str().unwrap();
            let path = template.replace("{id}", "7").replace("{*rest}", "a/b");
            let methods = match row["method"].as_str().unwrap() {
                "*" => vec!["GET", "POST", "PUT"],
                method => vec![method],
            };
            for (caller, cell) in row["callers"].as_object().unwrap() {
                for method in &methods {
                    let key = match caller.as_str() {
                        "(nobody)" => String::new(),
                        caller => format!("x-api-key: {caller}\r\n"),
                    };
                    client
                        .send(format!(
                            "{method} {path} HTTP/1.1\r\nhost: h\r\n{key}content-length: 0\r\n\r\n"
                        ))
                        .await;
                    let answer = client.answer().await.unwrap();
                    let word = cell["verdict"].as_str().unwrap();
                    let (status, problem) = match (word, caller.as_str()) {
                        ("allow", _) => (200, None),
                        ("deny", "(nobody)") => (401, Some("authentication-required")),
                        ("deny", _) => (403, Some("permission-denied")),
                        ("step-up", _) => (401, Some("step-up-required")),
                        other => panic!("{other:?}"),
                    };
                    let what = format!("{method} {path} by {caller}: {cell}, seed {seed}\n{text}");
                    assert_eq!(answer.status, status, "{what}");
                    if let Some(problem) = problem {
                        assert!(answer.text().contains(problem), "{what}: {}", answer.text());
                    }
                    cells += 1;
                    *words.entry(word.to_owned()).or_default() += 1;
                }
            }
        }
    }
    assert!(cells > 1_000, "{cells}");
    for word in ["allow", "deny", "step-up"] {
        assert!(words[word] > 100, "{words:?}");
    }
}
