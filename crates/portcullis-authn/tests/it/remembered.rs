//! Tokens that were verified before are judged as if they never were.
use std::collections::HashMap;
use std::time::Duration;

use portcullis_authn::{AuthenticateLayer, RemoteKeys, TokenIssuer};
use portcullis_core::{Routes, authenticated};
use portcullis_testkit::TestClient;
use serde_json::json;
use tower::{Layer, ServiceBuilder, service_fn};

use crate::introspection::Desk;
use crate::rotation::{Provider, ask, whoami};

const HOUR: Duration = Duration::from_secs(3_600);
/// The names of the two issuers, which share the names of their keys and of their subjects.
const ISSUERS: [&str; 2] = ["https://a.example", "https://b.example"];
const KIDS: [&str; 3] = ["one", "two", "three"];

/// `SplitMix64` (Steele, Lea and Flood, 2014), so that a failure comes back with its seed.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }
    fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

fn layer(keys: &[RemoteKeys], most: usize) -> AuthenticateLayer {
    let mut layer = AuthenticateLayer::new().remembered_tokens(most);
    for (name, keys) in ISSUERS.into_iter().zip(keys) {
        let issuer = TokenIssuer::builder(name).audience("shop").remote_keys(keys.clone());
        layer = layer.bearer(issuer.leeway(Duration::ZERO).build().unwrap());
    }
    layer
}

/// One more token, good or not.
fn token(numbers: &mut Numbers, providers: &[Provider], known: &[(String, String)]) -> String {
    let issuer = numbers.below(ISSUERS.len());
    let subject = format!("{issuer}-{}", numbers.below(5));
    let good_for = Duration::from_secs(u64::try_from(numbers.below(600)).unwrap());
    let kid = numbers.one_of(&KIDS);
    let of = |signer: usize| providers[signer].token_of(ISSUERS[issuer], kid, &subject, good_for);
    let other = &known.get(numbers.below(known.len().max(1)));
    match (numbers.below(6), other) {
        // Signed by the other issuer's key of this name.
        (0, _) => of(1 - issuer),
        // The claims of one with the signature of another, or with another header.
        (1, Some((_, other))) => {
            let own = of(issuer);
            let (ours, theirs) = (own.rsplit_once('.').unwrap(), other.rsplit_once('.').unwrap());
            format!("{}.{}", ours.0, theirs.1)
        }
        (2, Some((_, other))) => {
            let mut bytes = other.clone().into_bytes();
            let place = numbers.below(bytes.len());
            bytes[place] = numbers.one_of(b"Aa0_.");
            String::from_utf8(bytes).unwrap()
        }
        _ => of(issuer),
    }
}

