//! What a server counts.
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

use portcullis_core::MetricSource;

/// What a server counts. Cheap to clone; all clones count into the same.
///
/// Hand it to `portcullis-telemetry`'s `Metrics::with_source`, and it stands beside the metrics of the requests.
#[derive(Clone, Debug, Default)]
pub struct Stats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    open: AtomicI64,
    accepted: AtomicU64,
    endings: [AtomicU64; Ending::ALL.len()],
}

/// Why the server ended or refused something by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Ending {
    /// Too many connections in all, and none was idle.
    TooMany,
    /// Too many connections of one address.
    TooManyOfAddress,
    /// The address is not let in.
    AddressRefused,
    /// The PROXY header is missing or wrong.
    ProxyHeader,
    /// The TLS handshake failed.
    Handshake,
    /// No request came in time.
    HeaderTime,
    /// The bytes were no request.
    NotHttp,
    /// The request breaks a rule.
    RequestRefused,
    /// A body came too slowly, or was too large.
    Body,
    /// The client did not take what it asked for.
    WriteTime,
    /// HTTP/2 frames that cost and carry nothing.
    Flood,
    /// The drain time was over.
    DrainTime,
    /// Accepting failed.
    AcceptFailed,
    /// The service panicked.
    Panic,
}

impl Ending {
    const ALL: [(Self, &'static str); 14] = [
        (Self::TooMany, "connections"),
        (Self::TooManyOfAddress, "connections_per_address"),
        (Self::AddressRefused, "address"),
        (Self::ProxyHeader, "proxy_header"),
        (Self::Handshake, "tls_handshake"),
        (Self::HeaderTime, "header_time"),
        (Self::NotHttp, "not_http"),
        (Self::RequestRefused, "request"),
        (Self::Body, "body"),
        (Self::WriteTime, "write_time"),
        (Self::Flood, "http2_flood"),
        (Self::DrainTime, "drain_time"),
        (Self::AcceptFailed, "accept"),
        (Self::Panic, "panic"),
    ];
}

/// Counts a connection as open until it is dropped.
pub(crate) struct Open(Stats);

impl Stats {
    /// How many connections are open.
    pub fn connections(&self) -> u64 {
        u64::try_from(self.0.open.load(Relaxed)).unwrap_or(0)
    }
    /// How many connections were accepted.
    pub fn accepted(&self) -> u64 {
        self.0.accepted.load(Relaxed)
    }
    /// How often the server ended or refused something by itself, whatever the reason.
    pub fn refused(&self) -> u64 {
        self.0.endings.iter().map(|count| count.load(Relaxed)).sum()
    }
    pub(crate) fn ended(&self, why: Ending) {
        self.ended_many(why, 1);
    }
    pub(crate) fn ended_many(&self, why: Ending, times: usize) {
        if let Some(count) = self.0.endings.get(why as usize) {
            count.fetch_add(times as u64, Relaxed);
        }
    }
    pub(crate) fn accept(&self) -> Open {
        self.0.accepted.fetch_add(1, Relaxed);
        self.0.open.fetch_add(1, Relaxed);
        Open(self.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.0.open.fetch_sub(1, Relaxed);
    }
}

impl MetricSource for Stats {
    fn write(&self, out: &mut String) {
        let counters = &*self.0;
        let (open, accepted) = (self.connections(), self.accepted());
        // Writing to a string never fails.
        let _ = write!(
            out,
            "# HELP portcullis_server_connections Connections that are open.\n\
             # TYPE portcullis_server_connections gauge\n\
             portcullis_server_connections {open}\n\
             # HELP portcullis_server_accepted_total Connections that were accepted.\n\
             # TYPE portcullis_server_accepted_total counter\n\
             portcullis_server_accepted_total {accepted}\n\
             # HELP portcullis_server_ended_total What the server ended or refused by itself.\n\
             # TYPE portcullis_server_ended_total counter\n",
        );
        for ((_, reason), count) in Ending::ALL.iter().zip(&counters.endings) {
            let count = count.load(Relaxed);
            let _ = writeln!(out, "portcullis_server_ended_total{{reason=\"{reason}\"}} {count}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_line() {
        assert!(Ending::ALL.iter().enumerate().all(|(at, (ending, _))| *ending as usize == at));
        let stats = Stats::default();
        let open = stats.accept();
        stats.ended(Ending::Flood);
        let mut text = String::new();
        stats.write(&mut text);
        assert!(text.contains("portcullis_server_connections 1\n"), "{text}");
        assert!(text.contains("{reason=\"http2_flood\"} 1\n"), "{text}");
        assert!(text.contains("{reason=\"panic\"} 0\n"), "{text}");
        drop(open);
        assert_eq!((stats.connections(), stats.accepted(), stats.refused()), (0, 1, 1));
    }
}
