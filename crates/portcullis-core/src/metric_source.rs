//! What other crates count.

/// Something that counts, and can write it down in the text format of Prometheus (version 0.0.4).
///
/// The crate that counts implements it, and `portcullis-telemetry` shows it beside its own (`Metrics::with_source`); so
/// neither needs to know the other. A closure is one too:
///
/// ```
/// use std::fmt::Write;
/// use portcullis_core::MetricSource;
/// let queue = |out: &mut String| {
///     _ = writeln!(out, "# HELP shop_queue_length Orders that wait.\n# TYPE shop_queue_length gauge\nshop_queue_length 7");
/// };
/// let mut text = String::new();
/// MetricSource::write(&queue, &mut text);
/// assert!(text.ends_with("shop_queue_length 7\n"));
/// ```
pub trait MetricSource: Send + Sync {
    /// Appends whole families, each with its `# HELP` and `# TYPE` and with a name that no other source has.
    ///
    /// Sets of labels are bounded, and hold nothing that a client chose. It is called for each scrape, and does not wait.
    fn write(&self, out: &mut String);
}

impl<F: Fn(&mut String) + Send + Sync> MetricSource for F {
    fn write(&self, out: &mut String) {
        self(out);
    }
}
