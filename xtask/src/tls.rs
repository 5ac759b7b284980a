//! `cargo xtask tls`: a foreign scanner looks at the TLS of `examples/frontdoor` and must find nothing weak.
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::command::{Cmd, find};
use crate::{Failure, Result, Workspace, tools};

/// What a scan that finds nothing weak says, and what it never says.
const SOUND: [&str; 6] = [
    "SSLv2     disabled",
    "SSLv3     disabled",
    "TLSv1.0   disabled",
    "TLSv1.1   disabled",
    "TLSv1.2   enabled",
    "TLSv1.3   enabled",
];
const WEAK: [&str; 8] = ["CBC", "RC4", "3DES", "NULL", "EXP", "anon", "TLS_RSA", " MD5"];

pub(crate) fn check(workspace: &Workspace) -> Result {
    for package in ["sslscan", "openssl"] {
        if find(package).is_none() {
            tools::apt(&[package])?;
        }
    }
    Cmd::new("cargo build --package frontdoor").run()?;
    let dir = workspace.root.join("target/tls-check");
    std::fs::create_dir_all(&dir)?;
    certificate(&dir)?;
    let mut server = Server::start(workspace, &dir)?;
    let scan = Cmd::new("sslscan --no-colour").arg(server.address()?);
    let found = scan.read()?;
    let wrong = findings(&found);
    if wrong.is_empty() {
        println!("sslscan finds TLS 1.2 and 1.3 and nothing weak");
        return Ok(());
    }
    println!("{found}");
    Err(Failure::of(&scan, format!("sslscan: {}", wrong.join("; "))))
}

/// What in the report of the scanner should not be there, or is missing.
fn findings(report: &str) -> Vec<String> {
    let missing = SOUND.iter().filter(|line| !report.contains(**line));
    let accepted =
        || report.lines().filter(|line| line.contains("Accepted") || line.contains("Preferred"));
    let weak = accepted().filter(|line| {
        let suites_of_old = line.contains("TLSv1.2") && !line.contains("ECDHE");
        suites_of_old || WEAK.iter().any(|weak| line.contains(weak))
    });
    let none = accepted().next().is_none().then(|| "no cipher suite at all".to_owned());
    let bleeds = report
        .lines()
        .filter(|line| line.contains("heartbleed") && !line.contains("not vulnerable"));
    let missing = missing.map(|line| format!("not said: {line}"));
    missing.chain(weak.chain(bleeds).map(str::to_owned)).chain(none).collect()
}

fn certificate(dir: &Path) -> Result {
    let request = Cmd::new(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2",
    );
    let request =
        request.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    request.args(["-keyout", "key.pem", "-out", "cert.pem"]).dir(dir).read().map(drop)
}

/// The front door, until this is dropped.
struct Server(Child);

impl Server {
    fn start(workspace: &Workspace, dir: &Path) -> Result<Self> {
        let program = workspace.debug_program("frontdoor").display().to_string();
        let server = Cmd::new("env").arg(program).args(["--listen", "https://127.0.0.1:0"]);
        let server = server.args(["--cert", "cert.pem", "--key", "key.pem"]).dir(dir);
        let child = server.command().stdout(Stdio::piped()).spawn();
        Ok(Self(child.map_err(|error| Failure::of(&server, error.to_string()))?))
    }
    fn address(&mut self) -> Result<String> {
        let mut line = String::new();
        if let Some(out) = &mut self.0.stdout {
            // By reference: a server whose output nobody holds could not say more.
            BufReader::new(out).read_line(&mut line)?;
        }
        let address = line.trim().strip_prefix("listening on https://");
        address.map(str::to_owned).ok_or_else(|| Failure::new("the front door did not open"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "SSLv2     disabled\nSSLv3     disabled\nTLSv1.0   disabled\nTLSv1.1   disabled\n\
        TLSv1.2   enabled\nTLSv1.3   enabled\nTLSv1.2 not vulnerable to heartbleed\n\
        Preferred TLSv1.3  128 bits  TLS_AES_128_GCM_SHA256        Curve 25519 DHE 253\n\
        Accepted  TLSv1.2  128 bits  ECDHE-ECDSA-AES128-GCM-SHA256 Curve 25519 DHE 253\n";

    #[test]
    fn what_is_weak_is_found() {
        assert_eq!(findings(REPORT), Vec::<String>::new());
        for (from, to) in [
            ("TLSv1.1   disabled", "TLSv1.1   enabled"),
            ("ECDHE-ECDSA-AES128-GCM-SHA256", "AES128-GCM-SHA256"),
            ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-CBC-SHA"),
            ("not vulnerable to heartbleed", "vulnerable to heartbleed"),
        ] {
            assert!(REPORT.contains(from));
            assert_eq!(findings(&REPORT.replace(from, to)).len(), 1, "{to}");
        }
        assert!(!findings("").is_empty());
    }
}
