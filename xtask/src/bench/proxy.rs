//! The gateway beside other proxies: processor time of a request, on one core, with the load on another.
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use super::conditions;
use super::instructions::publish;
use super::running::{Running, total, wait_for};
use super::table::{markdown, number};
use crate::args::Args;
use crate::command::{Cmd, find};
use crate::{Failure, Result, Workspace, tools};

const UPSTREAM: &str = "127.0.0.1:19100";
const PORT: u16 = 19_101;
const TLS_PORT: u16 = 19_102;

/// What is sent through every proxy.
struct Load {
    name: &'static str,
    path: &'static str,
    kind: Kind,
    requests: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    KeepAlive,
    ConnectionPerRequest,
    TlsHttp1,
    TlsHttp2,
}

const LOADS: [Load; 6] = [
    Load { name: "1 KiB", path: "/1024", kind: Kind::KeepAlive, requests: 20_000 },
    Load { name: "64 KiB", path: "/65536", kind: Kind::KeepAlive, requests: 5_000 },
    Load { name: "8 MiB", path: "/8388608", kind: Kind::KeepAlive, requests: 100 },
    Load {
        name: "connection per request",
        path: "/1024",
        kind: Kind::ConnectionPerRequest,
        requests: 5_000,
    },
    Load { name: "TLS, HTTP/1.1", path: "/1024", kind: Kind::TlsHttp1, requests: 15_000 },
    Load { name: "TLS, HTTP/2", path: "/1024", kind: Kind::TlsHttp2, requests: 15_000 },
];

/// A proxy, and how it is started.
struct Peer {
    name: &'static str,
    words: Vec<String>,
    tls: bool,
}

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    let rounds = args.option("--rounds")?.map_or(Ok(9), |rounds| rounds.parse::<usize>());
    let rounds = rounds.map_err(|error| Failure::new(format!("`--rounds`: {error}")))?;
    args.end()?;
    for (program, package) in [
        ("nginx", "nginx-light"),
        ("haproxy", "haproxy"),
        ("h2load", "nghttp2-client"),
        ("cmake", "cmake"),
        ("ab", "apache2-utils"),
    ] {
        if find(program).is_none() {
            tools::apt(&[package])?;
        }
    }
    Cmd::new("cargo build --release --package portcullis-cli").run()?;
    let program = workspace.program("portcullis");
    let target =
        program.ancestors().nth(2).ok_or_else(|| Failure::new("there is no target folder"))?;
    let (target, folder) = (target.join("peers"), target.join("bench-proxy"));
    Cmd::new("cargo build --release --manifest-path benches/peers/Cargo.toml")
        .env("CARGO_TARGET_DIR", target.display().to_string())
        .run()?;
    fs::create_dir_all(&folder)?;
    let peers = peers(workspace, &target.join("release"), &folder)?;
    let upstream = target.join("release/upstream").display().to_string();
    let _upstream = Running::start(&[upstream, UPSTREAM.to_owned()], 1)?;
    let own = peers.iter().find(|peer| peer.name == "portcullis");
    let counted = own.map_or(Ok(String::new()), |own| counted(own, &folder))?;
    // Per load and peer, the microseconds of each round.
    let mut figures = vec![vec![Vec::new(); peers.len()]; LOADS.len()];
    for round in 0..rounds {
        for (load, figures) in LOADS.iter().zip(&mut figures) {
            for step in 0..peers.len() {
                // In another order each time, so that nobody always comes behind the same.
                let at = (step * 5 + round * 3) % peers.len();
                let (Some(peer), Some(figures)) = (peers.get(at), figures.get_mut(at)) else {
                    continue;
                };
                let needs_tls = matches!(load.kind, Kind::TlsHttp1 | Kind::TlsHttp2);
                if !needs_tls || peer.tls {
                    figures.push(measure(peer, load)?);
                }
            }
            eprintln!("round {} of {rounds}: {}", round + 1, load.name);
        }
    }
    report(workspace, &peers, &figures, (rounds, &counted), file)
}

