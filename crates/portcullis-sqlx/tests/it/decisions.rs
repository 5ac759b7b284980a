//! The decision log in a database.
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis_authz::{DecisionLog, DecisionRecord, DecisionSink};
use portcullis_sqlx::{MySqlStores, PgStores, SqliteStores};
use serde_json::json;

use crate::support::{with_mysql, with_postgres, with_sqlite};

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn record(number: u32, verdict: &str, subject: Option<&str>) -> DecisionRecord {
    let value = json!({
        "time": 1_800_000_000.25 + f64::from(number),
        "request_id": format!("r-{number}"),
        "issuer": "https://id.example",
        "tenant": null,
        "subject": subject,
        "roles": ["clerk", "\u{1f600}"],
        "scopes": [],
        "assurance": 2,
        "method": "GET",
        "host": "shop.example",
        "path": format!("/orders/{number}/%_'\"\\\0"),
        "route": "/orders/{id}",
        "object": null,
        "verdict": verdict,
        "rule": "permission orders:read",
        "reason": "roles",
    });
    DecisionRecord::from_json(&value).unwrap()
}

fn metrics(source: &impl portcullis_core::MetricSource) -> String {
    let mut text = String::new();
    source.write(&mut text);
    text
}

/// The same on each database.
macro_rules! keeps {
    ($name:ident, $with:ident, $stores:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool.clone());
                stores.migrate().await.unwrap();
                let log = stores.decisions().await.unwrap();
                let long = "x".repeat(100_000);
                // Those of one moment keep their order, also over the end of a page.
                let mut all: Vec<_> = (0..2_500_u32)
                    .map(|number| {
                        let verdict = ["allow", "deny", "step-up", "indeterminate"][number as usize % 4];
                        let subject = [None, Some("ada"), Some("a\0da"), Some(&*long)];
                        let mut record = record(number / 900, verdict, subject[number as usize / 7 % 4]);
                        record.request_id = Some(format!("r-{number}"));
                        record
                    })
                    .collect();
                let writers: Vec<Arc<dyn DecisionSink>> = vec![Arc::new(log.clone()), Arc::new(log.clone())];
                for (at, record) in all.iter().enumerate() {
                    writers[at % 2].write(record.clone());
                }
                log.flush().await;
                assert_eq!(log.all(at(0)).await.unwrap(), all);
                assert_eq!(log.all(at(2)).await.unwrap(), all[1_800..]);
                assert_eq!(log.all(at(3)).await.unwrap(), []);
                let columns = "SELECT COUNT(*) FROM portcullis_decisions WHERE verdict = 'deny' AND subject = 'ada'";
                let (count,): (i64,) = sqlx::query_as(columns).fetch_one(&pool).await.unwrap();
                let want = all.iter().filter(|it| it.verdict.as_str() == "deny" && it.subject.as_deref() == Some("ada"));
                assert_eq!(count, i64::try_from(want.count()).unwrap());
                // Another program has written something else.
                let odd = "INSERT INTO portcullis_decisions (time, verdict, document) VALUES (1800000000000000, 'deny', '7')";
                sqlx::query(odd).execute(&pool).await.unwrap();
                assert_eq!(log.all(at(0)).await.unwrap(), all);
                assert_eq!(log.forget(at(2)).await.unwrap(), 1_801);
                all.drain(..1_800);
                assert_eq!(log.all(at(0)).await.unwrap(), all);
                assert_eq!(log.dropped(), 0);
                let text = metrics(&log);
                assert!(text.contains("\nportcullis_decisions_written_total 2500\n"), "{text}");
                assert!(text.contains("\nportcullis_decisions_dropped_total 0\n"), "{text}");
                // The last one is dropped before it is written.
                log.write(record(9, "deny", None));
                drop((log, writers));
                let again = stores.decisions().await.unwrap();
                let wait = async {
                    while again.all(at(9)).await.unwrap().is_empty() {
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                };
                tokio::time::timeout(Duration::from_secs(4), wait).await.expect("it is written");
            })
            .await;
        }
    };
}

keeps!(postgres_keeps_decisions, with_postgres, PgStores);
keeps!(mariadb_keeps_decisions, with_mysql, MySqlStores);
keeps!(sqlite_keeps_decisions, with_sqlite, SqliteStores);

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_dropped_and_counted_and_nobody_waits() {
    with_sqlite(async |pool| {
        let stores = SqliteStores::from_pool(pool.clone());
        stores.migrate().await.unwrap();
        let log = stores.decisions().await.unwrap();
        // Nothing can be written as long as another one has the file.
        let held = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        for number in 0..12_000 {
            log.write(record(number, "allow", None));
        }
        let dropped = log.dropped();
        // 10,000 wait, and up to 500 of them are on their way.
        assert!((1_500..=2_000).contains(&dropped), "{dropped}");
        let metric = format!("\nportcullis_decisions_dropped_total {dropped}\n");
        assert!(metrics(&log).contains(&metric));
        held.rollback().await.unwrap();
        log.flush().await;
        assert_eq!(log.all(at(0)).await.unwrap().len() as u64 + dropped, 12_000);
        assert_eq!(log.dropped(), dropped);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_wait_while_their_table_cannot_be_written() {
    with_sqlite(async |pool| {
        let stores = SqliteStores::from_pool(pool.clone());
        stores.migrate().await.unwrap();
        let log = stores.decisions().await.unwrap();
        let away = "ALTER TABLE portcullis_decisions RENAME TO elsewhere";
        sqlx::query(away).execute(&pool).await.unwrap();
        log.write(record(1, "deny", Some("ada")));
        let flushed = tokio::spawn({
            let log = log.clone();
            async move { log.flush().await }
        });
        assert!(log.all(at(0)).await.is_err());
        let back = "ALTER TABLE elsewhere RENAME TO portcullis_decisions";
        sqlx::query(back).execute(&pool).await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), flushed).await.unwrap().unwrap();
        assert_eq!(log.all(at(0)).await.unwrap(), [record(1, "deny", Some("ada"))]);
        // It is what a log is made of.
        drop(DecisionLog::new(log));
    })
    .await;
}
