//! What it costs that nothing fails: the layers around a client, and the same parts in the gateway.
use std::fs;
use std::path::{Path, PathBuf};

use super::conditions;
use super::instructions::{costs, publish, table};
use super::running::{Running, total, wait_for};
use super::table::{difference, markdown, number};
use crate::args::Args;
use crate::command::{Cmd, find};
use crate::{Failure, Result, Workspace, tools};

const PORT: u16 = 19_103;
/// Where the servers of `examples/gateway` are.
const SERVERS: u16 = 9_001;
const FEW: u32 = 200;
const MANY: u32 = 1_200;

/// What is said about the upstream; each is counted beside the first.
const UPSTREAMS: [(&str, &str); 4] = [
    ("no retries", "retries = 0"),
    ("retries", "retries = 2"),
    (
        "retries, a limit on each try, a breaker, a bulkhead",
        "retries = 2\ntry_timeout = \"5s\"\nrequests = 1000\nbreaker = { error_rate = 0.5 }",
    ),
    (
        "and a hedge",
        "retries = 2\ntry_timeout = \"5s\"\nrequests = 1000\nbreaker = { error_rate = 0.5 }\nhedge = \"1s\"",
    ),
];

pub(super) fn main(workspace: &Workspace, mut args: Args) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    if find("h2load").is_none() {
        tools::apt(&["nghttp2-client"])?;
    }
    let layers = table(&costs(workspace, "resilience")?);
    let gateway = gateway(workspace)?;
    let conditions = conditions("cargo xtask bench resilience")?;
    publish(workspace, file, &format!("{layers}\n{gateway}\n{conditions}\n"), "resilience")
}

/// The instructions of a request through the program.
fn gateway(workspace: &Workspace) -> Result<String> {
    Cmd::new("cargo build --release --package portcullis-cli --package gateway").run()?;
    let servers = workspace.program("gateway").display().to_string();
    let _servers = Running::start(&[servers], 1)?;
    wait_for(SERVERS)?;
    let folder = workspace.root.join("target/bench-resilience");
    fs::create_dir_all(&folder)?;
    let (mut rows, mut first) = (Vec::new(), None);
    for (name, keys) in UPSTREAMS {
        eprintln!("{name}");
        let each = (count(workspace, &folder, keys, MANY)? - count(workspace, &folder, keys, FEW)?)
            / f64::from(MANY - FEW);
        let before = *first.get_or_insert(each);
        let more = if rows.is_empty() { String::new() } else { difference(each - before) };
        rows.push(vec![name.to_owned(), number(each.round()), more]);
    }
    Ok(markdown(&["the gateway, with", "instructions a request", "beside the first"], &rows))
}

/// The instructions of a run with so many requests.
fn count(workspace: &Workspace, folder: &Path, keys: &str, requests: u32) -> Result<f64> {
    let (config, out) = (folder.join("portcullis.toml"), folder.join("callgrind"));
    let text = format!(
        "[server]\nlisten = [\"http://127.0.0.1:{PORT}\"]\nworkers = 1\n[telemetry]\naccess_log = \"off\"\n\
         [upstreams.b]\nservers = [\"http://127.0.0.1:{SERVERS}\"]\n{keys}\n\
         [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"public\"\nto = \"b\"\n"
    );
    fs::write(&config, text)?;
    let words = [
        "valgrind".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", out.display()),
        workspace.program("portcullis").display().to_string(),
        "serve".to_owned(),
        "--config".to_owned(),
        config.display().to_string(),
    ];
    let mut running = Running::start(&words, 0)?;
    wait_for(PORT)?;
    let load = Cmd::new("taskset -c 1 h2load --h1 -t 1 -c 1 -n").arg(requests.to_string());
    let load = load.arg(format!("http://127.0.0.1:{PORT}/books/7"));
    let said = load.read()?;
    running.end()?;
    if !said.contains(&format!("{requests} succeeded")) {
        return Err(Failure::of(&load, format!("not every request went well:\n{said}")));
    }
    total(&fs::read_to_string(out)?)
}