/// What can be counted, and is the same each time: instructions in user space, and system calls with 64 connections.
fn counted(own: &Peer, folder: &Path) -> Result<String> {
    const FEW: u32 = 200;
    const MANY: u32 = 1_200;
    for (program, package) in [("valgrind", "valgrind"), ("strace", "strace")] {
        if find(program).is_none() {
            tools::apt(&[package])?;
        }
    }
    let out = folder.join("counted");
    let out = out.display().to_string();
    let run = |tool: &[&str], requests: u32, clients: u32| -> Result<String> {
        let mut words: Vec<_> = tool.iter().map(|word| (*word).to_owned()).collect();
        words.extend(own.words.iter().cloned());
        let mut running = Running::start(&words, 0)?;
        wait_for(PORT)?;
        let url = format!("http://127.0.0.1:{PORT}/1024");
        let load = Cmd::new("taskset -c 1 h2load --h1 -t 1 -n").arg(requests.to_string()).arg("-c");
        load.arg(clients.to_string()).arg(url).read()?;
        running.end()?;
        Ok(fs::read_to_string(&out)?)
    };
    let valgrind = format!("--callgrind-out-file={out}");
    let instructions =
        |requests| total(&run(&["valgrind", "--tool=callgrind", &valgrind], requests, 1)?);
    let calls = |requests| -> Result<f64> {
        let text = run(&["strace", "-f", "-c", "-o", &out], requests, 64)?;
        let line = text.lines().find(|line| line.ends_with(" total")).unwrap_or_default();
        let total = line.split_whitespace().nth(3).and_then(|calls| calls.parse().ok());
        total.ok_or_else(|| Failure::new("strace said no sum"))
    };
    let requests = f64::from(MANY - FEW);
    let instructions = (instructions(MANY)? - instructions(FEW)?) / requests;
    let calls = (calls(MANY * 10)? - calls(FEW * 10)?) / (requests * 10.0);
    Ok(format!(
        "portcullis, a request of 1 KiB: {} instructions in user space (callgrind, one connection), {calls:.2} system calls (strace, 64 connections).",
        number(instructions.round())
    ))
}

/// Microseconds of processor time a request.
fn measure(peer: &Peer, load: &Load) -> Result<f64> {
    let proxy = Running::start(&peer.words, 0)?;
    let scheme =
        if matches!(load.kind, Kind::TlsHttp1 | Kind::TlsHttp2) { "https" } else { "http" };
    let port = if scheme == "https" { TLS_PORT } else { PORT };
    wait_for(port)?;
    let url = format!("{scheme}://127.0.0.1:{port}{}", load.path);
    send(load, &url, load.requests / 10)?;
    let before = proxy.processor_time()?;
    send(load, &url, load.requests)?;
    let after = proxy.processor_time()?;
    Ok(after.saturating_sub(before).as_secs_f64() * 1e6 / f64::from(load.requests))
}

fn send(load: &Load, url: &str, requests: u32) -> Result {
    let requests = requests.max(16);
    let clients = 64.min(requests).to_string();
    if load.kind == Kind::ConnectionPerRequest {
        // Many short ones, each with its own connection.
        let said =
            Cmd::new("taskset -c 1 ab -q -c 64 -n").arg(requests.to_string()).arg(url).read()?;
        return complete(&said, "Complete requests:", requests);
    }
    let mut words =
        Cmd::new("taskset -c 1 h2load -t 1 -n").arg(requests.to_string()).arg("-c").arg(clients);
    match load.kind {
        Kind::KeepAlive | Kind::TlsHttp1 => words = words.arg("--h1"),
        _ => words = words.arg("-m").arg("10"),
    }
    let said = words.arg(url).read()?;
    let line = said.lines().find(|line| line.starts_with("requests:")).unwrap_or_default();
    if line.contains(&format!("{requests} succeeded")) {
        return Ok(());
    }
    Err(Failure::new(format!("not all requests to {url} succeeded: {line}")))
}

