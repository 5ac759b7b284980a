//! Which server gets a request.
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderName;

use crate::server::{Server, mix};

mod load;
#[cfg(test)]
mod tests;

pub(crate) use load::{InFlight, Load};

/// How an upstream shares requests out among its servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Balance {
    /// Of two servers at random, the one with the lower load: latency (peak-sensitive moving average) times requests in flight.
    /// Best where servers differ or have bad moments. (Mitzenmacher 2001, "The power of two choices"; the load is Finagle's.)
    #[default]
    PeakEwma,
    /// One after the other, by weight.
    RoundRobin,
    /// The one with the fewest requests in flight, by weight.
    LeastRequests,
    /// The same server for the same key, as long as it is there and not overloaded: each takes at most 1.25 times its share
    /// of what is in flight. (Mirrokni and others 2018, "Consistent hashing with bounded loads", on rendezvous hashing.)
    Hash(HashKey),
    /// The same server for the same client, by a cookie of this name; a client without one gets a server by load.
    StickyCookie(Arc<str>),
}

/// What [`Balance::Hash`] takes for the key. A request without it gets a server by load.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKey {
    /// The value of this header.
    Header(HeaderName),
    /// The client's address, IPv6 by /64.
    Address,
    /// Who is asking.
    Identity,
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeakEwma => f.write_str("p2c"),
            Self::RoundRobin => f.write_str("round_robin"),
            Self::LeastRequests => f.write_str("least_requests"),
            Self::Hash(HashKey::Header(name)) => write!(f, "hash:header:{name}"),
            Self::Hash(HashKey::Address) => f.write_str("hash:address"),
            Self::Hash(HashKey::Identity) => f.write_str("hash:identity"),
            Self::StickyCookie(name) => write!(f, "sticky:{name}"),
        }
    }
}

impl std::str::FromStr for Balance {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "p2c" => Self::PeakEwma,
            "round_robin" => Self::RoundRobin,
            "least_requests" => Self::LeastRequests,
            "hash:address" => Self::Hash(HashKey::Address),
            "hash:identity" => Self::Hash(HashKey::Identity),
            _ => match (text.strip_prefix("hash:header:"), text.strip_prefix("sticky:")) {
                (Some(name), _) => {
                    let name = name.parse().map_err(|_| format!("`{name}` is no header name"))?;
                    Self::Hash(HashKey::Header(name))
                }
                (_, Some(name)) if is_cookie_name(name) => Self::StickyCookie(name.into()),
                (_, Some(name)) => return Err(format!("`{name}` is no cookie name")),
                _ => {
                    return Err(format!(
                        "`{text}` is no way to balance: say `p2c`, `round_robin`, `least_requests`, `hash:header:NAME`, `hash:address`, `hash:identity` or `sticky:COOKIE`"
                    ));
                }
            },
        })
    }
}

/// A token (RFC 6265, section 4.1.1).
pub(crate) fn is_cookie_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// How a choice is made, beside the servers.
pub(crate) struct Rules {
    pub(crate) balance: Balance,
    pub(crate) slow_start: Duration,
    /// Below this share of available servers health is not believed.
    pub(crate) panic_threshold: f64,
    pub(crate) turn: AtomicUsize,
}

/// What a request asks of the choice.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// For a hash.
    pub(crate) key: Option<u64>,
    /// Of a sticky cookie.
    pub(crate) server: Option<u64>,
    /// Who has been tried.
    pub(crate) not: &'a [u64],
}

