//! A quota that an endpoint counts against itself.
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, Response, Uri};
use http_body::Body as HttpBody;
use portcullis_core::{Body, BoxError, Clock, ConfigError, Context, Problem};

use crate::admitted::Admitted;
use crate::cost::Cost;
use crate::decide::decide;
use crate::fields::{self, Fields};
use crate::key::{Asked, Key};
use crate::limiter::{Begun, Counts, Limiter, Named};
use crate::memory::{MOST_WINDOWS, Now};
use crate::quota::Quota;
use crate::rate::Full;
use crate::stats::RateLimitStats;

/// A quota that an endpoint counts against itself: by what no layer knows, such as the name that somebody logs in with, or where the cost is
/// known only inside.
///
/// It needs no layer, and refuses as one does: 429 `quota-exceeded` with `Retry-After` and the same fields. Where a layer can count, let it: it refuses
/// before anything is done. Clones count together.
///
/// ```
/// use portcullis_core::{Context, Problem};
/// use portcullis_ratelimit::{Throttle, per_hour};
///
/// async fn log_in(tries: &Throttle, context: &Context, name: &str) -> Result<(), Problem> {
///     let pass = tries.take(context, name, 1).await?;
///     if is_right(name) {
///         // Only what fails counts.
///         pass.give_back();
///     }
///     Ok(())
/// }
/// # fn is_right(_: &str) -> bool { true }
/// let tries = Throttle::new("log-in", per_hour(10))?;
/// # Ok::<(), portcullis_core::ConfigError>(())
/// ```
///
/// # Cancellation
/// What is dropped while it waits, or while a store is asked, gives back what it took.
#[derive(Clone)]
pub struct Throttle {
    limiter: Arc<Limiter>,
}

impl Throttle {
    /// Counts against this quota, which answers call by this name.
    ///
    /// # Errors
    /// The name is not plain ASCII of 64 characters at most, or the quota has more than eight bounds.
    pub fn new(name: &str, quota: Quota) -> Result<Self, ConfigError> {
        let wrong = |message| Err(ConfigError::new(format!("quota `{name}`"), message));
        if !fields::is_name(name) {
            return wrong(
                "the name stands in answers: write it in plain ASCII, with 64 characters at most",
            );
        }
        if quota.all_windows().any(|windows| windows.len() > MOST_WINDOWS) {
            return wrong("it has more than eight bounds");
        }
        let named = Named::new(name.into(), true, quota, 1_000_000);
        Ok(Self::of(named, Fields::default()))
    }
    fn of(named: Named, fields: Fields) -> Self {
        // What is counted by the endpoint's own words is none the worse where no address is known.
        let warned = Arc::new(AtomicBool::new(true));
        Self { limiter: Arc::new(Limiter::new(vec![named], fields, warned)) }
    }
    fn named(&self) -> impl Iterator<Item = &Named> {
        self.limiter.quotas.iter()
    }
    /// For how many keys each bound has room. Default: a million. Say it before the first clone: this one begins anew.
    #[must_use]
    pub fn capacity(self, keys: usize) -> Self {
        let fields = self.limiter.fields;
        let named = self.named().next().cloned();
        named.map_or(self, |named| {
            Self::of(Named { counts: Arc::new(Counts::new(keys)), ..named }, fields)
        })
    }
    /// What answers say about the quota. Default: [`Fields::Standard`].
    #[must_use]
    pub fn fields(self, fields: Fields) -> Self {
        let named = self.named().next().cloned();
        named.map_or(self, |named| Self::of(named, fields))
    }
    /// What it counts about itself, for `Metrics::with_source` of `portcullis-telemetry`.
    pub fn stats(&self) -> RateLimitStats {
        let counts = self.named().map(|named| (named.name.clone(), named.counts.clone()));
        RateLimitStats::new(counts.collect())
    }

