use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A running front door, killed when it is dropped.
struct Door {
    process: Child,
    address: String,
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

impl Door {
    fn open(words: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_frontdoor"));
        let mut process = command.args(words).stdout(Stdio::piped()).spawn().unwrap();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        let mut lines = [String::new(), String::new()];
        for line in &mut lines {
            out.read_line(line).unwrap();
        }
        // Held open: a process whose output nobody reads could not say more.
        process.stdout = Some(out.into_inner());
        let address = lines[0].trim().strip_prefix("listening on http://").unwrap().to_owned();
        assert_eq!(lines[1].trim(), "ready");
        Self { process, address }
    }
    fn signal(&self, name: &str) {
        let process = self.process.id().to_string();
        assert!(Command::new("kill").args([name, &process]).status().unwrap().success());
    }
    /// Sends a request, and does not wait for its answer.
    fn ask(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
        stream
    }
    fn is_well(&mut self) -> bool {
        self.process.wait().unwrap().success()
    }
}

fn read(mut stream: impl Read) -> String {
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer));
    answer
}

/// What the server says of itself; nothing once it has let go of its sockets.
fn status(admin: &Path) -> String {
    let Ok(mut stream) = UnixStream::connect(admin) else { return String::new() };
    drop(stream.write_all(b"GET /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    read(stream)
}

/// A folder that is removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("frontdoor-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[test]
fn a_signal_behind_a_hand_over_is_the_first_one() {
    let folder = Folder::new("handover");
    let (handover, admin) = (folder.path("handover.sock"), folder.path("admin.sock"));
    let place = format!("unix:{admin}");
    let mut first =
        Door::open(&["--listen", "127.0.0.1:0", "--handover", &handover, "--admin", &place]);
    while !Path::new(&handover).exists() {}
    let slow = first.ask("/slow?ms=1500");
    while !status(Path::new(&admin)).contains("\"connections\":2") {}

    let mut second = Door::open(&["--listen", &first.address, "--handover", &handover]);
    while status(Path::new(&admin)).contains("\"running\"") {}
    // It drains since the second one is ready; the service manager does not know.
    first.signal("-TERM");
    let answer = read(slow);
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("slow\n"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert!(first.is_well());

    let mut stream = second.ask("/");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    drop(stream);
    second.signal("-INT");
    assert!(second.is_well());
}

#[test]
fn a_second_signal_does_not_wait() {
    let folder = Folder::new("signals");
    let admin = folder.path("admin.sock");
    let place = format!("unix:{admin}");
    let mut door = Door::open(&["--listen", "127.0.0.1:0", "--workers", "2", "--admin", &place]);
    let endless = door.ask("/slow?ms=600000");
    while !status(Path::new(&admin)).contains("\"connections\":2") {}
    door.signal("-TERM");
    while status(Path::new(&admin)).contains("\"running\"") {}
    door.signal("-TERM");
    assert!(door.is_well());
    assert_eq!(read(endless), "", "it was cut off");
}

#[test]
fn what_is_wrong_is_said_with_the_way_out() {
    for (words, want) in [
        (&["--listen", "ftp://127.0.0.1:1"][..], "say `http`, `https` or `unix`"),
        (&["--listen", "https://127.0.0.1:0"], "https needs a certificate"),
        (
            &["--listen", "127.0.0.1:0", "--cert", "/no", "--key", "/no"],
            "tls file `/no`: it cannot be read",
        ),
        (&["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"], "needs a `token`"),
        (&["--lisen", "x"], "there is no `--lisen`"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_frontdoor")).args(words).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(want), "{words:?}: {said}");
    }
}
