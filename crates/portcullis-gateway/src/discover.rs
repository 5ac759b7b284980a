//! Where the list of servers comes from.
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use portcullis_core::BoxError;
use tokio::io::AsyncReadExt;
use tokio::sync::OnceCell;

use crate::address::{At, Origin};
use crate::server::Spec;

/// The least and the most time for which an answer is believed.
const BELIEVED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How soon a file is looked at again.
const FILE_BEAT: Duration = Duration::from_secs(1);
/// The longest file: room for ten thousand servers and more.
const FILE_BYTES: u64 = 1 << 20;

/// Where the list of servers comes from, when it changes while the gateway runs.
///
/// DNS, SRV records and files are built in ([`UpstreamBuilder`](crate::UpstreamBuilder)); this is for whatever else knows.
pub trait Discover: fmt::Debug + Send + Sync + 'static {
    /// The servers as they are now. An error leaves the list as it was, and is asked again soon.
    fn discover(&self) -> Pin<Box<dyn Future<Output = Result<Discovered, BoxError>> + Send + '_>>;
}

/// A list of servers.
#[derive(Clone, Debug, PartialEq)]
pub struct Discovered {
    servers: Vec<Discoverable>,
    valid_for: Duration,
}

#[derive(Clone, Debug, PartialEq)]
struct Discoverable {
    url: String,
    weight: u32,
    priority: u32,
}

impl Discovered {
    /// No servers, to be asked again after that time: at least 1 s, at most 5 min.
    pub fn new(valid_for: Duration) -> Self {
        Self { servers: Vec::new(), valid_for }
    }
    /// Adds a server, with weight 1 and the first priority.
    #[must_use]
    pub fn server(self, url: impl Into<String>) -> Self {
        self.weighted(url, 1, 0)
    }
    /// Adds a server with this weight, and this priority, 0 being the first.
    #[must_use]
    pub fn weighted(mut self, url: impl Into<String>, weight: u32, priority: u32) -> Self {
        self.servers.push(Discoverable { url: url.into(), weight, priority });
        self
    }
    pub(crate) fn valid_for(&self) -> Duration {
        self.valid_for.clamp(BELIEVED.0, BELIEVED.1)
    }
    /// # Errors
    /// Which of the servers is none.
    pub(crate) fn specs(&self) -> Result<Vec<Spec>, String> {
        let spec = |server: &Discoverable| {
            let origin =
                Origin::parse(&server.url).map_err(|error| format!("`{}`: {error}", server.url))?;
            Ok(Spec { origin, weight: server.weight.max(1), priority: server.priority })
        };
        self.servers.iter().map(spec).collect()
    }
}

/// Looks names up. One for all, made when it is first needed.
async fn resolver() -> Result<&'static TokioResolver, BoxError> {
    static RESOLVER: OnceCell<TokioResolver> = OnceCell::const_new();
    RESOLVER.get_or_try_init(async || Ok(TokioResolver::builder_tokio()?.build()?)).await
}

/// The addresses behind those servers that are names, and for how long they hold.
pub(crate) async fn resolve(specs: &[Spec]) -> Result<(Vec<Spec>, Option<Duration>), BoxError> {
    let (mut resolved, mut valid_for) = (Vec::new(), None::<Duration>);
    for spec in specs {
        let At::Name(name, port) = &spec.origin.at else {
            resolved.push(spec.clone());
            continue;
        };
        let (addresses, ttl) =
            addresses(name).await.map_err(|error| format!("`{name}`: {error}"))?;
        let at = |ip| Spec { origin: spec.origin.resolved(ip, *port), ..spec.clone() };
        resolved.extend(addresses.into_iter().map(at));
        valid_for = Some(valid_for.map_or(ttl, |other| other.min(ttl)));
    }
    Ok((resolved, valid_for.map(|time| time.clamp(BELIEVED.0, BELIEVED.1))))
}

