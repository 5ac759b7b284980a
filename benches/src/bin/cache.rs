//! What a hit of the cache layer costs by itself, beside the service that it stands in front of and beside moka alone; and what is kept takes. Run by `cargo xtask bench cache`,
//! which counts the instructions.
#![expect(clippy::print_stdout, reason = "its output is read by the command that runs it")]

use std::alloc::System;
use std::convert::Infallible;
use std::hint::black_box;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderValue, Request, Response, Uri};
use foldhash::quality::RandomState;
use http_body_util::BodyExt;
use portcullis::cache::CacheLayer;
use portcullis::{Body, BoxError, Clock};
use portcullis_benches::measure;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt, service_fn};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MOKA: &str = "moka alone, `get`";
const VARIANTS: [&str; 5] =
    [MOKA, "the service, 1 KiB", "the layer, 1 KiB", "the layer, 64 KiB", "the layer, 1 MiB"];
const CAPACITY: u64 = 1 << 30;
/// How long moka keeps it: as long as the layer.
const TTL: Duration = Duration::from_hours(1);
/// How many are kept to see what one of them takes, and how many before that.
const OBJECTS: u32 = 100_000;
const OBJECTS_BEFORE: u32 = 2_000;
const KIB: usize = 1024;

type Moka = moka::sync::Cache<Box<[u8]>, Arc<[Bytes]>, RandomState>;

fn main() -> Result<(), BoxError> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["list"] => VARIANTS.iter().for_each(|variant| println!("{variant}")),
        ["run", variant, count] => with(variant, Count(count.parse()?)),
        ["time"] => {
            for variant in VARIANTS {
                println!("{variant}: {:.1} ns", with(variant, Nanos)?);
            }
        }
        ["memory"] => memory()?,
        _ => println!("usage: cache list | run VARIANT COUNT | time | memory"),
    }
    Ok(())
}

/// The bytes of the body that a variant is about.
fn size(variant: &str) -> usize {
    match variant.rsplit_once(", ") {
        Some((_, "64 KiB")) => 64 * KIB,
        Some((_, "1 MiB")) => KIB * KIB,
        _ => KIB,
    }
}

/// Answers so many bytes that may be kept, and counts how often.
fn origin(
    size: usize,
    asked: Arc<AtomicU64>,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ 'static {
    service_fn(move |_: Request<Body>| {
        asked.fetch_add(1, Ordering::Relaxed);
        // Bytes of its own each time, as from a connection.
        let zeros = Bytes::from(vec![b'0'; size]);
        let length = zeros.len();
        let mut response = Response::new(Body::from(zeros));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        std::future::ready(Ok::<_, Infallible>(response))
    })
}

fn request(uri: Uri) -> Request<Body> {
    // As from a server's shared buffer: cloning a part of it allocates nothing.
    let request = Request::get(uri)
        .header("host", HeaderValue::from_static("shop.example"))
        .header("accept", HeaderValue::from_static("application/json"));
    request.body(Body::empty()).unwrap_or_default()
}

/// Asks once, and reads the answer to its end.
async fn ask<S>(service: &S, uri: Uri, size: usize)
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone,
{
    let Ok(response) = service.clone().oneshot(request(uri)).await;
    assert_eq!(response.status(), 200, "the benchmark measures what succeeds");
    let mut body = response.into_body();
    let mut read = 0;
    while let Some(Ok(frame)) = body.frame().await {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
    assert_eq!(read, size, "the benchmark measures whole answers");
}

fn moka() -> Moka {
    let cache = moka::sync::Cache::<Box<[u8]>, Arc<[Bytes]>>::builder();
    let cache = cache.max_capacity(CAPACITY).weigher(|key, body| {
        let bytes = key.len() + body.iter().map(Bytes::len).sum::<usize>();
        u32::try_from(bytes).unwrap_or(u32::MAX)
    });
    cache.time_to_live(TTL).build_with_hasher(RandomState::default())
}

/// As long as the keys of the layer.
fn key(path: &str) -> Box<[u8]> {
    ["http://shop.example", path].concat().into_bytes().into()
}

fn body() -> Arc<[Bytes]> {
    Arc::new([Bytes::from(vec![b'0'; KIB])])
}

/// What is done with something that can be asked again and again.
trait Job {
    type Out;
    fn go(self, one: impl AsyncFn()) -> Self::Out;
}

/// Counts so many of them.
struct Count(u32);

impl Job for Count {
    type Out = ();
    fn go(self, one: impl AsyncFn()) {
        measure(ALLOCATOR, self.0, one);
    }
}

/// The nanoseconds of one of them.
struct Nanos;

impl Job for Nanos {
    type Out = Result<f64, BoxError>;
    fn go(self, one: impl AsyncFn()) -> Self::Out {
        const BEFORE: u32 = 5_000;
        const MANY: u32 = 100_000;
        let clock = Clock::system();
        runtime()?.block_on(async {
            for _ in 0..BEFORE {
                one().await;
            }
            let since = clock.now();
            for _ in 0..MANY {
                one().await;
            }
            Ok((clock.now() - since).as_secs_f64() * 1e9 / f64::from(MANY))
        })
    }
}

fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_time().build()
}

