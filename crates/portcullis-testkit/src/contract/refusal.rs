//! A request that is refused.
use portcullis_core::Context;

use super::bench::{Bench, is_refusal, shown};
use super::inner::Act;

impl Bench {
    pub(super) async fn refusal(&self) {
        let Some(make) = &self.refuses else { return };
        let (case, mut outer) = self.case("a request that is refused", Act::Answer);
        case.ready(&mut outer).await;
        let request = make();
        let method = request.method().clone();
        let context = Context::get(request.extensions()).cloned();
        let answer = case.within("the refusal", outer.call(request)).await;
        let seen = shown(&answer);
        let response = match answer {
            Ok(response) if is_refusal(&response) => response,
            Ok(_) => case.fail(format!("it was not refused, but gave {seen}")),
            Err(_) => case.fail(format!("a refusal is an answer, but the call gave {seen}")),
        };
        if case.ledger.calls() > 0 {
            case.fail(format!("the inner service was called all the same; then came {seen}"));
        }
        if context.is_some_and(|context| context.problem().is_none()) {
            case.fail("the problem is not in the context: answer with `Problem::respond`");
        }
        case.inspect(&method, response).await;
        // The inner instance was made ready and not called: it may wait for the next request.
        drop(outer);
        case.nothing_left();
    }
}
