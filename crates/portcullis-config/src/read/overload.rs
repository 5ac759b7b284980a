//! `[overload]`: how many requests are under way at once, and who is shed.
use portcullis_ratelimit::{Adaptive, Concurrency, Priority, Queue};

use crate::overload::Overload;
use crate::reader::{At, Table};

/// How many requests there can be at all.
const MOST: u64 = u32::MAX as u64;

pub(super) fn read(table: &Table<'_>) -> Option<Overload> {
    let limit = limit(table);
    let count = |key: &str, least: u64| Some(number(&table.whole(key, least..=MOST)?));
    let per_address = count("per_address", 1);
    let fair = table.flag("fair") != Some(false);
    let queue = queue(table);
    let retry_after = table.time("retry_after");
    let plans = table.texts("paid_plans").into_iter().map(|plan| plan.value).collect();
    let paid_plans = table.get("paid_plans").map(|_| plans);
    let reserve = count("reserve", 0);
    Some(Overload { limit: limit?, per_address, fair, queue, retry_after, paid_plans, reserve })
}

fn number(at: &At<u64>) -> usize {
    usize::try_from(at.value).unwrap_or(usize::MAX)
}

/// A number, or one that is found.
fn limit(table: &Table<'_>) -> Option<Concurrency> {
    let (told, bounds) = (table.told(), table.wholes("between", 1..=MOST));
    let between = table.get("between");
    let Some(value) = table.get("limit") else {
        let is_adaptive = between.is_some();
        table.missing("limit", if is_adaptive { "limit = \"adaptive\"" } else { "limit = 500" });
        return None;
    };
    if !value.get_ref().is_str() {
        let limit = number(&table.whole("limit", 1..=MOST)?);
        if let Some(between) = between {
            let message = "the limit is a number, and stays what it is";
            let error = table.error_at(&between.span(), "between", message);
            table.push(error.hint("say `limit = \"adaptive\"`, or drop `between`"));
        }
        return Some(Concurrency::fixed(limit));
    }
    table.word("limit", &["adaptive"])?;
    let Some(between) = between else { return Some(Adaptive::default().into()) };
    if table.told() != told {
        return None;
    }
    let wrong = |message: String| {
        let error = table.error_at(&between.span(), "between", message);
        table.push(error.hint("say the least and the most: `between = [10, 1000]`"));
        None
    };
    match bounds.as_slice() {
        [least, most] if least.value > most.value => {
            wrong(format!("the least, {}, is more than the most, {}", least.value, most.value))
        }
        [least, most] => Some(Adaptive::default().between(number(least), number(most)).into()),
        _ => wrong("it must be two numbers".to_owned()),
    }
}

/// Who may wait.
fn queue(table: &Table<'_>) -> Option<Queue> {
    let (target, time) = (table.time("queue_target"), table.time("queue_time"));
    if table.get("queue").is_none() {
        for key in ["queue_target", "queue_time"] {
            let Some(value) = table.get(key) else { continue };
            let message = "nobody waits: there is no `queue`";
            let error = table.error_at(&value.span(), key, message);
            table.push(error.hint(format!("add `queue = 100`, or drop `{key}`")));
        }
        return None;
    }
    let queue = Queue::new(number(&table.whole("queue", 1..=MOST)?));
    let queue = target.into_iter().fold(queue, Queue::target);
    Some(time.into_iter().fold(queue, Queue::at_most))
}

/// How important a route is, where it says so.
pub(super) fn priority(table: &Table<'_>, has_overload: bool) -> Option<Priority> {
    let value = table.get("priority")?;
    let word = table.word("priority", &["critical", "high", "normal", "low"])?;
    if !has_overload {
        let message = "nobody is shed, so none is first or last: there is no `[overload]`";
        let error = table.error_at(&value.span(), "priority", message);
        table.push(error.hint("add `[overload]` with a `limit`, or drop `priority`"));
    }
    Some(match word {
        "critical" => Priority::Critical,
        "high" => Priority::High,
        "low" => Priority::Low,
        _ => Priority::Normal,
    })
}
