//! The marks in a document between which the figures of an experiment stand.
use crate::failure::{Failure, Result};

/// `text` with `table` between the marks of `name`.
pub(crate) fn replaced(text: &str, name: &str, table: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- chaos:{name} -->"), format!("<!-- /chaos:{name} -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, behind) = rest.split_once(&end)?;
        Some(format!("{before}{begin}\n{}\n{end}{behind}", table.trim_end()))
    });
    parts.ok_or_else(|| Failure::new(format!("the file has no {begin} with {end} behind it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = |inside: &str| {
            format!("a\n<!-- chaos:slow -->\n{inside}<!-- /chaos:slow -->\nb <!-- chaos:x -->\n")
        };
        assert_eq!(replaced(&page(""), "slow", "new\n").unwrap(), page("new\n"));
        assert_eq!(replaced(&page("old\n"), "slow", "new").unwrap(), page("new\n"));
        assert!(replaced(&page(""), "x", "new").is_err(), "no end");
        assert!(replaced("nothing", "slow", "new").is_err());
    }
}
