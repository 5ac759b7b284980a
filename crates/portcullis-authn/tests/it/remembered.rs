//! Tokens that were verified before are judged as if they never were.
use std::time::Duration;

use portcullis_authn::{AuthenticateLayer, RemoteKeys, TokenIssuer};
use tower::{Layer, service_fn};

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
