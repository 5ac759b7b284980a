//! HTTP dates (RFC 9110, section 5.6.7): three forms, and nothing else.
//!
//! A date that a cache reads more leniently than others do is a date by which it keeps a response longer than its origin meant. Case alone is
//! forgiven. The day of the week has to be one, not the right one.

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// What two digits of a year are read against where it does not matter: 2026.
const ABOUT_NOW: u64 = 1_780_000_000;

/// The seconds since 1970; 0 for what lies before.
pub(super) fn parse(text: &str) -> Option<u64> {
    parse_near(text, ABOUT_NOW)
}

/// As [`parse`]. A year of two digits that would lie more than 50 years after `now`, in seconds since 1970, is of the century before.
pub(super) fn parse_near(text: &str, now: u64) -> Option<u64> {
    let Some((day, rest)) = text.split_once(", ") else { return asctime(text) };
    match is_day(day, 3) {
        true => fixdate(rest),
        false if is_day(day, usize::MAX) => rfc850(rest, now),
        false => None,
    }
}

/// `06 Nov 1994 08:49:37 GMT`.
fn fixdate(text: &str) -> Option<u64> {
    let [day, month, year, time, zone] = fields(text, ' ')?;
    let time = clock(time)?;
    is_gmt(zone).then(|| seconds(number(year, 4)?, month_of(month)?, number(day, 2)?, time))?
}

/// `06-Nov-94 08:49:37 GMT`.
fn rfc850(text: &str, now: u64) -> Option<u64> {
    let [date, time, zone] = fields(text, ' ')?;
    let [day, month, year] = fields(date, '-')?;
    let time = clock(time)?;
    let (month, day, year) = (month_of(month)?, number(day, 2)?, number(year, 2)?);
    let (this_year, ..) = civil(now / 86_400);
    let mut year = this_year / 100 * 100 + year;
    if year > this_year + 50 {
        year -= 100;
    }
    is_gmt(zone).then(|| seconds(year, month, day, time))?
}

/// `Sun Nov  6 08:49:37 1994`.
fn asctime(text: &str) -> Option<u64> {
    let (weekday, rest) = text.split_once(' ')?;
    let (month, rest) = rest.split_once(' ')?;
    let (day, rest) = rest.split_at_checked(2)?;
    let ["", time, year] = fields(rest, ' ')? else { return None };
    let day = day.strip_prefix(' ').map_or_else(|| number(day, 2), |day| number(day, 1))?;
    let time = clock(time)?;
    is_day(weekday, 3).then(|| seconds(number(year, 4)?, month_of(month)?, day, time))?
}

/// As many parts as are asked for, and no more.
fn fields<const N: usize>(text: &str, between: char) -> Option<[&str; N]> {
    let mut parts = text.split(between);
    let mut fields = [""; N];
    for field in &mut fields {
        *field = parts.next()?;
    }
    parts.next().is_none().then_some(fields)
}

