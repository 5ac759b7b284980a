//! A hit of the cache: the gateway beside nginx and Varnish, and the layer beside moka alone.
use std::path::{Path, PathBuf};

use super::conditions;
use super::instructions::publish;
use super::sessions::median;
use super::table::{markdown, number};
use crate::args::Args;
use crate::command::{Cmd, find};
use crate::{Failure, Result, Workspace, tools};

mod layer;
mod origin;
mod peers;
mod process;

use origin::{Origin, fetch};
use peers::{BESIDE, Cache, Peer, Requests, instructions, only_hits, peers, send};

/// What is asked for, again and again.
struct Load {
    name: &'static str,
    path: &'static str,
    /// In each round; about half a second.
    requests: u32,
    /// While instructions are counted, which takes fifty times as long.
    counted: u32,
}

const LOADS: [Load; 3] = [
    Load { name: "1 KiB", path: "/1024", requests: 40_000, counted: 1_000 },
    Load { name: "64 KiB", path: "/65536", requests: 10_000, counted: 500 },
    Load { name: "1 MiB", path: "/1048576", requests: 1_000, counted: 100 },
];
const CLIENTS: u32 = 64;
/// How many of a load come before what is measured or counted.
const FIRST: u32 = 200;
/// How many objects of 1 KiB are kept to see what one of them takes, and how many before that.
const OBJECTS: u32 = 100_000;
const OBJECTS_BEFORE: u32 = 2_000;

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    let rounds = args.option("--rounds")?.map_or(Ok(9), |rounds| rounds.parse::<usize>());
    let rounds = rounds.map_err(|error| Failure::new(format!("`--rounds`: {error}")))?;
    let with_own = !args.flag("--others-only");
    args.end()?;
    for (program, package) in [
        ("nginx", "nginx-light"),
        ("varnishd", "varnish"),
        ("h2load", "nghttp2-client"),
        ("valgrind", "valgrind"),
    ] {
        if find(program).is_none() {
            tools::apt(&[package])?;
        }
    }
    if with_own {
        Cmd::new("cargo build --release --package portcullis-cli --package portcullis-benches")
            .run()?;
    }
    let folder = Folder::create()?;
    let origin = Origin::start()?;
    let peers = peers(workspace, origin.address, &folder.0, with_own)?;
    let mut figures = times(&peers, &origin, rounds)?;
    for (peer, figures) in peers.iter().zip(&mut figures) {
        eprintln!("{}: instructions", peer.name);
        figures.instructions = counted(peer, &origin, &folder.0)?;
        eprintln!("{}: memory", peer.name);
        figures.memory = memory(peer, &origin)?;
    }
    let mut tables = table(&peers, &figures);
    if with_own {
        tables = format!("{tables}\n{}", layer::table(workspace)?);
    }
    let command = format!("cargo xtask bench cache --rounds {rounds}");
    publish(workspace, file, &format!("{tables}\n{}\n", conditions(&command)?), "cache")
}

