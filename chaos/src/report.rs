//! What an experiment measured, as a table in Markdown, and what of it missed its mark.

/// The rows of a table, and the misses among them.
#[derive(Debug)]
pub(crate) struct Report {
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
    misses: Vec<String>,
}

impl Report {
    /// A table with columns of its own.
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new(), misses: Vec::new() }
    }
    /// A table of figures, one on each row.
    pub(crate) fn figures() -> Self {
        Self::new(&["figure", "measured", "must be"])
    }
    /// A figure that is only told.
    pub(crate) fn figure(&mut self, name: &str, measured: impl Into<String>) {
        self.row(vec![name.to_owned(), measured.into(), String::new()]);
    }
    /// A figure that has to be met.
    pub(crate) fn gate(&mut self, name: &str, measured: impl Into<String>, must: &str, met: bool) {
        let measured = measured.into();
        if !met {
            self.miss(format!("{name}: {measured}, must be {must}"));
        }
        let shown = if met { measured } else { format!("**{measured}**") };
        self.row(vec![name.to_owned(), shown, must.to_owned()]);
    }
    pub(crate) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }
    pub(crate) fn miss(&mut self, what: impl Into<String>) {
        self.misses.push(what.into());
    }
    pub(crate) fn misses(&self) -> &[String] {
        &self.misses
    }
    /// The table. Its first column is text, its others are numbers; what missed its mark is bold.
    pub(crate) fn markdown(&self) -> String {
        let rule = (0..self.head.len()).map(|column| if column == 0 { "---" } else { "--:" });
        let line = |cells: Vec<&str>| format!("| {} |\n", cells.join(" | "));
        let rows = self.rows.iter().map(|row| line(row.iter().map(String::as_str).collect()));
        [line(self.head.clone()), line(rule.collect())].into_iter().chain(rows).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_told_and_stands_out() {
        let mut report = Report::figures();
        report.figure("restarts", "10");
        report.gate("requests", "40", "at least 30", true);
        report.gate("failed", "2", "0", false);
        let want = "| figure | measured | must be |\n| --- | --: | --: |\n| restarts | 10 |  |\n\
                    | requests | 40 | at least 30 |\n| failed | **2** | 0 |\n";
        assert_eq!(report.markdown(), want);
        assert_eq!(report.misses(), ["failed: 2, must be 0"]);
    }

    #[test]
    fn a_table_may_have_columns_of_its_own() {
        let mut report = Report::new(&["flood", "frames"]);
        report.row(vec!["ping".to_owned(), "9".to_owned()]);
        assert_eq!(report.markdown(), "| flood | frames |\n| --- | --: |\n| ping | 9 |\n");
    }
}
