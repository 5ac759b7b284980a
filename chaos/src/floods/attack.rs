//! A flood at full speed, over one connection.
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};

use super::kinds::Flood;
use crate::failure::Result;
use crate::http2::frames::{PREFACE, error_name, settings, take_frame};

const FRAMES: u32 = 200_000;
/// What is written at once, and what the kernel keeps of it: little, so that the number of frames says how many there
/// were before the end.
const BATCH: usize = 4 * 1024;
const SEND_BUFFER: u32 = 16 * 1024;
/// How long is flooded at most, and how long the end is waited for behind that.
const SENDING: Duration = Duration::from_secs(10);
const WAITING: Duration = Duration::from_secs(2);

/// What came of a flood.
#[derive(Debug)]
pub(super) struct Outcome {
    /// How many frames were sent before the end.
    pub(super) frames: u32,
    /// After what time the server ended the connection, and how.
    pub(super) end: Option<End>,
}

type End = (Duration, String);

pub(super) async fn attack(to: SocketAddr, flood: &Flood) -> Result<Outcome> {
    let socket = TcpSocket::new_v4()?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    let (read, mut write) = stream.into_split();
    let mut opening = PREFACE.to_vec();
    settings(flood.settings, &mut opening);
    write.write_all(&opening).await?;

    let authority = to.to_string();
    let began = Instant::now();
    let mut frames = 0;
    let mut end = pin!(end_of(read, began));
    // The end comes first where both are known, so that nothing is sent behind it.
    let seen = tokio::select! {
        biased;
        end = &mut end => Some(end),
        () = send(&mut write, flood, &authority, &mut frames) => None,
    };
    let end = match seen {
        Some(end) => Some(end),
        None => timeout(WAITING, end).await.ok(),
    };
    Ok(Outcome { frames, end })
}

/// Sends until all is sent, the time is over or the connection fails.
async fn send(write: &mut OwnedWriteHalf, flood: &Flood, authority: &str, frames: &mut u32) {
    let sending = async {
        let mut batch = Vec::new();
        *frames += (flood.opening)(authority, &mut batch);
        for step in 0.. {
            if batch.len() >= BATCH || *frames >= FRAMES {
                if write.write_all(&batch).await.is_err() || *frames >= FRAMES {
                    return;
                }
                batch.clear();
                // Lets the end be seen, even where every write is done at once.
                yield_now().await;
            }
            *frames += (flood.step)(authority, step, &mut batch);
        }
    };
    // What is cut off here has been sent for long enough.
    let _late = timeout(SENDING, sending).await;
}

/// Reads until the server ends the connection; says when and how.
async fn end_of(mut read: OwnedReadHalf, began: Instant) -> End {
    let mut bytes = Vec::new();
    loop {
        let how = match read.read_buf(&mut bytes).await {
            Ok(0) => "close".to_owned(),
            Err(_) => "reset".to_owned(),
            Ok(_) => match goaway(&mut bytes) {
                Some(code) => format!("GOAWAY {}", error_name(code)),
                None => continue,
            },
        };
        return (began.elapsed(), how);
    }
}

fn goaway(bytes: &mut Vec<u8>) -> Option<u32> {
    while let Some(frame) = take_frame(bytes) {
        if let Some(code) = frame.goaway() {
            return Some(code);
        }
    }
    None
}