/// Where the caches have their files: in memory. It is gone when this is dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self> {
        let memory = Path::new("/dev/shm");
        let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let folder = parent.join(format!("portcullis-bench-cache-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// What was measured of a cache: for each load in turn.
#[derive(Clone, Debug, Default)]
struct Figures {
    /// The microseconds of each round.
    micros: [Vec<f64>; LOADS.len()],
    /// How many a second, of each round.
    rates: [Vec<f64>; LOADS.len()],
    instructions: [f64; LOADS.len()],
    /// The bytes that an object of 1 KiB takes.
    memory: f64,
}

/// The processor time of all loads, in rounds. All caches are there all the time; those that are not asked do nothing.
fn times(peers: &[Peer], origin: &Origin, rounds: usize) -> Result<Vec<Figures>> {
    let mut figures = vec![Figures::default(); peers.len()];
    let caches = peers.iter().map(Cache::start).collect::<Result<Vec<_>>>()?;
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (at, load) in LOADS.iter().enumerate() {
            for step in 0..caches.len() {
                // In another order each time, so that nobody always comes behind the same.
                let turn = (step + round) % caches.len();
                let (Some(cache), Some(figures)) = (caches.get(turn), figures.get_mut(turn)) else {
                    continue;
                };
                let (micros, rate) = time(cache, origin, load)?;
                if let Some(all) = figures.micros.get_mut(at) {
                    all.push(micros);
                }
                if let Some(all) = figures.rates.get_mut(at) {
                    all.push(rate);
                }
            }
        }
    }
    caches.into_iter().try_for_each(Cache::end)?;
    Ok(figures)
}

/// The microseconds of processor time of a hit, and how many hits were answered a second.
fn time(cache: &Cache<'_>, origin: &Origin, load: &Load) -> Result<(f64, f64)> {
    let port = cache.peer.port;
    // The very first is no hit.
    send(port, load.path, 1, 1)?;
    send(port, load.path, FIRST, CLIENTS)?;
    let (asked, before) = (origin.asked(), cache.processor_time()?);
    let rate = send(port, load.path, load.requests, CLIENTS)?;
    let took = cache.processor_time()?.saturating_sub(before);
    only_hits(cache.peer, origin, asked)?;
    Ok((took.as_secs_f64() * 1e6 / f64::from(load.requests), rate))
}

/// The instructions of a hit of each load: the difference of two runs, of which one has more hits of it.
fn counted(peer: &Peer, origin: &Origin, folder: &Path) -> Result<[f64; LOADS.len()]> {
    let run = |more: Option<&Load>| {
        let requests = |load: &Load| {
            let more = more.filter(|more| more.path == load.path);
            (load.path, load.counted + more.map_or(0, |more| more.counted))
        };
        let requests = LOADS.each_ref().map(requests);
        let requests: Requests<'_> = &requests;
        instructions(peer, origin, requests, folder)
    };
    let few = run(None)?;
    let mut each = [0.0; LOADS.len()];
    for (load, each) in LOADS.iter().zip(&mut each) {
        *each = (run(Some(load))? - few) / f64::from(load.counted);
    }
    Ok(each)
}

/// The bytes that an object of 1 KiB takes.
fn memory(peer: &Peer, origin: &Origin) -> Result<f64> {
    let cache = Cache::start(peer)?;
    let all = OBJECTS_BEFORE + OBJECTS;
    fetch(peer.port, 0..OBJECTS_BEFORE)?;
    let before = cache.memory()?;
    fetch(peer.port, OBJECTS_BEFORE..all)?;
    let bytes = (cache.memory()? - before) / f64::from(OBJECTS);
    // They are all there.
    let asked = origin.asked();
    fetch(peer.port, 0..all)?;
    only_hits(peer, origin, asked)?;
    cache.end()?;
    Ok(bytes)
}

/// A row for each cache.
fn table(peers: &[Peer], figures: &[Figures]) -> String {
    let columns = |what: &'static str| LOADS.iter().map(move |load| format!("{what}{}", load.name));
    let mut head = vec!["a hit, through the server".to_owned()];
    head.extend(columns("processor time, "));
    head.extend(columns("instructions, "));
    head.extend(columns("a second, "));
    head.push("bytes of an object of 1 KiB".to_owned());
    let head: Vec<_> = head.iter().map(String::as_str).collect();
    let beside = peers.iter().position(|peer| peer.name == BESIDE).and_then(|at| figures.get(at));
    let rows = peers.iter().zip(figures).map(|(peer, figures)| {
        let mut row = vec![peer.name.to_owned()];
        let beside = beside.unwrap_or(figures);
        row.extend(figures.micros.iter().zip(&beside.micros).map(|(own, beside)| {
            // Of each round's ratio, so that a noisy round touches both.
            let ratios = own.iter().zip(beside).map(|(own, beside)| own / beside).collect();
            match (median(own.clone()), median(ratios)) {
                (Some(micros), Some(ratio)) => format!("{micros:.1} us ({ratio:.2})"),
                _ => "-".to_owned(),
            }
        }));
        row.extend(figures.instructions.iter().map(|count| number(count.round())));
        row.extend(figures.rates.iter().map(|rates| {
            median(rates.clone()).map_or_else(|| "-".to_owned(), |rate| number(rate.round()))
        }));
        row.push(number(figures.memory.round()));
        row
    });
    markdown(&head, &rows.collect::<Vec<_>>())
}
