//! Threads that hash, and nothing else.
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;

use argon2::Block;
use tokio::sync::oneshot;

use super::PasswordError;

type Work = Box<dyn FnOnce(&mut Scratch) + Send>;

/// The memory of a thread, which each hash fills anew. Given back and taken again each time it would cost as much as the hash, and be more than it is.
#[derive(Default)]
pub(super) struct Scratch(Vec<Block>);

impl Scratch {
    /// So many blocks: those that are kept where they are enough, or `most` is; and others for more than that.
    pub(super) fn with<T>(
        &mut self,
        blocks: usize,
        most: usize,
        work: impl FnOnce(&mut [Block]) -> T,
    ) -> T {
        if blocks > most {
            return work(&mut vec![Block::default(); blocks]);
        }
        if self.0.len() < blocks {
            self.0.resize(blocks, Block::default());
        }
        work(self.0.get_mut(..blocks).unwrap_or_default())
    }
}

/// Threads that do work that takes long. They end with it.
pub(super) struct Pool {
    queue: mpsc::SyncSender<Work>,
}

impl Pool {
    /// So many threads, for which so much work may wait.
    pub(super) fn new(threads: usize, waiting: usize) -> Self {
        let (queue, work) = mpsc::sync_channel::<Work>(waiting);
        let work = Arc::new(Mutex::new(work));
        for number in 0..threads {
            let work = Arc::clone(&work);
            let thread = thread::Builder::new().name(format!("portcullis-passwords-{number}"));
            let spawned = thread.spawn(move || {
                let mut scratch = Scratch::default();
                loop {
                    let next = work.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(next) = next else { return };
                    // A thread that is gone would be missed by all who come later.
                    drop(catch_unwind(AssertUnwindSafe(|| next(&mut scratch))));
                }
            });
            if let Err(error) = spawned {
                tracing::error!("a thread for passwords cannot be made: {error}");
            }
        }
        Self { queue }
    }
    /// Does it on one of the threads. Dropped before one has begun, it is not done.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Scratch) -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let (sender, done) = oneshot::channel();
        let work = Box::new(move |scratch: &mut Scratch| {
            if !sender.is_closed() {
                drop(sender.send(work(scratch)));
            }
        });
        self.queue.try_send(work).map_err(|_| PasswordError::Busy)?;
        done.await
            .map_err(|_| PasswordError::Failed("the thread that hashed it is gone".to_owned()))
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pool")
    }
}
