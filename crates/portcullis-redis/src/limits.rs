//! Quotas on Redis.
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_core::BoxError;
use portcullis_ratelimit::{QuotaStore, QuotaStoreError, Rate, Take, Taken};
use redis::aio::ConnectionManager;
use redis::{Cmd, ErrorKind, RedisError, RedisResult, Script, ServerErrorKind};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use crate::connect::{LONGEST, answers, client, in_time, lazy};
use crate::limit_scripts::{SETTLE, TAKE};

/// What a double counts without a gap.
const MOST: u64 = 1 << 53;

/// Quotas on Redis, where replicas count together. Cheap to clone; clones share one connection.
///
/// All takes of a call are one script, which goes by the server's clock: one round trip, and two where the server has lost the script, as after a restart.
/// A number is microseconds, rounded up; it goes away by itself when its time has passed. Units beyond 2^53 count as 2^53.
///
/// A call fails after a second. Whoever wants to wait for less drops the call: the connection is as good as before. While the server is away, calls wait for a
/// connection, which is tried again at most 200 ms later, and nothing of a call that was dropped is kept.
///
/// # Clocks
/// Where the server's clock jumps back, a key is blocked for twice the time that its burst takes up at most, or for that time and the patience where this is longer, from the
/// next take on.
#[derive(Clone)]
pub struct RedisQuotas {
    connection: ConnectionManager,
    prefix: Arc<str>,
    is_by_key: bool,
    scripts: Arc<Scripts>,
}

