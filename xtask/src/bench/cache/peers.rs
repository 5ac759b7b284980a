//! The caches that are held against each other, and how each is told to keep what the origin allows.
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::origin::Origin;
use super::process::{files, processor_time, resident};
use crate::bench::running::{Running, total, wait_for};
use crate::command::{Cmd, find};
use crate::{Failure, Result, Workspace};

/// The first, beside which the others are held.
pub(super) const BESIDE: &str = "nginx";
const PORTS: [u16; 3] = [19_104, 19_105, 19_106];
/// What each may keep in memory, or in files in memory.
const MEMORY: &str = "1g";

/// A cache, and how it is started.
pub(super) struct Peer {
    pub(super) name: &'static str,
    pub(super) port: u16,
    words: Vec<String>,
    /// Where it has files of what it keeps.
    kept: Option<PathBuf>,
}

pub(super) fn peers(
    workspace: &Workspace,
    origin: SocketAddr,
    folder: &Path,
    with_own: bool,
) -> Result<Vec<Peer>> {
    let [nginx, portcullis, varnish] = PORTS;
    let write = |name: &str, text: String| -> Result<String> {
        let path = folder.join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let words = |program: &str, args: &[&str]| {
        let program = find(program).unwrap_or_else(|| PathBuf::from(program));
        let args = args.iter().map(|word| (*word).to_owned());
        std::iter::once(program.display().to_string()).chain(args).collect::<Vec<_>>()
    };
    let nginx_config = write("nginx.conf", nginx_config(nginx, origin, folder))?;
    let own = write("portcullis.toml", own_config(portcullis, origin))?;
    let vcl = write("varnish.vcl", varnish_config(origin))?;
    let (place, listen) =
        (folder.join("varnish").display().to_string(), format!("127.0.0.1:{varnish}"));
    let storage = format!("malloc,{MEMORY}");
    let program = workspace.program("portcullis").display().to_string();
    let mut peers = vec![
        Peer {
            name: BESIDE,
            port: nginx,
            words: words("nginx", &["-c", &nginx_config]),
            kept: Some(folder.join("nginx")),
        },
        Peer {
            name: "portcullis",
            port: portcullis,
            words: words(&program, &["serve", "--config", &own]),
            kept: None,
        },
        Peer {
            name: "Varnish",
            port: varnish,
            // As many threads as there are connections, and a few for itself: none comes or goes while it is measured.
            words: words(
                "varnishd",
                &[
                    "-F",
                    "-j",
                    "none",
                    "-T",
                    "none",
                    "-n",
                    &place,
                    "-a",
                    &listen,
                    "-f",
                    &vcl,
                    "-s",
                    &storage,
                    "-p",
                    "thread_pools=1",
                    "-p",
                    "thread_pool_min=80",
                    "-p",
                    "thread_pool_max=80",
                ],
            ),
            kept: None,
        },
    ];
    peers.retain(|peer| with_own || peer.name != "portcullis");
    Ok(peers)
}

/// One process. What it keeps are files in memory, which `sendfile` sends.
fn nginx_config(port: u16, origin: SocketAddr, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; sendfile on; keepalive_requests 100000000;\n\
         client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;\n\
         uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;\n\
         proxy_cache_path {folder}/nginx levels=1:2 keys_zone=z:64m max_size={MEMORY} inactive=60m use_temp_path=off;\n\
         upstream b {{ server {origin}; keepalive 64; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://b; proxy_cache z;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host; }} }} }}\n"
    )
}

fn own_config(port: u16, origin: SocketAddr) -> String {
    format!(
        "[server]\nlisten = [\"http://127.0.0.1:{port}\"]\nworkers = 1\nmax_connections_per_address = 100000\n\
         [telemetry]\naccess_log = \"off\"\n[cache]\ncapacity = \"1GiB\"\n[upstreams.b]\nservers = [\"http://{origin}\"]\n\
         [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\ncache = true\nto = \"b\"\n"
    )
}

fn varnish_config(origin: SocketAddr) -> String {
    let (host, port) = (origin.ip(), origin.port());
    format!("vcl 4.1;\nbackend b {{ .host = \"{host}\"; .port = \"{port}\"; }}\n")
}

/// A cache that runs, with nothing in it.
pub(super) struct Cache<'a> {
    pub(super) peer: &'a Peer,
    running: Running,
}

impl<'a> Cache<'a> {
    /// On the first core.
    pub(super) fn start(peer: &'a Peer) -> Result<Self> {
        Self::start_within(peer, &[])
    }
    /// As the argument of a tool.
    fn start_within(peer: &'a Peer, tool: &[&str]) -> Result<Self> {
        if let Some(kept) = &peer.kept
            && kept.exists()
        {
            fs::remove_dir_all(kept)?;
        }
        let tool = tool.iter().map(|word| (*word).to_owned());
        let words: Vec<_> = tool.chain(peer.words.iter().cloned()).collect();
        let running = Running::start(&words, 0)?;
        wait_for(peer.port)?;
        Ok(Self { peer, running })
    }
    /// Of all its processes.
    pub(super) fn processor_time(&self) -> Result<std::time::Duration> {
        processor_time(self.running.id())
    }
    /// What it has in memory, files included.
    pub(super) fn memory(&self) -> Result<f64> {
        let kept = self.peer.kept.as_deref().map_or(Ok(0.0), files)?;
        Ok(resident(self.running.id())? + kept)
    }
    pub(super) fn end(mut self) -> Result {
        self.running.end_alone()
    }
}

/// A load, and how many requests of it.
pub(super) type Requests<'a> = &'a [(&'static str, u32)];

/// The instructions in user space of a cache's whole life with so many requests, one connection at a time.
pub(super) fn instructions(
    peer: &Peer,
    origin: &Origin,
    loads: Requests<'_>,
    folder: &Path,
) -> Result<f64> {
    let profiles = folder.join("callgrind");
    drop(fs::remove_dir_all(&profiles));
    fs::create_dir_all(&profiles)?;
    // Each process of a cache writes its own.
    let out = format!("--callgrind-out-file={}/%p", profiles.display());
    let cache = Cache::start_within(peer, &["valgrind", "--tool=callgrind", &out])?;
    let asked = origin.asked();
    for (path, requests) in loads {
        send(peer.port, path, *requests, 1)?;
    }
    only_hits(peer, origin, asked + u64::try_from(loads.len()).unwrap_or(0))?;
    cache.end()?;
    let mut all = 0.0;
    for profile in fs::read_dir(&profiles)? {
        all += total(&fs::read_to_string(profile?.path())?)?;
    }
    Ok(all)
}

/// Whether the origin was asked so often in all, so that the rest were hits.
pub(super) fn only_hits(peer: &Peer, origin: &Origin, expected: u64) -> Result {
    let asked = origin.asked();
    if asked == expected {
        return Ok(());
    }
    let more = asked.abs_diff(expected);
    Err(Failure::new(format!(
        "{} does not answer from what it keeps: {more} more requests to the origin",
        peer.name
    )))
}

/// Asks from the second core for the same again and again; says how many were answered a second.
pub(super) fn send(port: u16, path: &str, requests: u32, clients: u32) -> Result<f64> {
    let load = Cmd::new("taskset -c 1 h2load --h1 -t 1 -n").arg(requests.to_string()).arg("-c");
    let load = load.arg(clients.to_string()).arg(format!("http://127.0.0.1:{port}{path}"));
    let said = load.read()?;
    let all_well = said.contains(&format!("{requests} succeeded"))
        && said.contains(&format!("status codes: {requests} 2xx"));
    match per_second(&said) {
        Some(rate) if all_well => Ok(rate),
        _ => Err(Failure::of(&load, format!("not every request went well:\n{said}"))),
    }
}

/// `finished in 103.12ms, 1939.45 req/s, 2.35MB/s`.
fn per_second(said: &str) -> Option<f64> {
    let line = said.lines().find(|line| line.starts_with("finished in "))?;
    line.split(", ").find_map(|part| part.strip_suffix(" req/s"))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_read() {
        let said =
            "starting\n\nfinished in 103.12ms, 1939.45 req/s, 2.35MB/s\nrequests: 200 total\n";
        assert_eq!(per_second(said), Some(1939.45));
        assert_eq!(per_second("nothing"), None);
    }
}
