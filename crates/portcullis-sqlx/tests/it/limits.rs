//! Quotas in a database, beside what the contract says.
use std::time::Duration;

use portcullis_core::Clock;
use portcullis_ratelimit::{QuotaStore, Rate, Take};
use portcullis_sqlx::{MySqlStores, PgStores, SqliteStores};
use tokio::time::{sleep, timeout};

use crate::support::{with_mysql, with_postgres, with_sqlite};

const HOUR: Duration = Duration::from_hours(1);

fn take(who: u32, rate: Rate) -> Take {
    let mut digest = [0; 16];
    digest[..4].copy_from_slice(&who.to_be_bytes());
    Take::new("login".into(), digest, rate, 1)
}

/// The same on each database.
macro_rules! passes {
    ($name:ident, $with:ident, $stores:ident) => {
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            $with(async |pool| {
                let stores = $stores::from_pool(pool.clone());
                stores.migrate().await.unwrap();
                let quotas = stores.quotas().await.unwrap();
                let rate = Rate::new(10, Duration::from_millis(100));
                let one = [take(1, rate)];
                let may = async || quotas.take(&one).await.unwrap()[0].admitted;
                assert!(may().await);
                // As if the clock had been an hour ahead.
                let ahead = "UPDATE portcullis_quotas SET used_until = used_until + 3600000000";
                assert_eq!(sqlx::query(ahead).execute(&pool).await.unwrap().rows_affected(), 1);
                let (clock, mut at_once) = (Clock::system(), true);
                let since = clock.now();
                while !may().await {
                    sleep(Duration::from_millis(2)).await;
                    assert!(clock.now() - since < Duration::from_secs(1), "two bursts at most");
                    at_once = false;
                }
                assert!(!at_once, "it was not free at once");
                // Rows whose time has passed go, and no others.
                let hourly = Rate::new(10, HOUR);
                for who in 100..140 {
                    let both = [take(who, rate), take(1_000 + who % 7, hourly)];
                    assert!(quotas.take(&both).await.unwrap()[0].admitted);
                }
                let rows = async || {
                    let count = sqlx::query_as("SELECT COUNT(*) FROM portcullis_quotas");
                    let (count,): (i64,) = count.fetch_one(&pool).await.unwrap();
                    count
                };
                assert_eq!(rows().await, 48);
                let swept = async {
                    while rows().await > 8 {
                        quotas.take(&[take(2_000, hourly)]).await.unwrap();
                    }
                };
                timeout(Duration::from_secs(30), swept).await.expect("old rows are taken away");
                assert_eq!(rows().await, 8);
                assert!(!quotas.take(&[take(2_000, hourly)]).await.unwrap()[0].admitted);
            })
            .await;
        }
    };
}

passes!(postgres_lets_time_pass, with_postgres, PgStores);
passes!(mariadb_lets_time_pass, with_mysql, MySqlStores);
passes!(sqlite_lets_time_pass, with_sqlite, SqliteStores);

#[tokio::test(flavor = "multi_thread")]
async fn postgres_takes_by_one_statement_whoever_waits_for_the_row() {
    with_postgres(async |pool| {
        let stores = PgStores::from_pool(pool.clone());
        stores.migrate().await.unwrap();
        let quotas = stores.quotas().await.unwrap();
        let rate = Rate::new(20, HOUR);
        let same = "UPDATE portcullis_quotas SET used_until = used_until";
        assert!(quotas.take(&[take(1, rate)]).await.unwrap()[0].admitted);
        let mut held = pool.begin().await.unwrap();
        sqlx::query(same).execute(&mut *held).await.unwrap();
        let waiting: Vec<_> = (0..5)
            .map(|_| {
                let quotas = quotas.clone();
                tokio::spawn(async move { quotas.take(&[take(1, rate)]).await.unwrap()[0] })
            })
            .collect();
        let asked = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE 'WITH done%'";
        let wait = async {
            loop {
                let (count,): (i64,) = sqlx::query_as(asked).fetch_one(&pool).await.unwrap();
                if count == 5 {
                    break;
                }
                sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(Duration::from_secs(10), wait).await.expect("all five wait for the row");
        held.rollback().await.unwrap();
        for waited in waiting {
            assert!(waited.await.unwrap().admitted);
        }
        // Whoever finds the row in use goes by what it has then.
        let left: u64 = quotas.take(&[{
            let mut rest = take(1, rate);
            (rest.needs, rest.most) = (0, 100);
            rest
        }]).await.unwrap()[0].units;
        assert_eq!(left, 14);
    })
    .await;
}
