//! The instructions of a request through the program, with one thing or another in its file.
use std::fs;
use std::path::{Path, PathBuf};

use super::conditions;
use super::instructions::{self, costs, publish};
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

/// What a file says, beside what they all say, and what a request has.
pub(super) struct Variant {
    pub(super) name: &'static str,
    pub(super) sections: &'static str,
    pub(super) upstream: &'static str,
    pub(super) access: &'static str,
    pub(super) header: &'static str,
}

impl Variant {
    pub(super) const PLAIN: Self =
        Self { name: "", sections: "", upstream: "", access: "public", header: "x-nothing: 1" };
}

/// What the layers of a program cost by themselves, and these variants of the gateway.
pub(super) fn beside_layers(
    workspace: &Workspace,
    mut args: Args,
    name: &'static str,
    variants: &[Variant],
) -> Result {
    let file = args.option("--write")?.map(PathBuf::from);
    args.end()?;
    let layers = instructions::table(&costs(workspace, name)?);
    let gateway = table(workspace, variants)?;
    let conditions = conditions(&format!("cargo xtask bench {name}"))?;
    publish(workspace, file, &format!("{layers}\n{gateway}\n{conditions}\n"), name)
}

/// A row for each, beside the first.
fn table(workspace: &Workspace, variants: &[Variant]) -> Result<String> {
    if find("h2load").is_none() {
        tools::apt(&["nghttp2-client"])?;
    }
    Cmd::new("cargo build --release --package portcullis-cli --package gateway").run()?;
    let servers = workspace.program("gateway").display().to_string();
    let _servers = Running::start(&[servers], 1)?;
    wait_for(SERVERS)?;
    let folder = workspace.root.join("target/bench-gateway");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("signing.pem"), SIGNING)?;
    let (mut rows, mut first) = (Vec::new(), None);
    for variant in variants {
        eprintln!("{}", variant.name);
        let count = |requests| count(workspace, &folder, variant, requests);
        let each = (count(MANY)? - count(FEW)?) / f64::from(MANY - FEW);
        let before = *first.get_or_insert(each);
        let more = if rows.is_empty() { String::new() } else { difference(each - before) };
        rows.push(vec![variant.name.to_owned(), number(each.round()), more]);
    }
    Ok(markdown(&["the gateway, with", "instructions a request", "beside the first"], &rows))
}

/// A key to sign with, the example of RFC 8410, section 10.3.
const SIGNING: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

/// The instructions of a run with so many requests.
fn count(workspace: &Workspace, folder: &Path, variant: &Variant, requests: u32) -> Result<f64> {
    let (config, out) = (folder.join("portcullis.toml"), folder.join("callgrind"));
    let Variant { sections, upstream, access, header, .. } = variant;
    let text = format!(
        "[server]\nlisten = [\"http://127.0.0.1:{PORT}\"]\nworkers = 1\n[telemetry]\naccess_log = \"off\"\n{sections}\n\
         [upstreams.b]\nservers = [\"http://127.0.0.1:{SERVERS}\"]\n{upstream}\n\
         [[routes]]\nmatch = {{ path = \"/{{*rest}}\" }}\naccess = \"{access}\"\nto = \"b\"\n"
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
    let load = load.args(["-H", *header]).arg(format!("http://127.0.0.1:{PORT}/books/7"));
    let said = load.read()?;
    running.end()?;
    if !said.contains(&format!("{requests} succeeded")) {
        return Err(Failure::of(&load, format!("not every request went well:\n{said}")));
    }
    total(&fs::read_to_string(out)?)
}
