//! Handing the listening sockets to the next process, so that no connection in their queues is lost.
//!
//! The next process connects to a Unix socket of this one and gets the listening sockets by `SCM_RIGHTS`, with their names.
//! When it accepts on them itself, it says so; then this one stops accepting and drains. Until then nothing has changed, so a
//! next process that fails to start does no harm.
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::Access;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use crate::control::{Control, Sockets, State};
use crate::listen::{Accepting, Address, At, Inherited, Listening, Origin, is_socket};

/// The most sockets that one message carries. Linux allows 253.
pub(crate) const MAX_SOCKETS: usize = 64;
/// How long the other process may take for one step.
const PATIENCE: Duration = Duration::from_secs(5);
/// How many processes may have asked for the sockets and not be ready yet.
const MAX_HEIRS: usize = 8;
const READY: &[u8] = b"ready\n";
const GONE: &[u8] = b"gone\n";

/// The line to the process before this one, which waits to hear that this one is ready.
#[derive(Debug)]
pub(crate) struct Predecessor(UnixStream);

/// Takes the sockets over, if a process offers them at `path`.
pub(crate) fn take(path: &Path, inherited: &mut Inherited) -> io::Result<Option<Predecessor>> {
    check(path)?;
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if is_nobody(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (names, sockets) = receive(&stream)?;
    for (name, socket) in names.lines().zip(sockets) {
        let listening = match name.split_once(':').map(|(kind, _)| kind) {
            Some("tcp") => Listening::tcp(socket.into(), Origin::Predecessor),
            Some("unix") => Listening::unix(socket.into(), Origin::Predecessor),
            Some("managed-tcp") => Listening::tcp(socket.into(), Origin::ManagerOfPredecessor),
            Some("managed-unix") => Listening::unix(socket.into(), Origin::ManagerOfPredecessor),
            // Of a later version, which knows sockets that we do not: closing our copy does no harm.
            _ => continue,
        };
        inherited.add(listening?);
    }
    Ok(Some(Predecessor(stream)))
}

/// How a socket is called when it is handed over.
fn name(listening: &Listening) -> String {
    let managed = match listening.origin.handed_over() {
        Origin::ManagerOfPredecessor => "managed-",
        _ => "",
    };
    match listening.address() {
        Address::Tcp(address) => format!("{managed}tcp:{address}"),
        Address::Unix(path) => format!("{managed}unix:{}", path.display()),
    }
}

/// Whether a socket can be at `path`, now or later.
fn check(path: &Path) -> io::Result<()> {
    let invalid = |error: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, error));
    std::os::unix::net::SocketAddr::from_pathname(path)?;
    if path.symlink_metadata().is_ok() && !is_socket(path) {
        return invalid("there is a file that is no socket");
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return invalid("its folder does not exist");
    }
    rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?;
    Ok(())
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn receive(stream: &UnixStream) -> io::Result<(String, Vec<OwnedFd>)> {
    let mut names = vec![0; 64 << 10];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut names)];
    let received = recvmsg(stream, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut sockets = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(fds) = message {
            sockets.extend(fds);
        }
    }
    if received.bytes == 0 || received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the sockets did not come whole"));
    }
    names.truncate(received.bytes);
    let names = String::from_utf8(names)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok((names, sockets))
}

impl Predecessor {
    /// Says that this process accepts now, and waits until the other one no longer does.
    pub(crate) fn release(mut self) -> io::Result<()> {
        // One that is gone, or about to be, does not accept either.
        match self.0.write_all(READY) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
        let mut answer = Vec::new();
        match self.0.read_to_end(&mut answer) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            read => read?,
        };
        if answer.is_empty() || answer == GONE {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "it gave an unknown answer"))
    }
}

/// Offers the sockets at `path` until somebody has taken them.
pub(crate) async fn offer(path: PathBuf, sockets: Vec<Listening>, control: Arc<Control>) {
    let listener = match listen(&path) {
        Ok(listener) => listener,
        Err(error) => {
            let path = path.display();
            tracing::error!(%path, error = %error, "the sockets cannot be handed over: nothing listens here");
            return;
        }
    };
    let mut file = OurFile(Some(path));
    let sockets = Arc::new(sockets);
    // Several at a time: one that takes them and says no more must not stand in the way of the next.
    let mut heirs = JoinSet::new();
    let mut next = loop {
        tokio::select! {
            accepted = listener.accept(), if heirs.len() < MAX_HEIRS => match accepted {
                Ok((stream, _)) => {
                    // Before it is given any: who has copies of them goes on with them and needs their files, also where this task hears no more of how this process ends.
                    control.set_sockets(Sockets::Promised);
                    heirs.spawn(give(stream, Arc::clone(&sockets)));
                }
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept a process that asks for the sockets");
                    tokio::time::sleep(PATIENCE).await;
                }
            },
            Some(given) = heirs.join_next() => {
                match given {
                    Ok(Ok(next)) => break next,
                    Ok(Err(error)) => tracing::warn!(error = %error, "the sockets were not taken over"),
                    Err(_) => {}
                }
                if heirs.is_empty() {
                    control.set_sockets(Sockets::Ours);
                }
            }
            () = control.reached(State::Closing) => return,
        }
    };
    control.set_sockets(Sockets::HandedOver);
    // The path must be free for the next process when it hears of this, and is its own from then on.
    drop(listener);
    file.0 = None;
    drop(next.write_all(GONE).await);
    control.advance(State::Lingering);
    tracing::info!("handed the sockets over; draining");
}

/// The file of a Unix socket that nobody else listens at. It is removed with this, however the task ends.
struct OurFile(Option<PathBuf>);

impl Drop for OurFile {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            drop(std::fs::remove_file(path));
        }
    }
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let at = At::Unix(path.to_owned());
    // Private: whoever connects gets our sockets.
    match Listening::open(&at, &mut Inherited::default(), true)?.accepting()? {
        Accepting::Unix(listener) => Ok(listener),
        Accepting::Tcp(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// Gives the sockets to the process at the other end, and waits until it accepts on them.
async fn give(
    mut stream: tokio::net::UnixStream,
    sockets: Arc<Vec<Listening>>,
) -> io::Result<tokio::net::UnixStream> {
    let peer = sockopt::socket_peercred(&stream)?;
    if peer.uid != rustix::process::geteuid() && !peer.uid.is_root() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "another user asked for them"));
    }
    let names: Vec<_> = sockets.iter().map(name).collect();
    let names = names.join("\n");
    stream.writable().await?;
    {
        let fds: Vec<BorrowedFd<'_>> = sockets.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_SOCKETS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !ancillary.push(SendAncillaryMessage::ScmRights(&fds)) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "there are too many sockets"));
        }
        sendmsg(&stream, &[IoSlice::new(names.as_bytes())], &mut ancillary, SendFlags::NOSIGNAL)?;
    }
    let mut answer = [0; READY.len()];
    stream.read_exact(&mut answer).await?;
    if answer != READY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "an unknown answer"));
    }
    Ok(stream)
}
