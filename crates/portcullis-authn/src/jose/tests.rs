//! Against other people's vectors.
use serde_json::Value;

use super::*;

fn vectors(file: &str) -> Value {
    serde_json::from_slice(&crate::vectors::vectors(file)).unwrap()
}

fn accepts(keys: &Value, token: &str) -> bool {
    let keys = Keys::from_jwks(keys.to_string().as_bytes());
    keys.is_ok_and(|keys| Token::read(token).and_then(|token| keys.verify(&token)).is_ok())
}

const VALID_357: &str = "eyJraWQiOiJoczI1Ni1rZXkiLCJhbGciOiJIUzI1NiJ9.VGVzdA.c1LROH7eNQwUT8KMVEO52VC3WZ9e_AnDWbZ7aMmowV8";

/// What must be refused is refused; what need not be accepted and is not stands here.
#[test]
fn wycheproof_finds_no_false_accept() {
    let (mut cases, mut wrong) = (0, Vec::new());
    for (file, strict) in [
        ("json_web_signature_test.json", &[346, 347, 350, 351, 372, 373][..]),
        ("json_web_key_test.json", &[]),
        ("json_web_crypto_test.json", &[]),
    ] {
        let suite = vectors(&format!("wycheproof/{file}"));
        for group in suite["testGroups"].as_array().unwrap() {
            // The public half, where there is one.
            let keys = group.get("public").or(group.get("private")).unwrap();
            for case in group["tests"].as_array().unwrap() {
                let Some(token) = case.get("jws").and_then(Value::as_str) else { continue };
                let id = case["tcId"].as_u64().unwrap();
                cases += 1;
                if file == "json_web_signature_test.json" && [367, 370].contains(&id) {
                    // They are said to be invalid, and are byte for byte the valid token of case 357.
                    assert_eq!(token, VALID_357);
                    continue;
                }
                let want = case["result"] == "valid" && !strict.contains(&id);
                if accepts(keys, token) != want {
                    wrong.push(format!(
                        "{file} {id} {}: {}, {}",
                        case["comment"], case["result"], group["comment"]
                    ));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert!(cases >= 475, "{cases}");
}

/// The examples of RFC 7520, RFC 8037 and RFC 7515, as far as they are compact.
#[test]
fn the_examples_of_the_rfcs_are_good_and_a_bit_of_them_is_not() {
    let files =
        ["jws/4_1.rsa_v15_signature", "jws/4_2.rsa-pss_signature", "jws/4_3.ecdsa_signature"];
    let files =
        files.into_iter().chain(["jws/4_4.hmac-sha2_integrity_protection", "curve25519/jws"]);
    let cookbook = files.map(|file| {
        let example = vectors(&format!("jose-cookbook/{file}.json"));
        let token = example["output"]["compact"].as_str().unwrap().to_owned();
        (example["input"]["key"].clone(), token)
    });
    let rfc = vectors("rfc/rfc-and-webhook-vectors.json")["rfc7515_a1_hs256"].clone();
    let rfc = (rfc["jwk"].clone(), rfc["jws"].as_str().unwrap().to_owned());
    for (key, token) in cookbook.chain([rfc]) {
        assert!(accepts(&key, &token), "{token}");
        for at in 0..token.len() {
            let other = if token.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = token.clone();
            changed.replace_range(at..=at, other);
            assert!(!accepts(&key, &changed), "{changed}");
        }
    }
}