struct Scripts {
    take: (Script, &'static str),
    settle: (Script, &'static str),
}

/// What a script says of the takes of one slot: a number for all of them, and some for each.
type Said = RedisResult<Vec<i64>>;

impl RedisQuotas {
    /// Connects to a server, as [`RedisSessions::connect`](crate::RedisSessions::connect) does, by a connection of its own. `prefix` begins the names of all keys;
    /// two applications with one prefix share their quotas.
    ///
    /// # Errors
    /// It is no address, nobody answers there, or the prefix is empty.
    pub async fn connect(url: &str, prefix: &str) -> Result<Self, RedisError> {
        let client = client(url, prefix)?;
        answers(&client).await?;
        let connection = lazy(&client)?;
        let quotas = Self::from_connection(connection, prefix);
        // The connection and the scripts are there from the first call on.
        let scripts = async {
            for (script, _) in [&quotas.scripts.take, &quotas.scripts.settle] {
                script.load_async(&mut quotas.connection.clone()).await?;
            }
            RedisResult::Ok(())
        };
        let late = |_: Elapsed| RedisError::from((ErrorKind::Io, "it does not answer in time"));
        timeout(LONGEST, scripts).await.map_err(late)??;
        Ok(quotas)
    }
    /// Over a connection that there is already; how soon it comes back is its own matter.
    pub fn from_connection(connection: ConnectionManager, prefix: &str) -> Self {
        let scripts =
            Scripts { take: (Script::new(TAKE), TAKE), settle: (Script::new(SETTLE), SETTLE) };
        Self { connection, prefix: prefix.into(), is_by_key: false, scripts: Arc::new(scripts) }
    }
    /// In a Redis Cluster, each who is counted has a slot. Default: all keys of the application are in one, and on one node therefore.
    ///
    /// The takes of one call are then one script for each who is counted, sent together. Where one of them is refused, or fails, what the others have taken is given back
    /// by a second round trip; until then it counts, and what cannot be given back counts until its time has passed. The connection is one to a single address
    /// nevertheless: for more than one node there has to be a proxy that knows the slots.
    #[must_use]
    pub fn by_key(self) -> Self {
        Self { is_by_key: true, ..self }
    }
    fn key(&self, take: &Take) -> String {
        let (prefix, quota) = (&self.prefix, &take.quota);
        let who = URL_SAFE_NO_PAD.encode(take.who);
        if self.is_by_key {
            format!("{prefix}:limit:{{{who}}}:{quota}")
        } else {
            format!("{{{prefix}}}:limit:{quota}:{who}")
        }
    }
    /// Which takes are of one slot, by their places.
    fn groups(&self, takes: &[Take]) -> Vec<Vec<usize>> {
        if !self.is_by_key {
            return vec![(0..takes.len()).collect()];
        }
        let mut groups: Vec<([u8; 16], Vec<usize>)> = Vec::new();
        for (at, take) in takes.iter().enumerate() {
            match groups.iter_mut().find(|(who, _)| *who == take.who) {
                Some((_, places)) => places.push(at),
                None => groups.push((take.who, vec![at])),
            }
        }
        groups.into_iter().map(|(_, places)| places).collect()
    }
    /// What each of these calls says, and an error where not all of them were made.
    async fn run(&self, script: &(Script, &str), calls: &[Call]) -> Result<Vec<Said>, BoxError> {
        in_time(LONGEST, self.send(script, calls)).await
    }
    async fn send(&self, script: &(Script, &str), calls: &[Call]) -> RedisResult<Vec<Said>> {
        let known = calls.iter().map(|call| call.command("EVALSHA", script.0.get_hash()));
        let mut said = self.pipe(known).await?;
        let lost: Vec<usize> =
            (0..said.len()).filter(|at| said.get(*at).is_some_and(is_lost)).collect();
        if !lost.is_empty() {
            // By its text, which the server keeps from now on.
            let again = lost.iter().filter_map(|at| calls.get(*at));
            let again = self.pipe(again.map(|call| call.command("EVAL", script.1))).await?;
            for (at, again) in lost.into_iter().zip(again) {
                if let Some(said) = said.get_mut(at) {
                    *said = again;
                }
            }
        }
        if said.len() == calls.len() {
            Ok(said)
        } else {
            Err((ErrorKind::UnexpectedReturnType, "as many answers as calls are needed").into())
        }
    }
    async fn pipe(&self, commands: impl Iterator<Item = Cmd>) -> RedisResult<Vec<Said>> {
        let mut pipe = redis::pipe();
        for command in commands {
            pipe.add_command(command);
        }
        pipe.ignore_errors().query_async(&mut self.connection.clone()).await
    }
    /// Gives back what was taken, and says how far ahead the time is taken up then.
    async fn give_back(&self, takes: &[Take], places: &[Vec<usize>], answers: &mut [Taken]) {
        let mut calls = Vec::new();
        for places in places {
            let mut call = Call::default();
            for at in places {
                if let (Some(take), Some(answer)) = (takes.get(*at), answers.get(*at)) {
                    let units = i64::try_from(answer.units).unwrap_or(i64::MAX);
                    call.settle(self.key(take), take.rate, units.saturating_neg());
                }
            }
            calls.push(call);
        }
        let said = if calls.is_empty() {
            Vec::new()
        } else {
            let said = self.run(&self.scripts.settle, &calls).await;
            said.unwrap_or_else(|error| {
                tracing::warn!("units of quotas are not given back: {error}");
                Vec::new()
            })
        };
        for (places, said) in places.iter().zip(said) {
            for (at, ahead) in places.iter().zip(said.unwrap_or_default()) {
                if let Some(answer) = answers.get_mut(*at) {
                    answer.ahead = micros(ahead);
                }
            }
        }
        for answer in answers {
            (answer.admitted, answer.units) = (false, 0);
        }
    }
}

#[async_trait]
impl QuotaStore for RedisQuotas {
    async fn take(&self, takes: &[Take]) -> Result<Vec<Taken>, QuotaStoreError> {
        if takes.is_empty() {
            return Ok(Vec::new());
        }
        let groups = self.groups(takes);
        let calls = groups.iter().map(|places| {
            let mut call = Call::default();
            for take in places.iter().filter_map(|at| takes.get(*at)) {
                call.take(self.key(take), take);
            }
            call
        });
        let calls: Vec<Call> = calls.collect();
        let said = self.run(&self.scripts.take, &calls).await?;
        let mut answers = vec![Taken::new(true, 0, Duration::ZERO); takes.len()];
        let (mut admitted, mut failed, mut is_refused) = (Vec::new(), None, false);
        for (places, said) in groups.into_iter().zip(said) {
            let said = match said {
                Ok(said) => said,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            let Some((is_admitted, each)) = read(&said, places.len()) else {
                let odd = (ErrorKind::UnexpectedReturnType, "a script says something else");
                failed = Some(odd.into());
                continue;
            };
            for (at, (units, ahead)) in places.iter().zip(each) {
                if let Some(answer) = answers.get_mut(*at) {
                    (answer.units, answer.ahead) = (units, ahead);
                }
            }
            is_refused |= !is_admitted;
            if is_admitted {
                admitted.push(places);
            }
        }
        if is_refused || failed.is_some() {
            self.give_back(takes, &admitted, &mut answers).await;
        }
        match failed {
            None => Ok(answers),
            Some(error) => Err(BoxError::from(error).into()),
        }
    }
    async fn settle(&self, take: &Take, units: i64) -> Result<(), QuotaStoreError> {
        let mut call = Call::default();
        call.settle(self.key(take), take.rate, units);
        let said = self.run(&self.scripts.settle, &[call]).await?;
        for said in said {
            said.map_err(BoxError::from)?;
        }
        Ok(())
    }
}

impl fmt::Debug for RedisQuotas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisQuotas")
            .field("prefix", &self.prefix)
            .field("is_by_key", &self.is_by_key)
            .finish_non_exhaustive()
    }
}

/// One script's keys and arguments.
#[derive(Default)]
struct Call {
    keys: Vec<String>,
    arguments: Vec<String>,
}

impl Call {
    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
    fn take(&mut self, key: String, take: &Take) {
        self.rate(key, take.rate);
        for units in [take.needs, take.most] {
            self.arguments.push(units.min(MOST).to_string());
        }
        self.arguments.push(take.patience.as_micros().min(u128::from(MOST)).to_string());
    }
    fn settle(&mut self, key: String, rate: Rate, units: i64) {
        self.rate(key, rate);
        self.arguments.push(units.to_string());
    }
    /// What one unit takes up is a fraction in microseconds: the time of many is no sum of rounded ones.
    fn rate(&mut self, key: String, rate: Rate) {
        let (nanos, units) = (rate.period().as_nanos().max(1), u128::from(rate.units()) * 1_000);
        let part = common(nanos, units);
        // A capacity is bounded, and the burst is not.
        let burst = rate.at_once().min(rate.units_in(rate.capacity())).min(MOST);
        self.keys.push(key);
        for number in [nanos / part, units / part, u128::from(burst)] {
            self.arguments.push(number.to_string());
        }
    }
}

/// The greatest number that divides both.
fn common(one: u128, other: u128) -> u128 {
    if other == 0 { one } else { common(other, one % other) }
}

fn is_lost(said: &Said) -> bool {
    let lost = ErrorKind::Server(ServerErrorKind::NoScript);
    said.as_ref().is_err_and(|error| error.kind() == lost)
}

fn micros(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count).unwrap_or_default())
}

/// Whether there was room, and units and time of so many takes.
fn read(said: &[i64], takes: usize) -> Option<(bool, Vec<(u64, Duration)>)> {
    let (admitted, each) = said.split_first()?;
    let (pairs, rest) = each.as_chunks::<2>();
    let each = pairs
        .iter()
        .map(|[units, ahead]| (u64::try_from(*units).unwrap_or_default(), micros(*ahead)));
    (pairs.len() == takes && rest.is_empty()).then(|| (*admitted == 1, each.collect()))
}
