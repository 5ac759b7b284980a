//! A candidate beside what decides: what it would decide otherwise is told, and changes nothing.
use std::fmt::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use portcullis_core::{Context, MetricSource, Requirement, Route, Verdict};

use crate::judge::{Head, Judge, Judged};
use crate::live::LiveRoles;
use crate::policy::{Policies, Policy};

/// Roles and policies that could be, run beside those that are. Cheap to clone; clones count together.
///
/// Of every request it is told what they would have decided otherwise: by an event of `tracing` whose target is `portcullis::shadow`, at level `WARN`, in the
/// request's explanation, and in the counts. Never in the response. A policy of the candidate that has to ask somebody is not asked, and counted as skipped.
///
/// ```
/// use portcullis_authz::{AuthorizeLayer, Roles, Shadow};
/// let live = Roles::builder().role("clerk").permits("orders:*").build()?;
/// let next = Roles::builder().role("clerk").permits("orders:read").build()?;
/// let shadow = Shadow::new(next);
/// let layer = AuthorizeLayer::new(live).shadow(shadow.clone());
/// assert_eq!(shadow.counts().differences(), 0);
/// # Ok::<(), portcullis_core::ConfigErrors>(())
/// ```
#[derive(Clone, Debug)]
pub struct Shadow {
    judge: Judge,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    same: AtomicU64,
    wider: AtomicU64,
    narrower: AtomicU64,
    other: AtomicU64,
    skipped: AtomicU64,
}

/// How often a [`Shadow`] would have decided otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShadowCounts {
    /// As often as this it would have been the same.
    pub same: u64,
    /// It would have allowed what was not.
    pub wider: u64,
    /// It would not have allowed what was.
    pub narrower: u64,
    /// It would have refused for another reason: step-up instead of deny, say.
    pub other: u64,
    /// It would have had to ask somebody.
    pub skipped: u64,
}

impl ShadowCounts {
    /// How often it would have been otherwise.
    pub fn differences(self) -> u64 {
        self.wider + self.narrower + self.other
    }
}

impl Shadow {
    /// These roles. Policies are those of the layer, unless they are [said](Self::policy).
    pub fn new(roles: impl Into<LiveRoles>) -> Self {
        let judge = Judge { roles: roles.into(), policies: Policies::default() };
        Self { judge, counts: Arc::default() }
    }
    /// A policy in the place of the layer's of the same name.
    #[must_use]
    pub fn policy(mut self, name: impl Into<Arc<str>>, policy: impl Policy) -> Self {
        self.judge.policies.put(name.into(), Arc::new(policy));
        self
    }
    /// How often it would have been otherwise so far.
    pub fn counts(&self) -> ShadowCounts {
        let Counts { same, wider, narrower, other, skipped } = &*self.counts;
        let [same, wider, narrower, other, skipped] =
            [same, wider, narrower, other, skipped].map(|count| count.load(Relaxed));
        ShadowCounts { same, wider, narrower, other, skipped }
    }
    /// With the layer's own policies where it has none.
    pub(crate) fn above(mut self, policies: &Policies) -> Self {
        for name in policies.names().map(Arc::<str>::from).collect::<Vec<_>>() {
            if let (None, Some(policy)) = (self.judge.policies.get(&name), policies.get(&name)) {
                self.judge.policies.put(name, Arc::clone(policy));
            }
        }
        self
    }
    pub(crate) fn compare(
        &self,
        own: Option<&Requirement>,
        context: &Context,
        head: Head<'_>,
        verdict: Verdict,
    ) {
        if self.judge.roles.is_stale() {
            self.counts.skipped.fetch_add(1, Relaxed);
            return;
        }
        // A candidate that panics is none, and changes nothing.
        let judging = AssertUnwindSafe(|| self.judge.judge(own, context, Some(head), None));
        let judged = match catch_unwind(judging) {
            Ok(Ok(Judged::Judgement(judged))) => judged,
            Ok(Ok(Judged::Ask(_))) | Err(_) => {
                self.counts.skipped.fetch_add(1, Relaxed);
                return;
            }
            // What is wrong with the stack is told already.
            Ok(Err(_)) => return,
        };
        let count = match (verdict, judged.verdict) {
            (live, candidate) if live == candidate => {
                self.counts.same.fetch_add(1, Relaxed);
                return;
            }
            (_, Verdict::Allow) => &self.counts.wider,
            (Verdict::Allow, _) => &self.counts.narrower,
            _ => &self.counts.other,
        };
        count.fetch_add(1, Relaxed);
        let candidate = judged.verdict;
        let (rule, reason) = (judged.rule, &judged.reason);
        context.note("shadow", || format!("{candidate}: {rule}: {reason}"));
        let key = context.identity().map(|identity| identity.key().to_string());
        tracing::warn!(
            target: "portcullis::shadow",
            request_id = context.request_id().map(ToString::to_string),
            identity = key,
            method = head.method.as_str(),
            route = context.route().map(Route::template),
            live = verdict.as_str(),
            candidate = candidate.as_str(),
            rule = %rule,
            reason = %reason,
            "the candidate would decide otherwise"
        );
    }
}

impl MetricSource for Shadow {
    fn write(&self, out: &mut String) {
        let ShadowCounts { same, wider, narrower, other, skipped } = self.counts();
        out.push_str(
            "# HELP portcullis_shadow_decisions_total What candidate roles and policies would have decided, beside what was decided.\n\
             # TYPE portcullis_shadow_decisions_total counter\n",
        );
        let all = [
            ("same", same),
            ("wider", wider),
            ("narrower", narrower),
            ("other", other),
            ("skipped", skipped),
        ];
        for (outcome, count) in all {
            // Writing to a string never fails.
            _ = writeln!(out, "portcullis_shadow_decisions_total{{outcome=\"{outcome}\"}} {count}");
        }
    }
}

impl fmt::Display for ShadowCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { same, wider, narrower, other, skipped } = self;
        write!(
            f,
            "{same} the same, {wider} wider, {narrower} narrower, {other} other, {skipped} skipped"
        )
    }
}