async fn run(seed: u64, most: usize) -> [usize; 2] {
    let mut numbers = Numbers(seed);
    let first = Provider::new();
    let mut second = Provider::new();
    second.time = first.time.clone();
    let providers = [first, second];
    for provider in &providers {
        provider.publish(&KIDS);
        provider.publish(&["one"]);
    }
    let keys: Vec<_> =
        providers.iter().map(|provider| provider.remote().every(HOUR * 9).keep(HOUR * 9)).collect();
    let remembers = layer(&keys, most).layer(service_fn(whoami));
    let forgets = layer(&keys, 0).layer(service_fn(whoami));
    // Tokens with whose they are, where it is known.
    let mut tokens: Vec<(String, String)> = Vec::new();
    let mut counts = [0, 0];
    for step in 0..1_500 {
        if tokens.len() < 40 || numbers.below(10) == 0 {
            let token = token(&mut numbers, &providers, &tokens);
            let place = numbers.below(40);
            if let Some(old) = tokens.get_mut(place) {
                *old = (String::new(), token);
            } else {
                tokens.push((String::new(), token));
            }
        }
        if numbers.below(20) == 0 {
            let time = Duration::from_secs(u64::try_from(numbers.below(60)).unwrap());
            providers[0].time.advance(time);
        }
        if numbers.below(50) == 0 {
            let published: Vec<_> = KIDS.into_iter().filter(|_| numbers.below(2) == 0).collect();
            providers[numbers.below(2)].publish(&published);
        }
        let place = numbers.below(tokens.len());
        let (owner, token) = tokens[place].clone();
        // Keys that must be fetched are fetched for the first, and found by the second.
        let want = ask(&forgets, &providers[0], &token).await;
        let got = ask(&remembers, &providers[0], &token).await;
        assert_eq!(got.0, want.0, "seed {seed}, {most} remembered, step {step}: {token}");
        let is_good = got.0 == 200;
        counts[usize::from(is_good)] += 1;
        if is_good {
            assert_eq!(got.1, want.1, "seed {seed}, {most} remembered, step {step}: {token}");
            // It is the same subject each time.
            assert!(owner.is_empty() || owner == got.1, "seed {seed}: {owner} {got:?}");
            tokens[place].0 = got.1;
        }
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_verdict_is_that_of_who_remembers_nothing() {
    for seed in 0..20 {
        for most in [1, 16, 10_000] {
            let [refused, good] = run(seed, most).await;
            assert!(refused > 100 && good > 100, "seed {seed}: {refused} refused, {good} good");
        }
    }
}

/// What an issuer has said of a token, and until when that may count.
type Said = Vec<(Option<String>, Duration)>;

/// Two issuers who are asked about tokens of the same letters, and say now this and now that.
async fn run_asked(seed: u64) -> [usize; 2] {
    const MEMORY: Duration = Duration::from_secs(10);
    let mut numbers = Numbers(seed);
    let first = Desk::default();
    let time = first.time.clone();
    let desks = [first.beside(), first];
    let mut builder = Routes::builder().restricted();
    let mut layer = AuthenticateLayer::new().remembered_tokens(numbers.one_of(&[0, 1, 40, 10_000]));
    for (name, desk) in ISSUERS.into_iter().zip(&desks) {
        layer = layer.bearer(desk.issuer(name));
        let path = format!("/{}", &name["https://".len()..]);
        builder = builder.get(&path, ()).rule(authenticated().issuer(name));
    }
    let routes = builder.build().unwrap();
    let builder = ServiceBuilder::new().layer(routes.layer()).layer(layer);
    let client = TestClient::new(builder.service(service_fn(whoami))).clock(time.clock());
    // Of each token at each issuer.
    let mut said: HashMap<(usize, usize), Said> = HashMap::new();
    let mut counts = [0, 0];
    for step in 0..2_000 {
        let (at, number) = (numbers.below(2), numbers.below(12));
        let token = format!("token-{number}");
        let now = time.passed();
        let known = said.entry((at, number)).or_insert_with(|| vec![(None, Duration::MAX)]);
        if numbers.below(8) == 0 {
            let owner = (numbers.below(3) > 0).then(|| format!("{at} {number} {step}"));
            let answer = match &owner {
                Some(owner) => json!({"active": true, "aud": "shop", "sub": owner}),
                None => json!({"active": false}),
            };
            desks[at].says(&token, &answer);
            known.last_mut().unwrap().1 = now + MEMORY;
            known.push((owner, Duration::MAX));
        }
        let path = ["/a.example", "/b.example"][at];
        let request = client.get(path).header("authorization", format!("Bearer {token}"));
        let answer = request.send().await;
        let who = (answer.status() == 200).then(|| answer.text().to_owned());
        let may = known.iter().filter(|(_, until)| now < *until);
        let may: Vec<_> = may.map(|(owner, _)| owner.clone()).collect();
        assert!(may.contains(&who), "seed {seed}, step {step}: {path} {token} {who:?} {may:?}");
        counts[usize::from(who.is_some())] += 1;
        if numbers.below(10) == 0 {
            time.advance(Duration::from_millis(u64::try_from(numbers.below(4_000)).unwrap()));
        }
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn what_one_issuer_says_of_a_token_is_never_said_of_another() {
    for seed in 0..20 {
        let [refused, good] = run_asked(seed).await;
        assert!(refused > 100 && good > 100, "seed {seed}: {refused} refused, {good} good");
    }
}
