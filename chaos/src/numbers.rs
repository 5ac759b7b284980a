//! Figures as people read them, and percentiles.
use std::time::Duration;

/// `12 345`: the thousands apart.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (digit, left) in digits.chars().zip((0..digits.len()).rev()) {
        out.push(digit);
        if left > 0 && left % 3 == 0 {
            out.push(' ');
        }
    }
    out
}

/// `1.23 s`.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// `0.45 ms`.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

/// `1.5 MiB`, of a number of bytes.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", tenths(bytes, 1 << 20))
}

/// `12.3 kB`, of a number of bytes.
pub(crate) fn kilobytes(bytes: u64) -> String {
    format!("{} kB", tenths(bytes, 1000))
}

fn tenths(value: u64, unit: u64) -> String {
    let tenths = (u128::from(value) * 10 + u128::from(unit / 2)) / u128::from(unit);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// The smallest of the `sorted` values that is not exceeded by so many per cent of them.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).or(sorted.last()).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (value, want) in [(0, "0"), (999, "999"), (1000, "1 000"), (1_234_567, "1 234 567")] {
            assert_eq!(count(value), want);
        }
        assert_eq!(mebibytes(3 << 19), "1.5 MiB");
        assert_eq!(mebibytes(0), "0.0 MiB");
        assert_eq!(kilobytes(12_349), "12.3 kB");
        assert_eq!(kilobytes(12_350), "12.4 kB");
        assert_eq!(seconds(Duration::from_millis(1234)), "1.23 s");
        assert_eq!(millis(Duration::from_micros(450)), "0.45 ms");
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        for (percent, want) in [(0, 1), (50, 100), (99, 198), (100, 200)] {
            assert_eq!(percentile(&times, percent), Duration::from_millis(want), "{percent}");
        }
        let one = [Duration::from_millis(7)];
        assert_eq!(percentile(&one, 1), percentile(&one, 99));
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
