//! Tables in Markdown.

/// A table whose first column is text and whose others are numbers.
pub(super) fn markdown(head: &[&str], rows: &[Vec<String>]) -> String {
    let rule = (0..head.len()).map(|column| if column == 0 { "---" } else { "--:" });
    let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
    let body = rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
    [line(head.to_vec()), line(rule.collect())].into_iter().chain(body).collect()
}

/// A number with its thousands apart, and one decimal where it is not whole.
pub(super) fn number(value: f64) -> String {
    let text = format!("{:.1}", value.abs());
    let (whole, decimals) = text.split_once('.').unwrap_or((&text, "0"));
    let mut out = String::new();
    for (digit, left) in whole.chars().zip((0..whole.len()).rev()) {
        out.push(digit);
        if left > 0 && left % 3 == 0 {
            out.push(' ');
        }
    }
    if decimals != "0" {
        out.push('.');
        out.push_str(decimals);
    }
    let is_negative = value < 0.0 && text != "0.0";
    if is_negative { format!("-{out}") } else { out }
}

/// The number with its sign.
pub(super) fn difference(value: f64) -> String {
    let text = number(value);
    if text.starts_with('-') { text } else { format!("+{text}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (value, want) in [
            (0.0, "0"),
            (7.0, "7"),
            (999.96, "1 000"),
            (1234.56, "1 234.6"),
            (1_234_567.0, "1 234 567"),
            (-12.5, "-12.5"),
            (-0.01, "0"),
        ] {
            assert_eq!(number(value), want, "{value}");
        }
        assert_eq!((difference(3.0).as_str(), difference(-3.0).as_str()), ("+3", "-3"));
    }

    #[test]
    fn a_table_has_a_head_and_a_rule() {
        let table = markdown(&["what", "count"], &[vec!["a".to_owned(), "1".to_owned()]]);
        assert_eq!(table, "| what | count |\n| --- | --: |\n| a | 1 |\n");
    }
}