fn complete(said: &str, label: &str, requests: u32) -> Result {
    let line = said.lines().find(|line| line.starts_with(label)).unwrap_or_default();
    let failed = said.lines().any(|line| line.starts_with("Non-2xx responses"));
    if !failed && line.split_whitespace().last() == Some(&requests.to_string()) {
        return Ok(());
    }
    Err(Failure::new(format!("not all requests succeeded: {line}")))
}

fn peers(workspace: &Workspace, others: &Path, folder: &Path) -> Result<Vec<Peer>> {
    let (cert, key) = certificate(folder)?;
    let write = |name: &str, text: String| -> Result<String> {
        let path = folder.join(name);
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let config = write(
        "portcullis.toml",
        format!(
            "[server]\nlisten = [\"http://127.0.0.1:{PORT}\", \"https://127.0.0.1:{TLS_PORT}\"]\nworkers = 1\n\
             max_connections_per_address = 100000\ncerts = [{{ cert = \"{cert}\", key = \"{key}\" }}]\n\
             [telemetry]\naccess_log = \"off\"\n[upstreams.b]\nservers = [\"http://{UPSTREAM}\"]\n\
             [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\nto = \"b\"\n"
        ),
    )?;
    let nginx = write("nginx.conf", nginx(&cert, &key, folder))?;
    let both = format!("{}{}", fs::read_to_string(&cert)?, fs::read_to_string(&key)?);
    let both = write("both.pem", both)?;
    let haproxy = write("haproxy.cfg", haproxy(&both))?;
    let program = |name: &str| others.join(name).display().to_string();
    let listen = format!("127.0.0.1:{PORT}");
    let own = |name: &str| vec![program(name), listen.clone(), UPSTREAM.to_owned()];
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let portcullis = workspace.program("portcullis").display().to_string();
    Ok(vec![
        Peer { name: "nginx", words: words(&["nginx", "-c", &nginx]), tls: true },
        Peer {
            name: "portcullis",
            words: words(&[&portcullis, "serve", "--config", &config]),
            tls: true,
        },
        Peer { name: "haproxy", words: words(&["haproxy", "-f", &haproxy]), tls: true },
        Peer { name: "hyper-util client", words: own("legacy"), tls: false },
        Peer { name: "glue", words: own("glue"), tls: false },
        Peer { name: "pingora", words: own("pingora"), tls: false },
    ])
}

fn certificate(folder: &Path) -> Result<(String, String)> {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let (cert, key) = (cert.display().to_string(), key.display().to_string());
    Cmd::new("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost")
        .args(["-addext", "subjectAltName=DNS:localhost", "-out", &cert, "-keyout", &key])
        .read()?;
    Ok((cert, key))
}

fn nginx(cert: &str, key: &str, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.log;\n\
         events {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};\n\
         uwsgi_temp_path {folder}; scgi_temp_path {folder}; keepalive_requests 100000000;\n\
         upstream b {{ server {UPSTREAM}; keepalive 64; keepalive_requests 100000000; }}\n\
         server {{ listen 127.0.0.1:{PORT}; listen 127.0.0.1:{TLS_PORT} ssl http2;\n\
         ssl_certificate {cert}; ssl_certificate_key {key};\n\
         location / {{ proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection \"\";\n\
         proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }} }} }}\n"
    )
}

fn haproxy(both: &str) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 4096\ndefaults\n  mode http\n  option http-keep-alive\n  option forwardfor\n  http-reuse always\n  timeout connect 1s\n  timeout client 30s\n  timeout server 30s\n\
         frontend f\n  bind 127.0.0.1:{PORT}\n  bind 127.0.0.1:{TLS_PORT} ssl crt {both} alpn h2,http/1.1\n  default_backend b\n\
         backend b\n  server s {UPSTREAM}\n"
    )
}

fn median(values: &[f64]) -> Option<f64> {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn report(
    workspace: &Workspace,
    peers: &[Peer],
    figures: &[Vec<Vec<f64>>],
    (rounds, counted): (usize, &str),
    file: Option<PathBuf>,
) -> Result {
    let mut head = vec!["processor time beside nginx"];
    head.extend(LOADS.iter().map(|load| load.name));
    let mut rows = Vec::new();
    let mut bars = Vec::new();
    for (at, peer) in peers.iter().enumerate() {
        let mut row = vec![peer.name.to_owned()];
        for load in figures {
            // Of each round's ratio, so that a noisy round touches both.
            let (Some(own), Some(nginx)) = (load.get(at), load.first()) else { continue };
            let ratios: Vec<_> = own.iter().zip(nginx).map(|(own, nginx)| own / nginx).collect();
            let ratio = median(&ratios);
            row.push(ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")));
            bars.push((peer.name, ratio));
        }
        rows.push(row);
    }
    let micros = |load: usize| -> String {
        let nginx = figures.get(load).and_then(|load| load.first());
        nginx
            .and_then(|nginx| median(nginx))
            .map_or("-".to_owned(), |micros| format!("{micros:.1}"))
    };
    let mut row = vec!["nginx, microseconds a request".to_owned()];
    row.extend((0..LOADS.len()).map(micros));
    rows.push(row);
    let command = format!("cargo xtask bench proxy --rounds {rounds}");
    let table = format!("{}\n{counted}\n{}\n", markdown(&head, &rows), conditions(&command)?);
    if file.is_some() {
        fs::write(workspace.root.join("docs/proxies.svg"), picture(peers, &bars))?;
    }
    publish(workspace, file, &table, "proxy")
}

/// The ratios as bars, a group for each load.
fn picture(peers: &[Peer], bars: &[(&str, Option<f64>)]) -> String {
    const COLOURS: [&str; 6] = ["#8a8f98", "#d4572a", "#b9bec6", "#5b7fa6", "#93b1d0", "#c9a227"];
    const SCALE: f64 = 70.0;
    const LEFT: f64 = 190.0;
    let (mut svg, mut shapes) = (String::new(), String::new());
    let mut x = 16.0;
    for (peer, colour) in peers.iter().zip(COLOURS) {
        _ = writeln!(
            shapes,
            "<rect x=\"{x}\" y=\"38\" width=\"11\" height=\"11\" fill=\"{colour}\"/><text x=\"{}\" y=\"48\">{}</text>",
            x + 16.0,
            peer.name
        );
        x += 122.0;
    }
    let mut y = 68.0;
    for (row, load) in LOADS.iter().enumerate() {
        _ = writeln!(shapes, "<text x=\"16\" y=\"{}\">{}</text>", y + 36.0, load.name);
        for (at, colour) in COLOURS.iter().enumerate().take(peers.len()) {
            let ratio = bars.get(at * LOADS.len() + row).and_then(|(_, ratio)| *ratio);
            if let Some(ratio) = ratio {
                let width = (ratio * SCALE).min(480.0);
                _ = writeln!(
                    shapes,
                    "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{width:.1}\" height=\"11\" fill=\"{colour}\"/><text x=\"{:.1}\" y=\"{}\" font-size=\"11\">{ratio:.2}</text>",
                    LEFT + width + 5.0,
                    y + 9.5
                );
            }
            y += 13.0;
        }
        y += 28.0;
    }
    let one = LEFT + SCALE;
    _ = write!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {y}\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222222\">\n\
         <rect width=\"760\" height=\"{y}\" fill=\"#ffffff\"/>\n\
         <text x=\"16\" y=\"26\" font-size=\"17\">Processor time of a request, beside nginx (less is better)</text>\n\
         {shapes}<line x1=\"{one}\" x2=\"{one}\" y1=\"60\" y2=\"{}\" stroke=\"#222222\" stroke-dasharray=\"3 3\"/>\n</svg>\n",
        y - 20.0
    );
    svg
}
