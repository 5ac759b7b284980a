//! Dates as HTTP writes them.
use std::time::{Duration, SystemTime};

const DAYS: [&str; 7] =
    ["Thursday", "Friday", "Saturday", "Sunday", "Monday", "Tuesday", "Wednesday"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The date so many seconds from a time, as RFC 9110 writes it, or as RFC 850 did.
pub(super) fn date(now: SystemTime, seconds: i64, is_old: bool) -> String {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let at = Duration::from_secs(now.as_secs().checked_add_signed(seconds).unwrap()).as_secs();
    let (days, rest) = (at / 86_400, at % 86_400);
    let weekday = DAYS[usize::try_from(days % 7).unwrap()];
    let (year, month, day) = civil(days);
    let time = format!("{:02}:{:02}:{:02} GMT", rest / 3_600, rest / 60 % 60, rest % 60);
    if is_old {
        return format!("{weekday}, {day:02}-{month}-{:02} {time}", year % 100);
    }
    format!("{}, {day:02} {month} {year} {time}", &weekday[..3])
}

/// Year, month and day, so many days after the beginning of 1970.
fn civil(mut days: u64) -> (u64, &'static str, u64) {
    let mut year = 1970;
    loop {
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let february = if is_leap { 29 } else { 28 };
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        for (month, length) in MONTHS.into_iter().zip(lengths) {
            if days < length {
                return (year, month, days + 1);
            }
            days -= length;
        }
        year += 1;
    }
}

#[test]
fn dates_are_those_of_the_standard() {
    let example = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    assert_eq!(date(example, 0, false), "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_eq!(date(example, 0, true), "Sunday, 06-Nov-94 08:49:37 GMT");
    assert_eq!(date(example, 60 * 86_400, false), "Thu, 05 Jan 1995 08:49:37 GMT");
    assert_eq!(date(example, -784_111_777, false), "Thu, 01 Jan 1970 00:00:00 GMT");
}