    /// Takes so many units of what `who` has, for code that has no request: nothing is waited for, and it counts by the quota's own rates, in this process alone and apart from [`take`](Self::take). An error says how long it is until there is room; `None` where there never is.
    ///
    /// ```
    /// use portcullis_core::Clock;
    /// use portcullis_ratelimit::{Throttle, per_second};
    /// let (mails, clock) = (Throttle::new("mails", per_second(5))?, Clock::system());
    /// assert!(mails.try_take("ada@shop.example", 1, &clock).is_ok());
    /// # Ok::<(), portcullis_core::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// There is no room.
    pub fn try_take(
        &self,
        who: &(impl Hash + ?Sized),
        units: u64,
        clock: &Clock,
    ) -> Result<(), Option<Duration>> {
        let now = Now { at: clock.now(), clock };
        self.named().try_for_each(|named| named.try_take(who, units, now)).map_err(
            |full| match full {
                Full::Early(wait) => Some(Duration::from_nanos(wait)),
                Full::Never => None,
            },
        )
    }
    /// Counts a request as a layer does: by the quota's key, with the quota's cost.
    ///
    /// # Errors
    /// 429 `quota-exceeded`; 429 `temporary-reduced-capacity` where the store cannot answer and the quota says so.
    pub async fn pass(&self, asked: &Asked<'_>) -> Result<Pass, Problem> {
        pass(&self.limiter, asked).await
    }
    /// Takes so many units of what `who` has. Whatever text tells apart who is to be told apart will do; where a client chooses it, put a limit by address beside it. The key and
    /// the cost of the quota do not count then, and what looks at the request sees `GET /`.
    ///
    /// # Errors
    /// 429 `quota-exceeded`; 429 `temporary-reduced-capacity` where the store cannot answer and the quota says so.
    pub async fn take(&self, context: &Context, who: &str, units: u64) -> Result<Pass, Problem> {
        let who: Arc<str> = who.into();
        let by = |named: &Named| {
            let mut named = named.clone();
            let who = Arc::clone(&who);
            named.quota.key = Key::by(move |_| Some(String::from(&*who)));
            named.quota.cost = Cost::Fixed(units);
            if units != 1 {
                let windows = named.quota.all_windows();
                let policy = |windows| fields::policy(&named.name, windows, &named.quota.cost);
                let policies = windows.map(|windows| policy(windows)).collect();
                named.policies = policies;
            }
            named
        };
        let Limiter { fields, warned, .. } = &*self.limiter;
        let quotas = self.named().map(by).collect();
        let limiter = Limiter::new(quotas, *fields, Arc::clone(warned));
        let (uri, headers) = (Uri::default(), HeaderMap::new());
        let asked = Asked { method: &Method::GET, uri: &uri, headers: &headers, context };
        pass(&Arc::new(limiter), &asked).await
    }
}

async fn pass(limiter: &Arc<Limiter>, asked: &Asked<'_>) -> Result<Pass, Problem> {
    // A stream may take long after its request came.
    let now = asked.context.clock().now();
    let mut admitted = match limiter.begin_at(asked, now) {
        Begun::Passed(admitted) => admitted,
        Begun::Pending(admitted) => decide(admitted).await?,
        Begun::Refused(problem) => return Err(problem),
    };
    admitted.called();
    Ok(Pass { admitted })
}

/// What a [`Throttle`] has let through. What it took stays taken when this is dropped; a place among those under way
/// ([`at_once`](crate::at_once)) is free again then, so keep it for as long as the work lasts, in a stream too. A quota that is
/// [`settled`](Quota::settled) is settled then.
pub struct Pass {
    admitted: Admitted,
}

impl Pass {
    /// Gives back what was taken, as if nobody had asked.
    pub fn give_back(mut self) {
        self.admitted.give_back();
        self.admitted.held.clear();
    }
    /// Lets an answer say what is left, settles by it ([`refusals`](Quota::refusals), [`settled_by`](Quota::settled_by),
    /// [`bytes`](Quota::bytes)), and ends with its body.
    pub fn answer<B>(self, response: Response<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut response = response.map(Body::new);
        self.admitted.say(&[]).add_to(response.headers_mut());
        self.admitted.answer(response)
    }
}

impl<'a> Asked<'a> {
    /// What the head of a request says, and what is known about it.
    pub fn of(parts: &'a Parts, context: &'a Context) -> Self {
        let Parts { method, uri, headers, .. } = parts;
        Self { method, uri, headers, context }
    }
}

/// For types of an application's own that hold one.
impl AsRef<Self> for Throttle {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quotas = self.named().map(|named| (&named.name, &named.quota));
        f.debug_map().entries(quotas).finish()
    }
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass").finish_non_exhaustive()
    }
}
