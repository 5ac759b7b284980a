//! Clients of whom nobody knows the address.
use std::io;
use std::sync::{Arc, Mutex};

use portcullis_core::Connection;
use portcullis_ratelimit::{Key, RateLimitLayer, per_hour};
use portcullis_testkit::{FakeTime, TestClient};
use tower::Layer;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{Endpoint, client_of, peer};

/// What was logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
    /// Writes down what this thread logs, until the guard is dropped.
    fn listen(&self) -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(self.clone());
        tracing::subscriber::set_default(subscriber.finish())
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn they_share_one_bucket_and_one_warning() {
    let log = Log::default();
    let _guard = log.listen();
    let time = FakeTime::new();
    let layer = RateLimitLayer::in_memory().everywhere(per_hour(2).by(Key::Identity));
    let service = layer.layer(Endpoint::default());
    let client = TestClient::new(service).clock(time.clock());

    client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(200);
    assert_eq!(log.text(), "", "an address is known");

    client.get("/").send().await.assert_status(200);
    // A connection without an address, as on a Unix socket.
    client.get("/").connection(Connection::new(None)).send().await.assert_status(200);
    client.get("/").send().await.assert_status(429).assert_problem("quota-exceeded");
    client_of(&layer.clone(), &time).get("/").send().await.assert_status(429);
    // Whose address is known is not one of them.
    client.get("/").peer(peer("192.0.2.1")).send().await.assert_status(200);

    let log = log.text();
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("WARN portcullis_ratelimit"), "{log}");
    assert!(log.contains("the address of the client is not known"), "{log}");
}
