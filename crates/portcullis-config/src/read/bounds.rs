//! How much in how much time, as limits and their plans say it.
use std::time::Duration;

use portcullis_ratelimit::{Quota, at_once, per, unlimited};

use crate::reader::{At, Table};

/// The largest number of bounds that one limit has.
const MOST_BOUNDS: usize = 8;

/// The bounds of a limit, or of a plan.
pub(super) fn bounds(table: &Table<'_>, of_bytes: bool) -> Option<Quota> {
    let (told, texts) = (table.told(), table.texts("rate"));
    if let Some(value) = table.get("rate").filter(|_| texts.is_empty() && table.told() == told) {
        let error = table.error_at(&value.span(), "rate", "an empty list bounds nothing");
        table.push(error.hint("write `\"100/s\"`, or `\"unlimited\"`"));
    }
    let rates = rates(table, &texts, of_bytes)?;
    let bursts = table.wholes("burst", 1..=u64::MAX);
    if !bursts.is_empty() && bursts.len() != rates.len() {
        let (burst, rate) = (numbered(bursts.len(), "number"), numbered(rates.len(), "rate"));
        let message = format!("`burst` has {burst}, and `rate` has {rate}");
        let span = table.span_of("burst");
        let error = table.error_at(&span, "burst", message);
        table.push(error.hint("say one burst for each rate, in their order, or none"));
    }
    let at_once_of = table.whole("at_once", 1..=u64::from(u32::MAX));
    let mut bursts = bursts.into_iter();
    let rates = rates.into_iter().map(|rate| match bursts.next() {
        Some(burst) => rate.burst(burst.value),
        None => rate,
    });
    let quota = joined(rates);
    let most = at_once_of.and_then(|most| u32::try_from(most.value).ok());
    let quota = most.into_iter().fold(quota, |quota, most| quota.and(at_once(most)));
    if quota.bounds(None).len() > MOST_BOUNDS {
        let error = table.error(format!("it has more than {MOST_BOUNDS} bounds"));
        table.push(error.hint("leave those out that the others imply"));
    }
    Some(quota)
}

fn numbered(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

pub(super) fn joined(rates: impl IntoIterator<Item = Quota>) -> Quota {
    rates.into_iter().fold(unlimited(), Quota::and)
}

/// Rates, and `unlimited`, which is none; `None` where one is wrong.
pub(super) fn rates(table: &Table<'_>, texts: &[At<String>], of_bytes: bool) -> Option<Vec<Quota>> {
    if texts.len() == 1 && texts.iter().all(|text| text.value == "unlimited") {
        return Some(Vec::new());
    }
    let mut all = Some(Vec::new());
    for text in texts {
        match (rate(&text.value, of_bytes), &mut all) {
            (Ok(rate), Some(all)) => all.push(rate),
            (Ok(_), None) => {}
            (Err(message), _) => {
                table.push(table.error_as(text, message));
                all = None;
            }
        }
    }
    all
}

/// `100/s`, `60/10s`, of bytes `10MiB/s`.
fn rate(text: &str, of_bytes: bool) -> Result<Quota, String> {
    let wrong = || {
        let also = if of_bytes { "`10MiB/s`, " } else { "" };
        format!("`{text}` is no rate: write {also}`100/s`, `60/min` or `1000/h`")
    };
    let (number, time) = text.split_once('/').ok_or_else(wrong)?;
    let number = match number.trim().parse() {
        Err(_) if of_bytes => crate::reader::size(number.trim()).map_err(|_| wrong())?,
        number => number.map_err(|_| wrong())?,
    };
    if number == 0 {
        return Err("a rate of 0 lets nobody through: leave the route out instead".to_owned());
    }
    let time = time.trim();
    let split = time.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (count, unit) = time.split_at(split);
    let count: u64 = if count.is_empty() { 1 } else { count.parse().map_err(|_| wrong())? };
    let unit = match unit {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    // A year is more than anybody remembers.
    let seconds = count.checked_mul(unit).filter(|seconds| (1..=31_622_400).contains(seconds));
    Ok(per(Duration::from_secs(seconds.ok_or_else(wrong)?), number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read_as_it_is_meant() {
        for (text, of_bytes, want) in [
            ("100/s", false, Some((100, 1))),
            ("60/min", false, Some((60, 60))),
            ("60/m", false, Some((60, 60))),
            ("1000/h", false, Some((1_000, 3_600))),
            ("5/d", false, Some((5, 86_400))),
            ("60/10s", false, Some((60, 10))),
            ("10MiB/s", true, Some((10 << 20, 1))),
            ("10MiB/s", false, None),
            ("0/s", false, None),
            ("1/0s", false, None),
            ("1/400d", false, None),
            ("100", false, None),
            ("100/", false, None),
            ("/s", false, None),
            ("-1/s", false, None),
            ("1/s s", false, None),
        ] {
            let read = rate(text, of_bytes).ok();
            let want = want.map(|(units, seconds)| per(Duration::from_secs(seconds), units));
            assert_eq!(read, want, "{text}");
        }
    }
}
