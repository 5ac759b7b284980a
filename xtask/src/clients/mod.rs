//! `cargo xtask clients`: foreign clients talk to foreign servers through the gateway, and must notice nothing of it.
//!
//! The scripts are in `xtask/clients`; what they need is installed under `target/clients`. The gateway is the program of this
//! workspace, built for development, unless the environment variable `PORTCULLIS_PROGRAM` names another one.
use std::path::{Path, PathBuf};

use crate::command::Cmd;
use crate::{Failure, Result, Workspace};

mod install;
mod running;

use install::Tools;
use running::Running;

pub(crate) fn check(workspace: &Workspace) -> Result {
    let scripts = workspace.root.join("xtask/clients");
    let dir = workspace.root.join("target/clients");
    std::fs::create_dir_all(&dir)?;
    let tools = install::provide(&dir)?;
    let stage = Stage { tools, scripts, dir };
    let program = gateway_program(workspace)?;
    Cmd::new("cargo build --package bookshop").run()?;
    let shop = workspace.debug_program("bookshop");

    // Each of them is killed at the end of this function, however it ends.
    let echo = stage.server("echo", &stage.python("websocket_server.py"))?;
    let doomed = stage.server("doomed", &stage.python("websocket_server.py"))?;
    let http = stage.server("http", &stage.python("http_server.py"))?;
    let node = stage.server("node", &stage.node().arg("serve"))?;
    let servers = [("ECHO", &echo), ("DOOMED", &doomed), ("HTTP", &http), ("NODE", &node)];
    let gateway = stage.gateway(&program, &servers)?;
    let gateway = gateway.address();

    let url = |path: &str| format!("ws://{gateway}{path}");
    let reports = stage.dir.join("kosoku").display().to_string();
    let clients = [
        ("websockets", stage.python("websocket_client.py").arg(gateway)),
        ("ws", stage.node().args(["check".to_owned(), url("/"), url("/node/")])),
        ("curl", stage.python("curl.py").arg(gateway)),
        ("kosoku", stage.python("kosoku_cases.py").args([echo.address(), gateway, &reports])),
        // These start gateways of their own, with keys that do not exist yet.
        ("jose", stage.with_own_gateway("jose.py", &program)),
        ("oidc-provider", stage.with_own_gateway("oidc.py", &program)),
        ("smtp-server", stage.with_own_gateway("smtp.py", &shop)),
    ];
    let mut failed = Vec::new();
    for (name, client) in clients {
        println!("{name}:");
        if client.run().is_err() {
            failed.push(name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    let logs = workspace.relative(&stage.dir);
    let failed = failed.join(", ");
    Err(Failure::new(format!("not what it should be: {failed} (logs of servers are in {logs})"))
        .repeat("cargo xtask clients"))
}

/// The program to test.
fn gateway_program(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(program) = std::env::var_os("PORTCULLIS_PROGRAM") {
        return Ok(PathBuf::from(program));
    }
    Cmd::new("cargo build --package portcullis-cli").run()?;
    Ok(workspace.debug_program("portcullis"))
}

/// Where everything is.
struct Stage {
    tools: Tools,
    scripts: PathBuf,
    dir: PathBuf,
}

impl Stage {
    /// A script in Python, which leaves nothing behind in the repository.
    fn python(&self, script: &str) -> Cmd {
        let script = self.scripts.join(script).display().to_string();
        program(&self.tools.python).arg(script).env("PYTHONDONTWRITEBYTECODE", "1")
    }
    /// A script in Python that starts the gateway itself, and scripts for Node.js too.
    fn with_own_gateway(&self, script: &str, gateway: &Path) -> Cmd {
        let places = [gateway, &self.tools.node, &self.dir];
        self.python(script).args(places.map(|place| place.display().to_string()))
    }
    /// The script for Node.js, run where its package is.
    fn node(&self) -> Cmd {
        let script = self.scripts.join("ws.mjs").display().to_string();
        Cmd::new("node").arg(script).dir(&self.tools.node)
    }
    /// Starts a server, which prints its port first.
    fn server(&self, name: &str, server: &Cmd) -> Result<Running> {
        let (mut running, log) = self.start(name, server)?;
        match running.line_with("") {
            Some(port) => Ok(running.at(format!("127.0.0.1:{port}"))),
            None => Err(Failure::of(server, format!("{name} does not start\n{}", read(&log)))),
        }
    }
    /// Starts the gateway in front of servers, which its configuration knows by these names.
    fn gateway(&self, gateway: &Path, servers: &[(&str, &Running)]) -> Result<Running> {
        let config = self.scripts.join("gateway.toml").display().to_string();
        let mut gateway = program(gateway).args(["serve", "--config"]).arg(config);
        for (name, server) in servers {
            gateway = gateway.env(name, server.address());
        }
        let (mut running, log) = self.start("gateway", &gateway)?;
        let place = running.line_with("listening on http://");
        match (place, running.line_with("ready")) {
            (Some(place), Some(_)) => Ok(running.at(place)),
            // The servers are gone by then: nobody could repeat the command itself.
            _ => Err(Failure::new(format!("the gateway does not start\n{}", read(&log)))
                .repeat("cargo xtask clients")),
        }
    }
    /// Starts a program, and says where its log is.
    fn start(&self, name: &str, command: &Cmd) -> Result<(Running, PathBuf)> {
        let log = self.dir.join(format!("{name}.log"));
        Ok((Running::start(command, &log)?, log))
    }
}

/// A program whose path may have spaces.
fn program(path: &Path) -> Cmd {
    Cmd::new("env").arg(path.display().to_string())
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default().trim().to_owned()
}
