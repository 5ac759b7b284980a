//! Neither a key nor its digest is told to anybody.
use portcullis_authn::ApiKey;
use portcullis_core::Routes;
use portcullis_testkit::get;
use sha2::{Digest, Sha256};
use tower::{Layer, ServiceBuilder};

use crate::support::{KEY, WhoAmI, context_after, keys, layer, secret};

/// The shapes in which a digest could be printed.
fn digests(key: &str) -> [String; 3] {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let join = |print: fn(&u8) -> String, between| {
        digest.iter().take(8).map(print).collect::<Vec<_>>().join(between)
    };
    [
        join(|byte| format!("{byte:02x}"), ""),
        join(|byte| format!("{byte:02X}"), ""),
        join(u8::to_string, ", "),
    ]
}

#[track_caller]
fn assert_tells_nothing(what: &str, text: &str, key: &str) {
    assert!(!text.contains(key), "{what}: {text}");
    for digest in digests(key) {
        assert!(!text.contains(&digest), "{what}: {text}");
    }
}

#[test]
fn debug_prints_neither_key_nor_digest() {
    let layer = layer();
    let service = layer.layer(WhoAmI::default());
    for (what, text) in [
        ("the keys", format!("{:?}", keys())),
        ("the layer", format!("{layer:?}")),
        ("the service", format!("{service:?}")),
    ] {
        assert_tells_nothing(what, &text, KEY);
    }
    assert!(format!("{:?}", keys()).contains("keys: 1"), "how many there are may be known");
}

#[test]
fn debug_of_a_single_key_prints_neither_key_nor_digest() {
    let key = ApiKey::new("ci", secret(KEY)).role("clerk");
    assert_tells_nothing("a key", &format!("{key:?}"), KEY);
    assert!(format!("{key:?}").contains("ci"), "whose key it is may be known");
}

#[tokio::test]
async fn no_key_is_in_what_a_log_could_print() {
    let routes = Routes::builder().get("/open", ()).public().get("/", ()).optional();
    let layers = ServiceBuilder::new().layer(routes.build().unwrap().layer()).layer(layer());
    let service = layers.service(WhoAmI::default());
    for (path, key, told) in [
        ("/", KEY, "api-key||ci"),
        ("/", "k-guessed-by-a-stranger", "an unknown key"),
        ("/open", KEY, "anonymous"),
        ("/open", "k-guessed-by-a-stranger", "anonymous"),
    ] {
        let context = context_after(service.clone(), get(path).header("x-api-key", key)).await;
        let notes = context.explain().unwrap().notes();
        let cause = context.problem().and_then(|problem| problem.cause_error());
        let said = format!("{context:?} {notes:?} {:?} {cause:?}", context.problem());
        assert_tells_nothing("notes, context and problem", &said, key);
        assert!(said.contains(told), "{said}");
    }
}