async fn addresses(name: &str) -> Result<(Vec<IpAddr>, Duration), BoxError> {
    let found = resolver().await?.lookup_ip(name).await?;
    let ttl = found.as_lookup().answers().iter().map(|record| record.ttl).min();
    let mut all: Vec<_> = found.iter().collect();
    all.sort_unstable();
    all.dedup();
    Ok((all, Duration::from_secs(ttl.unwrap_or(60).into())))
}

/// The servers that SRV records name (RFC 2782).
#[derive(Debug)]
pub(crate) struct Srv {
    pub(crate) name: Arc<str>,
    pub(crate) scheme: &'static str,
}

impl Discover for Srv {
    fn discover(&self) -> Pin<Box<dyn Future<Output = Result<Discovered, BoxError>> + Send + '_>> {
        Box::pin(async move {
            let found = resolver().await?.lookup(&*self.name, RecordType::SRV).await?;
            let ttl = found.answers().iter().map(|record| record.ttl).min().unwrap_or(60);
            let mut discovered = Discovered::new(Duration::from_secs(ttl.into()));
            for record in found.answers() {
                if let RData::SRV(srv) = &record.data {
                    let target = srv.target.to_ascii();
                    let target = target.strip_suffix('.').unwrap_or(&target);
                    let url = format!("{}://{target}:{}", self.scheme, srv.port);
                    discovered = discovered.weighted(url, srv.weight.into(), srv.priority.into());
                }
            }
            Ok(discovered)
        })
    }
}

/// The servers that stand in a file, one a line: `http://10.0.0.7:9000 weight=2 priority=1`. Empty lines and what stands behind
/// `#` count for nothing.
#[derive(Debug)]
pub(crate) struct File(pub(crate) PathBuf);

impl Discover for File {
    fn discover(&self) -> Pin<Box<dyn Future<Output = Result<Discovered, BoxError>> + Send + '_>> {
        Box::pin(async move {
            let text =
                load(&self.0).await.map_err(|error| format!("`{}`: {error}", self.0.display()))?;
            read(&text).map_err(|error| format!("`{}`, {error}", self.0.display()).into())
        })
    }
}

/// The text of the file, unless it is longer than any list of servers.
async fn load(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    let file = tokio::fs::File::open(path).await?;
    file.take(FILE_BYTES + 1).read_to_string(&mut text).await?;
    if text.len() as u64 > FILE_BYTES {
        let error = format!("it has more than {FILE_BYTES} bytes");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, error));
    }
    Ok(text)
}

fn read(text: &str) -> Result<Discovered, String> {
    let mut discovered = Discovered::new(FILE_BEAT);
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(url) = words.next() else { continue };
        let (mut weight, mut priority) = (1, 0);
        for word in words {
            let wrong =
                || format!("line {}: `{word}` is no `weight=N` or `priority=N`", number + 1);
            let (name, value) = word.split_once('=').ok_or_else(wrong)?;
            let value: u32 = value.parse().map_err(|_| wrong())?;
            match name {
                "weight" => weight = value,
                "priority" => priority = value,
                _ => return Err(wrong()),
            }
        }
        Origin::parse(url).map_err(|error| format!("line {}: {error}", number + 1))?;
        discovered = discovered.weighted(url, weight, priority);
    }
    Ok(discovered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_server_a_line() {
        let text =
            "# ours\nhttp://10.0.0.7:9000 weight=2 priority=1\n\n  unix:/run/x.sock # near\n";
        let want = Discovered::new(FILE_BEAT)
            .weighted("http://10.0.0.7:9000", 2, 1)
            .server("unix:/run/x.sock");
        assert_eq!(read(text), Ok(want));
        let endless = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let error = endless.block_on(File("/dev/zero".into()).discover()).unwrap_err();
        assert!(error.to_string().contains("more than 1048576 bytes"), "{error}");
        for (text, want) in [
            ("\nnowhere", "line 2: a server is a URL"),
            ("http://a size=2", "line 1: `size=2` is no `weight=N`"),
            ("http://a weight=x", "line 1: `weight=x` is no `weight=N`"),
        ] {
            assert!(read(text).unwrap_err().contains(want), "{text}");
        }
    }
}
