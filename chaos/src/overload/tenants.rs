//! One tenant asks for ten times its share, and the others get theirs.
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::offer::{Offer, Outcome};
use super::{Stage, capacity, part};
use crate::failure::Result;
use crate::numbers::{count, millis, percentile};
use crate::report::Report;

const TENANTS: u32 = 5;
/// What each of the four asks for, and the fifth, as parts of what the back end can do: a fair share is a fifth of it.
const MODEST: f64 = 0.15;
const GREEDY: f64 = 2.0;
const TIME: Duration = Duration::from_secs(20);

pub(super) async fn run(gateway: &Path, report: &mut Report) -> Result {
    let capacity = capacity(gateway).await?;
    let overload = format!(
        "[overload]\nlimit = \"adaptive\"\nfair = true\nqueue = 100\n[auth.api_key]\nkeys = [{}]\n",
        keys()
    );
    let stage = Stage::open(gateway, "tenants", &overload, "access = \"authenticated\"\n").await?;
    let offers: Vec<_> = (0..TENANTS)
        .map(|tenant| {
            let rate = part(capacity, if tenant + 1 < TENANTS { MODEST } else { GREEDY });
            let more = format!("x-api-key: {}\r\n", key(tenant));
            Offer { more, ..stage.offer("/", rate) }
        })
        .collect();
    let (modest, greedy) = offers.split_at(offers.len() - 1);
    let alone = all(modest).await;
    let (beside, greedy) = tokio::join!(all(modest), all(greedy));
    stage.close().await?;

    let alone = rate(report, "four tenants alone: requests", &alone);
    let beside =
        rate(report, "beside a fifth that asks for ten times its share: requests", &beside);
    let (shown, must) = (format!("{beside:.2} %"), format!("as many as alone: {alone:.2} %"));
    report.gate("of them answered 200", shown, &must, beside >= alone);
    report.figure("the fifth: answered 200", {
        format!("{} of {}", count(good(&greedy)), count(total(&greedy)))
    });
    Ok(())
}

async fn all(offers: &[Offer]) -> Vec<Outcome> {
    let mut all = tokio::task::JoinSet::new();
    for offer in offers {
        let offer = offer.clone();
        all.spawn(async move { offer.run(TIME).await });
    }
    all.join_all().await
}

fn good(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().map(|outcome| outcome.count(200)).sum()
}
fn total(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().map(|outcome| outcome.answers.len() as u64 + outcome.unasked).sum()
}

/// How many of a hundred were answered 200, to a hundredth.
#[expect(clippy::cast_precision_loss, reason = "some ten thousand requests")]
fn rate(report: &mut Report, name: &str, outcomes: &[Outcome]) -> f64 {
    let (good, total) = (good(outcomes), total(outcomes));
    report.figure(name, count(total));
    let rate = (10_000.0 * good as f64 / total as f64).round() / 100.0;
    let mut times: Vec<_> = outcomes.iter().flat_map(|outcome| outcome.times(200)).collect();
    times.sort_unstable();
    report.figure("their p99", millis(percentile(&times, 99)));
    rate
}

fn key(tenant: u32) -> String {
    format!("chaos-key-of-tenant-{tenant}")
}

/// The tenants' keys, as a file has them.
fn keys() -> String {
    let mut keys = String::new();
    for tenant in 0..TENANTS {
        // Writing to a string never fails.
        let digest = Sha256::digest(key(tenant));
        _ = write!(keys, "{{ id = \"k{tenant}\", tenant = \"t{tenant}\", hash = \"");
        digest.iter().for_each(|byte| _ = write!(keys, "{byte:02x}"));
        keys.push_str("\" }, ");
    }
    keys
}
