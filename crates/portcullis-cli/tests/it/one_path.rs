//! One path: what was routed and authorized is what the back end gets, whatever a client sends.
//!
//! The corpora lie in the folder that `PORTCULLIS_VECTORS` names, or beside the project in `shared/vectors`.
use std::path::PathBuf;

use portcullis_core::{TargetRules, canonical_path};
use proptest::prelude::*;

use crate::support::{Backend, Client, Serving, guarded};

/// Sends requests for paths one after the other, on one connection as long as it lasts.
struct Asking<'a> {
    front: &'a Serving,
    backend: &'a Backend,
    client: Option<Client>,
    asked: usize,
    reached: usize,
}

impl Asking<'_> {
    async fn ask(&mut self, path: &str) {
        // What ends a request line is no path.
        if path.bytes().any(|byte| byte == b'\r' || byte == b'\n') {
            return;
        }
        let mut client = match self.client.take() {
            Some(client) => client,
            None => self.front.connect().await,
        };
        client.send(format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n\r\n")).await;
        self.asked += 1;
        let answer = client.answer().await.unwrap_or_else(|| panic!("{path:?} was not answered"));
        assert!(
            answer.status == 200 || (400..500).contains(&answer.status),
            "{path:?}: {answer:?}"
        );
        if answer.header("connection") != Some("close") {
            self.client = Some(client);
        }
        let seen = self.backend.seen();
        assert_eq!(seen.len(), usize::from(answer.status == 200), "{path:?}: {seen:#?}");
        for request in seen {
            self.reached += 1;
            let target = request.split(' ').nth(1).unwrap();
            let path_at_b = target.split('?').next().unwrap();
            let canonical = canonical_path(path_at_b, &TargetRules::strict());
            assert_eq!(canonical.as_deref(), Ok(path_at_b), "{path:?} came as {target:?}");
            // Nobody has said who they are, so only what is public is reached.
            let is_public = path_at_b == "/public" || path_at_b.starts_with("/public/");
            assert!(is_public, "{path:?} came as {target:?}");
        }
    }
}

fn corpus() -> Vec<String> {
    let mut lines: Vec<String> =
        ["../admin", "..%2fadmin", "%2e%2e/admin", "..;/admin", "/admin/x", "..\\admin", "x"]
            .map(str::to_owned)
            .to_vec();
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let folder = std::env::var_os("PORTCULLIS_VECTORS").map_or(default, PathBuf::from);
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "there are no vectors in {}", folder.display());
        eprintln!("skipped the corpora: there are no vectors in {}", folder.display());
        return lines;
    }
    for file in std::fs::read_dir(folder.join("payloadsallthethings")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        lines.extend(text.lines().map(|line| line.replace("{FILE}", "admin/secret")));
    }
    let cases = std::fs::read_to_string(folder.join("url/urltestdata.json")).unwrap();
    let cases: Vec<serde_json::Value> = serde_json::from_str(&cases).unwrap();
    let texts = cases.iter().flat_map(|case| ["input", "pathname"].map(|key| case[key].as_str()));
    lines.extend(texts.flatten().map(str::to_owned));
    assert!(lines.len() > 3_000, "the corpora have shrunk to {} lines", lines.len());
    lines
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_line_of_the_corpora_parts_the_paths() {
    let backend = Backend::hello().await;
    let front = Serving::start(&guarded(backend.address)).await;
    let mut asking =
        Asking { front: &front, backend: &backend, client: None, asked: 0, reached: 0 };
    for line in corpus() {
        for prefix in ["/", "/public/", "/admin/"] {
            asking.ask(&format!("{prefix}{line}")).await;
        }
    }
    let (asked, reached) = (asking.asked, asking.reached);
    // The corpora must neither all be refused before they are read nor all pass.
    assert!(reached > 100 && reached < asked / 2, "{reached} of {asked}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]
    #[test]
    fn whatever_is_sent_one_path_is_seen(
        paths in proptest::collection::vec(
            "(/(public|admin|api|\\.|\\.\\.|%2e|%2E%2e|\\.%2e|%61dmin|%2f|%5c|;|%3b|a:b|a%3ab|%252e|[a-z%.;:@?#]{0,4})){1,6}",
            100,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let backend = Backend::hello().await;
            let front = Serving::start(&guarded(backend.address)).await;
            let mut asking =
                Asking { front: &front, backend: &backend, client: None, asked: 0, reached: 0 };
            for path in &paths {
                asking.ask(path).await;
            }
        });
    }
}
