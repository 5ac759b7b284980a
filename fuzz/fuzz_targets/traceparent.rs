//! `TraceContext::parse` answers every text, and what it accepts is written as it was read.
#![no_main]
use libfuzzer_sys::fuzz_target;
use portcullis_core::TraceContext;

/// The length of a `traceparent` of version 00.
const LENGTH: usize = 55;

fuzz_target!(|text: &str| {
    let Some(trace) = TraceContext::parse(text) else { return };
    let written = trace.to_string();
    assert_eq!(written.len(), LENGTH);
    // We write version 00; a later version may have more behind the fields that we know.
    assert_eq!(written.get(..2), Some("00"));
    assert_eq!(written.get(2..), text.get(2..LENGTH), "the fields changed");
    if text.starts_with("00") {
        assert_eq!(written, text);
    }
    assert_eq!(trace.header_value(), written.as_str());
    assert_eq!(TraceContext::parse(&written), Some(trace));

    let child = trace.child();
    assert_eq!(child.trace_id(), trace.trace_id());
    assert_eq!(child.parent_id(), Some(trace.span_id()));
    assert_eq!(child.is_sampled(), trace.is_sampled());
    assert!(TraceContext::parse(&child.to_string()).is_some());
});