impl Rules {
    /// The server for a request, at `now` since the upstream began.
    pub(crate) fn choose<'a>(
        &self,
        servers: &'a [Arc<Server>],
        wish: Wish<'_>,
        now: Duration,
    ) -> Option<&'a Arc<Server>> {
        if let [only] = servers {
            return (!wish.not.contains(&only.id)).then_some(only);
        }
        if wish.not.is_empty()
            && self.balance == Balance::PeakEwma
            && let Some(server) = self.two_at_random(servers, now)
        {
            return Some(server);
        }
        let candidates = self.candidates(servers, wish.not, now);
        if let Some(wanted) = wish.server
            && let Some(server) = candidates.iter().find(|server| server.id == wanted)
        {
            return Some(server);
        }
        match (&self.balance, wish.key) {
            (Balance::RoundRobin, _) => self.in_turn(&candidates, now),
            (Balance::LeastRequests, _) => {
                self.least(&candidates, |server| self.requests_per_weight(server, now))
            }
            (Balance::Hash(_), Some(key)) => hashed(&candidates, key),
            _ => match candidates.as_slice() {
                [] | [_] => candidates.first().copied(),
                several => {
                    let (one, other) = pick_two(several)?;
                    Some(self.better((one, other), now))
                }
            },
        }
    }

    /// Two servers of the first priority, if both are available; most often they are, and nobody else need be looked at.
    fn two_at_random<'a>(
        &self,
        servers: &'a [Arc<Server>],
        now: Duration,
    ) -> Option<&'a Arc<Server>> {
        let (one, other) = pick_two(servers)?;
        let fine = |server: &Server| server.priority == 0 && server.is_available(now);
        (fine(one) && fine(other)).then(|| self.better((one, other), now))
    }

    /// Of the available servers those with the first priority that has any. Where too few are available to believe it, all of
    /// that priority.
    fn candidates<'a>(
        &self,
        servers: &'a [Arc<Server>],
        not: &[u64],
        now: Duration,
    ) -> Vec<&'a Arc<Server>> {
        let mut priorities: Vec<u32> = servers.iter().map(|server| server.priority).collect();
        priorities.sort_unstable();
        priorities.dedup();
        let untried = |server: &&Arc<Server>| !not.contains(&server.id);
        let mut panicking: Option<Vec<_>> = None;
        for priority in priorities {
            let group = || servers.iter().filter(move |server| server.priority == priority);
            let (all, available) =
                (group().count(), group().filter(|server| server.is_available(now)).count());
            #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 servers")]
            let share = available as f64 / all as f64;
            if available == 0 || share < self.panic_threshold {
                let group: Vec<_> = group().filter(untried).collect();
                if share < self.panic_threshold && available > 0 && !group.is_empty() {
                    return group;
                }
                panicking = panicking.or(Some(group).filter(|group| !group.is_empty()));
                continue;
            }
            let candidates: Vec<_> =
                group().filter(|server| server.is_available(now)).filter(untried).collect();
            if !candidates.is_empty() {
                return candidates;
            }
        }
        // Nobody is available: rather ask whoever is there than nobody.
        panicking.unwrap_or_default()
    }

    /// How much of its weight a server is trusted with: it grows from a tenth while it is new.
    fn weight(&self, server: &Server, now: Duration) -> f64 {
        let age = now.saturating_sub(server.load.since());
        let ramp = if self.slow_start.is_zero() || age >= self.slow_start {
            1.0
        } else {
            (age.as_secs_f64() / self.slow_start.as_secs_f64()).max(0.1)
        };
        f64::from(server.weight) * ramp
    }
    fn requests_per_weight(&self, server: &Server, now: Duration) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 requests in flight")]
        let requests = (server.load.in_flight() + 1) as f64;
        requests / self.weight(server, now)
    }
    fn better<'a>(
        &self,
        (one, other): (&'a Arc<Server>, &'a Arc<Server>),
        now: Duration,
    ) -> &'a Arc<Server> {
        let cost = |server: &Server| server.load.cost(now) / self.weight(server, now);
        if cost(one) <= cost(other) { one } else { other }
    }
    fn least<'a>(
        &self,
        servers: &[&'a Arc<Server>],
        cost: impl Fn(&Server) -> f64,
    ) -> Option<&'a Arc<Server>> {
        // From a place that moves on, so that equal ones take turns.
        let turn = self.turn.fetch_add(1, Relaxed);
        let (before, from) = servers.split_at(turn.checked_rem(servers.len())?);
        let mut best: Option<(f64, &Arc<Server>)> = None;
        for server in from.iter().chain(before) {
            let cost = cost(server);
            if best.is_none_or(|(least, _)| cost < least) {
                best = Some((cost, server));
            }
        }
        best.map(|(_, server)| server)
    }
    /// In turn, each as often as its weight says: the n-th request goes where n falls when it is spread over the weights.
    fn in_turn<'a>(&self, servers: &[&'a Arc<Server>], now: Duration) -> Option<&'a Arc<Server>> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let equal = servers.windows(2).all(|pair| match pair {
            [one, other] => (self.weight(one, now) - self.weight(other, now)).abs() < f64::EPSILON,
            _ => true,
        });
        if equal {
            return servers.get(turn.checked_rem(servers.len())?).copied();
        }
        let total: f64 = servers.iter().map(|server| self.weight(server, now)).sum();
        // Multiples of the golden ratio fall evenly on a circle, however it is divided.
        #[expect(clippy::cast_precision_loss, reason = "it wraps long before")]
        let at = ((turn % (1 << 20)) as f64 * 0.618_033_988_749_894_9).fract() * total;
        let mut passed = 0.0;
        for server in servers {
            passed += self.weight(server, now);
            if at < passed {
                return Some(server);
            }
        }
        servers.last().copied()
    }
}

fn pick_two<T>(all: &[T]) -> Option<(&T, &T)> {
    let first = fastrand::usize(..all.len().max(1));
    let second = fastrand::usize(..all.len().saturating_sub(1).max(1));
    let second = if second >= first { second + 1 } else { second };
    Some((all.get(first)?, all.get(second)?))
}

/// The server for a key, by rendezvous hashing: the one with the highest score, unless it has more than 1.25 times its share
/// of what is in flight.
fn hashed<'a>(servers: &[&'a Arc<Server>], key: u64) -> Option<&'a Arc<Server>> {
    let in_flight: usize = servers.iter().map(|server| server.load.in_flight()).sum();
    let weights: u64 = servers.iter().map(|server| u64::from(server.weight)).sum();
    let mut ranked: Vec<_> = servers.iter().map(|server| (score(server, key), *server)).collect();
    ranked.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let has_room = |server: &Server| {
        let (in_flight, weight) = (in_flight as u64 + 1, u64::from(server.weight));
        let share = (in_flight * weight * 5).div_ceil(weights.max(1) * 4);
        (server.load.in_flight() as u64) < share
    };
    let roomy = ranked.iter().find(|(_, server)| has_room(server));
    roomy.or(ranked.first()).map(|(_, server)| *server)
}

/// A server's score for a key: higher in proportion to its weight. (Weighted rendezvous hashing.)
fn score(server: &Server, key: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "53 bits are kept, and are enough")]
    let unit = ((mix(server.id ^ key.rotate_left(17)) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(server.weight) / unit.ln()
}
