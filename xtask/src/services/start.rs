//! Starts servers of our own: their data stands in the directory for temporary files, their accounts need no password,
//! they listen on loopback only, and no configuration of the machine is touched.
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::command::{Cmd, find};
use crate::{Failure, Result, tools};

/// Where a server of ours lives.
pub(super) struct Place {
    dir: PathBuf,
    port: u16,
    /// Database servers refuse to run as root.
    root: bool,
}

impl Place {
    pub(super) fn of(name: &str, port: u16) -> Self {
        let dir = std::env::temp_dir().join(format!("portcullis-{name}"));
        Self { dir, port, root: tools::is_root() }
    }
    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }
    fn text(&self) -> String {
        self.dir.display().to_string()
    }
}

pub(super) fn postgresql_program() -> Option<PathBuf> {
    // Debian keeps the programs of each version apart.
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<PathBuf> = versions
        .map(|version| version.path().join("bin/pg_ctl"))
        .filter(|file| file.is_file())
        .collect();
    versions.sort();
    versions.pop().or_else(|| find("pg_ctl"))
}

pub(super) fn postgresql(place: &Place) -> Result {
    let pg_ctl = installed(postgresql_program(), "pg_ctl")?;
    if !place.dir.join("PG_VERSION").exists() {
        postgresql_init(place, &pg_ctl).read()?;
    }
    // What it starts must not hold our standard output.
    let start = postgresql_start(place, &pg_ctl);
    let status = start.command().stdin(Stdio::null()).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(Failure::of(&start, "pg_ctl start")) }
}

fn as_postgres(place: &Place, program: &Path) -> Cmd {
    let user = if place.root { "runuser --user postgres --" } else { "env" };
    Cmd::new(user).arg(program.display().to_string()).dir(Path::new("/"))
}

fn postgresql_init(place: &Place, pg_ctl: &Path) -> Cmd {
    let init = as_postgres(place, &pg_ctl.with_file_name("initdb"));
    let init = init.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]);
    init.arg("--pgdata").arg(place.text())
}

fn postgresql_start(place: &Place, pg_ctl: &Path) -> Cmd {
    let options = format!("-p {} -c listen_addresses=127.0.0.1 -k {}", place.port, place.text());
    let start = as_postgres(place, pg_ctl).args(["start", "--wait", "--silent", "--pgdata"]);
    start.arg(place.text()).arg("--log").arg(place.file("server.log")).arg("--options").arg(options)
}

pub(super) fn mariadb_program() -> Option<PathBuf> {
    find("mariadbd")
}

pub(super) fn mariadb(place: &Place) -> Result {
    let program = installed(mariadb_program(), "mariadbd")?;
    if !place.dir.join("mysql").exists() {
        mariadb_init(place).read()?;
    }
    // It stays when we end, and does not hear the keys that are pressed for us.
    let mut command = mariadb_start(place, &program).command();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
    command.spawn()?;
    Ok(())
}

fn mariadb_user(place: &Place) -> Option<&'static str> {
    place.root.then_some("--user=mysql")
}

fn mariadb_init(place: &Place) -> Cmd {
    let init = Cmd::new("mariadb-install-db --no-defaults --skip-test-db");
    let init = init.arg("--auth-root-authentication-method=normal").args(mariadb_user(place));
    init.arg(format!("--datadir={}", place.text()))
}

fn mariadb_start(place: &Place, program: &Path) -> Cmd {
    let start = Cmd::new("env").arg(program.display().to_string()).arg("--no-defaults");
    let start = start.arg("--bind-address=127.0.0.1").arg(format!("--port={}", place.port));
    let files = [
        ("datadir", place.text()),
        ("socket", place.file("server.socket")),
        ("pid-file", place.file("server.pid")),
        ("log-error", place.file("server.log")),
    ];
    start.args(files.map(|(name, file)| format!("--{name}={file}"))).args(mariadb_user(place))
}

pub(super) fn redis_program() -> Option<PathBuf> {
    find("redis-server")
}

pub(super) fn redis(place: &Place) -> Result {
    let program = installed(redis_program(), "redis-server")?;
    std::fs::create_dir_all(&place.dir)?;
    redis_start(place, &program).read()?;
    Ok(())
}

fn redis_start(place: &Place, program: &Path) -> Cmd {
    let start = Cmd::new("env").arg(program.display().to_string());
    let start =
        start.args("--bind 127.0.0.1 --daemonize yes --appendonly no --save".split(' ')).arg("");
    let start = start.arg("--port").arg(place.port.to_string());
    start.arg("--dir").arg(place.text()).arg("--logfile").arg(place.file("server.log"))
}

fn installed(program: Option<PathBuf>, name: &str) -> Result<PathBuf> {
    program.ok_or_else(|| Failure::new(format!("{name} cannot be found")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(root: bool) -> Place {
        Place { dir: PathBuf::from("/tmp/portcullis-x"), port: 4000, root }
    }

    #[test]
    fn a_server_listens_on_loopback_and_keeps_to_its_directory() {
        let program = Path::new("/usr/sbin/server");
        for (command, loopback, port) in [
            (postgresql_start(&place(false), program), "listen_addresses=127.0.0.1", "-p 4000"),
            (mariadb_start(&place(false), program), "--bind-address=127.0.0.1", "--port=4000"),
            (redis_start(&place(false), program), "--bind 127.0.0.1", "--port 4000"),
        ] {
            let line = command.to_string();
            assert!(line.starts_with("env /usr/sbin/server "), "{line}");
            for part in [loopback, port, "/tmp/portcullis-x"] {
                assert!(line.contains(part), "{line} has no {part}");
            }
        }
    }

    #[test]
    fn a_database_does_not_run_as_root() {
        let program = Path::new("/usr/sbin/server");
        for (command, user) in [
            (postgresql_init(&place(true), program), "runuser --user postgres -- /usr/sbin/initdb"),
            (
                postgresql_start(&place(true), program),
                "runuser --user postgres -- /usr/sbin/server",
            ),
            (mariadb_init(&place(true)), "--user=mysql"),
            (mariadb_start(&place(true), program), "--user=mysql"),
        ] {
            let line = command.to_string();
            assert!(line.contains(user), "{line}");
        }
        assert!(!mariadb_start(&place(false), program).to_string().contains("--user"));
    }
}