/// Does a job with what a variant is about. All but the first request must be hits.
fn with<J: Job>(variant: &str, job: J) -> J::Out {
    let asked = Arc::new(AtomicU64::new(0));
    let size = size(variant);
    let service = origin(size, Arc::clone(&asked));
    let uri = || Uri::from_static("/books/7");
    if variant == MOKA {
        let (cache, key) = (moka(), key("/books/7"));
        cache.insert(key.clone(), body());
        return job.go(async || {
            let found = black_box(&cache).get(black_box(&*key));
            assert!(found.is_some(), "the benchmark measures hits");
        });
    }
    if variant.starts_with("the service") {
        return job.go(async || ask(&service, uri(), size).await);
    }
    let layered = CacheLayer::in_memory(CAPACITY).layer(service);
    let out = job.go(async || ask(&layered, uri(), size).await);
    assert_eq!(asked.load(Ordering::Relaxed), 1, "the benchmark measures hits");
    out
}

/// What objects of 1 KiB take: the memory that the process has more of, and what of it is in use.
fn memory() -> Result<(), BoxError> {
    let asked = Arc::new(AtomicU64::new(0));
    let layered = CacheLayer::in_memory(CAPACITY).layer(origin(KIB, Arc::clone(&asked)));
    let runtime = runtime()?;
    let path = |number: u32| format!("/books?n={number}");
    let fetch = |numbers: Range<u32>| -> Result<(), BoxError> {
        for number in numbers {
            let uri = path(number).parse()?;
            runtime.block_on(ask(&layered, uri, KIB));
        }
        Ok(())
    };
    grown("portcullis", fetch)?;
    // They are all there.
    fetch(0..OBJECTS_BEFORE + OBJECTS)?;
    let expected = u64::from(OBJECTS_BEFORE + OBJECTS);
    assert_eq!(asked.load(Ordering::Relaxed), expected, "the benchmark measures what is kept");
    // What was kept stays, so that its memory is not used again.
    let cache = moka();
    grown("moka alone", |numbers| {
        for number in numbers {
            cache.insert(key(&path(number)), body());
        }
        cache.run_pending_tasks();
        Ok(())
    })?;
    assert_eq!(cache.entry_count(), expected, "the benchmark measures what is kept");
    drop(layered);
    Ok(())
}

fn grown(name: &str, fill: impl Fn(Range<u32>) -> Result<(), BoxError>) -> Result<(), BoxError> {
    fill(0..OBJECTS_BEFORE)?;
    let (before, region) = (resident()?, Region::new(ALLOCATOR));
    fill(OBJECTS_BEFORE..OBJECTS_BEFORE + OBJECTS)?;
    let counted = region.change();
    let held = counted.bytes_allocated.saturating_sub(counted.bytes_deallocated);
    println!("{name}: {:.0} bytes", (resident()? - before) / f64::from(OBJECTS));
    println!("{name}, without the allocator's own: {} bytes", held / OBJECTS as usize);
    Ok(())
}

/// The bytes of this process that are in memory.
fn resident() -> Result<f64, BoxError> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: f64 =
        kib.ok_or("this system does not say how much memory a process has")?.trim().parse()?;
    Ok(kib * 1024.0)
}