/// `08:49:37`, as seconds.
fn clock(text: &str) -> Option<u64> {
    let [hour, minute, second] = fields(text, ':')?;
    let (hour, minute, second) = (number(hour, 2)?, number(minute, 2)?, number(second, 2)?);
    // There are leap seconds.
    (hour < 24 && minute < 60 && second <= 60).then_some(hour * 3600 + minute * 60 + second)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

fn is_gmt(text: &str) -> bool {
    text.eq_ignore_ascii_case("GMT")
}

fn is_day(text: &str, letters: usize) -> bool {
    DAYS.iter().any(|day| {
        day.get(..letters.min(day.len())).is_some_and(|day| day.eq_ignore_ascii_case(text))
    })
}

/// From 1.
fn month_of(text: &str) -> Option<u64> {
    (1..).zip(MONTHS).find_map(|(number, name)| name.eq_ignore_ascii_case(text).then_some(number))
}

/// Of a day of the Gregorian calendar, and the seconds since its midnight.
fn seconds(year: u64, month: u64, day: u64, time: u64) -> Option<u64> {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if day == 0 || day > longest {
        return None;
    }
    // Years begin in March, so that the day that comes and goes is the last of them.
    let (year, month) =
        if month > 2 { (year, month - 3) } else { (year.saturating_sub(1), month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
    // The 1st of January 1970 is day 719,468 since the 1st of March of the year 0.
    Some(days.checked_sub(719_468).map_or(0, |days| days * 86_400 + time))
}

/// The year, month and day of a day since 1970.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (day * 5 + 2) / 153;
    let day = day - (month * 153 + 2) / 5 + 1;
    let (month, more) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + more, month, day)
}

/// The preferred form, of seconds since 1970.
pub(super) fn format(seconds: u64) -> String {
    // The year 9999 is the last that four digits hold.
    let seconds = seconds.min(253_402_300_799);
    let (days, time) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let index = |number: u64| usize::try_from(number).unwrap_or_default();
    // The 1st of January 1970 was a Thursday.
    let weekday = DAYS.get(index((days + 4) % 7)).and_then(|day| day.get(..3)).unwrap_or_default();
    let month = MONTHS.get(index(month - 1)).copied().unwrap_or_default();
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_three_forms_in_any_case() {
        for (text, want) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777),
            ("Sun Nov 16 08:49:37 1994", 784_975_777),
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Wed, 31 Dec 1969 23:59:59 GMT", 0),
            ("Sat, 01 Jan 0000 00:00:00 GMT", 0),
            ("Tue, 29 Feb 2028 23:59:60 GMT", 1_835_481_600),
            ("Tue, 19 Jan 2038 14:14:08 GMT", 2_147_523_248),
            ("Sun, 21 Nov 2286 04:46:39 GMT", 10_000_039_599),
            ("Thursday, 18-Aug-50 02:01:18 GMT", 2_544_400_878),
            ("Thu Aug  8 02:01:18 2050", 2_543_536_878),
            ("THU, 18 AUG 2050 02:01:18 gMT", 2_544_400_878),
        ] {
            assert_eq!(parse(text), Some(want), "{text}");
        }
    }

    #[test]
    fn reads_nothing_else() {
        for text in [
            "",
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 2050 02:01:18 +0000",
            "Thu, 18 Aug 2050 02:01:18",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18-Aug-50 02:01:18 GMT",
            "Thursday, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Thu, 18 Aug 2050 02:60:18 GMT",
            "Thu, 18 Aug 2050 02:01:61 GMT",
            "Thu, 8 Aug 2050 02:01:18 GMT",
            "Thu, 31 Jun 2050 02:01:18 GMT",
            "Tue, 29 Feb 2027 02:01:18 GMT",
            "Thu, 00 Aug 2050 02:01:18 GMT",
            "Thu,  18 Aug 2050 02:01:18 GMT",
            "Thu,18 Aug 2050 02:01:18 GMT",
            "Thu, 18 August 2050 02:01:18 GMT",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
            "Thu, 18 Aug +050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02:01:18 GMT ",
            "Thu Aug 8 02:01:18 2050",
            "Thu Aug  8 02:01:18 2050 GMT",
            "Thu Aug é8 02:01:18 2050",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn two_digits_lie_within_fifty_years() {
        for (text, want) in [
            ("Sunday, 06-Nov-76 08:49:37 GMT", "Fri, 06 Nov 2076 08:49:37 GMT"),
            ("Sunday, 06-Nov-77 08:49:37 GMT", "Sun, 06 Nov 1977 08:49:37 GMT"),
        ] {
            assert_eq!(parse_near(text, ABOUT_NOW).map(format).as_deref(), Some(want), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for day in 0..200_000 {
            let seconds = day * 86_400 + day * 37 % 86_400;
            assert_eq!(parse(&format(seconds)), Some(seconds), "{seconds}");
        }
        assert_eq!(format(u64::MAX), "Fri, 31 Dec 9999 23:59:59 GMT");
    }
}
