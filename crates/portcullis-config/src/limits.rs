//! The limits of a file, each at the earliest stage that has its key.
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portcullis_core::stage;
use portcullis_ratelimit::{
    Asked, Fields, OnFailure, Quota, RateLimitLayer, RateLimitStats, SharedCounts, Window,
};

/// A limit of the file.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    pub(crate) name: String,
    /// Without its store.
    pub(crate) quota: Quota,
    pub(crate) plans: Vec<String>,
    /// What it counts by, as the file says it.
    pub(crate) by: String,
    pub(crate) cost: Cost,
    pub(crate) wait: Duration,
    pub(crate) shadow: bool,
    pub(crate) exempt: Vec<IpNet>,
    pub(crate) exempt_roles: Vec<String>,
    pub(crate) everywhere: bool,
    pub(crate) stage: Place,
    pub(crate) shared: Option<Shared>,
}

/// What a request counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    Units(u64),
    /// So much at first; a header of the answer says how much it was.
    Settled {
        header: String,
        first: u64,
    },
    Bytes,
    Refusals,
}

/// Where a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Whatever comes.
    Front,
    /// What a route answers.
    Route,
    /// Behind authentication.
    Caller,
}

/// In which store a limit is counted, and how.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    pub(crate) store: String,
    pub(crate) counts: SharedCounts,
    pub(crate) leased: bool,
    pub(crate) on_failure: OnFailure,
}

/// What is known about stores, by their names and how long they may take: limits that agree in both share it.
pub(crate) type StoreCounts = BTreeMap<(String, Duration), SharedCounts>;

/// The layers that count.
#[derive(Clone, Debug, Default)]
pub(crate) struct LimitLayers {
    pub(crate) front: Option<RateLimitLayer<stage::Shed>>,
    pub(crate) route: Option<RateLimitLayer<stage::PreLimit>>,
    pub(crate) caller: Option<RateLimitLayer<stage::Limit>>,
}

/// What all limits have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LimitSettings {
    pub(crate) fields: Fields,
    pub(crate) keys: Option<usize>,
}

impl Limit {
    fn build(&self, alone: bool) -> Quota {
        let quota = match &self.cost {
            Cost::Units(units) => self.quota.clone().cost(*units),
            Cost::Settled { header, first } => match header.parse() {
                Ok(header) => self.quota.clone().settled_by(header, *first),
                Err(_) => self.quota.clone().settled(*first),
            },
            Cost::Bytes => self.quota.clone().bytes(),
            Cost::Refusals => self.quota.clone().refusals(),
        };
        let quota = quota.waiting(self.wait);
        let quota = if self.shadow { quota.shadow() } else { quota };
        let quota = if self.exempt.is_empty() {
            quota
        } else {
            quota.exempt(comes_from(self.exempt.clone()))
        };
        let quota = if self.exempt_roles.is_empty() {
            quota
        } else {
            quota.exempt(has_role(self.exempt_roles.clone()))
        };
        match &self.shared {
            Some(shared) if !alone => quota.shared(shared.counts.clone()),
            _ => quota,
        }
    }
}

fn comes_from(networks: Vec<IpNet>) -> impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static {
    move |asked| {
        let client = asked.context.client();
        client.is_some_and(|client| networks.iter().any(|net| net.contains(&client.ip())))
    }
}

fn has_role(roles: Vec<String>) -> impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static {
    move |asked| {
        let identity = asked.context.identity();
        identity.is_some_and(|identity| {
            identity.roles_in_use().any(|own| roles.iter().any(|role| role == own))
        })
    }
}

/// Puts a quota into the layer of its stage, which is made when the first one comes.
macro_rules! put {
    ($layer:expr, $new:expr, $settings:expr, $limit:expr, $quota:expr) => {{
        let layer = $layer.take().unwrap_or_else(|| {
            let layer = $new.fields($settings.fields);
            $settings.keys.into_iter().fold(layer, RateLimitLayer::capacity)
        });
        // Before the route is known nothing is named; behind it, routes name it, all of them where it counts everywhere.
        $layer = Some(if $limit.stage == Place::Front {
            layer.everywhere_as(&$limit.name, $quota)
        } else {
            layer.quota(&$limit.name, $quota)
        });
    }};
}

/// A layer that goes on where another has got to, if there was one.
pub(crate) fn go_on<L>(
    own: Option<L>,
    before: Option<&L>,
    continuing: fn(L, &L) -> L,
) -> Option<L> {
    let own = own?;
    Some(match before {
        Some(before) => continuing(own, before),
        None => own,
    })
}

impl LimitLayers {
    /// The layers of these limits; `alone` asks no store.
    pub(crate) fn new(limits: &[Limit], settings: LimitSettings, alone: bool) -> Self {
        let mut layers = Self::default();
        for limit in limits {
            let quota = limit.build(alone);
            match limit.stage {
                Place::Front => {
                    put!(layers.front, RateLimitLayer::before_routing(), settings, limit, quota);
                }
                Place::Route => {
                    let new = RateLimitLayer::before_authentication();
                    put!(layers.route, new, settings, limit, quota);
                }
                Place::Caller => {
                    put!(layers.caller, RateLimitLayer::in_memory(), settings, limit, quota);
                }
            }
        }
        layers
    }
    /// Goes on where others have got to, which these replace.
    pub(crate) fn continuing(self, before: &Self) -> Self {
        Self {
            front: go_on(self.front, before.front.as_ref(), RateLimitLayer::continuing),
            route: go_on(self.route, before.route.as_ref(), RateLimitLayer::continuing),
            caller: go_on(self.caller, before.caller.as_ref(), RateLimitLayer::continuing),
        }
    }
    /// What they count about themselves.
    pub(crate) fn stats(&self) -> Option<RateLimitStats> {
        let all = [
            self.front.as_ref().map(RateLimitLayer::stats),
            self.route.as_ref().map(RateLimitLayer::stats),
            self.caller.as_ref().map(RateLimitLayer::stats),
        ];
        all.into_iter().flatten().reduce(|all, more| all.and(&more))
    }
}

/// The limit in words, for a table of routes.
impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", bounds(self.quota.bounds(None)))?;
        for plan in &self.plans {
            write!(f, "; plan {plan}: {}", bounds(self.quota.bounds(Some(plan))))?;
        }
        write!(f, "; by {}", self.by)?;
        match &self.cost {
            Cost::Units(1) => {}
            Cost::Units(units) => write!(f, "; a request costs {units}")?,
            Cost::Settled { header, first } => {
                write!(f, "; a request costs what `{header}` says, {first} at first")?;
            }
            Cost::Bytes => f.write_str("; of bytes")?,
            Cost::Refusals => f.write_str("; of refusals")?,
        }
        if !self.wait.is_zero() {
            write!(f, "; waits up to {:?}", self.wait)?;
        }
        if !self.exempt.is_empty() {
            let networks: Vec<_> = self.exempt.iter().map(ToString::to_string).collect();
            write!(f, "; not from {}", networks.join(" "))?;
        }
        if !self.exempt_roles.is_empty() {
            write!(f, "; not for role {}", self.exempt_roles.join(" "))?;
        }
        match (self.everywhere, self.stage) {
            (false, _) => {}
            (true, Place::Front) => f.write_str("; whatever comes")?,
            (true, _) => f.write_str("; every route")?,
        }
        if let Some(shared) = &self.shared {
            let leased = if shared.leased { ", leased" } else { "" };
            write!(f, "; in store {}{leased}, without it ", shared.store)?;
            match shared.on_failure {
                OnFailure::Open => f.write_str("open")?,
                OnFailure::Closed => f.write_str("closed")?,
                OnFailure::Local { replicas } => write!(f, "local (1/{replicas})")?,
                _ => {}
            }
        }
        if self.shadow { f.write_str("; on trial") } else { Ok(()) }
    }
}

fn bounds(windows: &[Window]) -> String {
    let mut text = String::new();
    for window in windows {
        if !text.is_empty() {
            text.push_str(" and ");
        }
        // Writing to a string never fails.
        match window {
            Window::Rate(rate) => {
                _ = write!(text, "{}/{}", rate.units(), period(rate.period()));
                if rate.at_once() != rate.units() {
                    _ = write!(text, " (burst {})", rate.at_once());
                }
            }
            Window::AtOnce(most) => _ = write!(text, "{most} at once"),
            _ => {}
        }
    }
    if text.is_empty() { "unlimited".to_owned() } else { text }
}

fn period(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let (size, unit) =
        units.into_iter().find(|(size, _)| seconds.is_multiple_of(*size)).unwrap_or((1, "s"));
    if seconds == size { unit.to_owned() } else { format!("{}{unit}", seconds / size) }
}

/// A store as limits ask it.
pub(crate) fn counts(store: crate::stores::Later, patience: Option<Duration>) -> SharedCounts {
    let counts = SharedCounts::from_arc(Arc::new(store));
    patience.into_iter().fold(counts, SharedCounts::patience)
}
