//! News of roles on Redis.
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_core::Stream;
use portcullis_authz::RoleNews;
use redis::aio::ConnectionManager;
use redis::{Client, RedisError};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::sessions::{PATIENCE, in_time, open};

/// How long it is until the next try to listen.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells replicas by Redis that roles have changed, where the store that keeps them cannot: for `Announced` of `portcullis-authz`.
///
/// It listens on a connection of its own, from the first time that somebody waits; what is told while nobody waits is kept until somebody does. While the
/// connection is away nobody is told, and whoever waits is told once when it is back, for what may have been missed. A clone listens by itself.
pub struct RedisNews {
    client: Client,
    connection: ConnectionManager,
    channel: Arc<str>,
    heard: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl RedisNews {
    /// Connects to a server, as [`RedisSessions::connect`](crate::RedisSessions::connect) does. Whoever has the same `prefix` is told, whatever the number of their
    /// database on that server.
    ///
    /// # Errors
    /// It is no address, nobody answers there, or the prefix is empty.
    pub async fn connect(url: &str, prefix: &str) -> Result<Self, RedisError> {
        let (client, connection) = open(url, prefix).await?;
        let channel = format!("{{{prefix}}}:roles").into();
        Ok(Self::of(client, connection, channel))
    }
    fn of(client: Client, connection: ConnectionManager, channel: Arc<str>) -> Self {
        Self { client, connection, channel, heard: Arc::default(), task: Mutex::default() }
    }
    fn listen(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose runtime is over has finished.
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            let (client, channel) = (self.client.clone(), Arc::clone(&self.channel));
            *task = Some(runtime.spawn(listen(client, channel, Arc::clone(&self.heard))));
        }
    }
}

#[async_trait]
impl RoleNews for RedisNews {
    async fn tell(&self) {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&*self.channel).arg("");
        let mut connection = self.connection.clone();
        if let Err(error) = in_time(publish.query_async::<()>(&mut connection)).await {
            tracing::warn!("a change of roles is not told: {error}");
        }
    }
    async fn heard(&self) {
        self.listen();
        self.heard.notified().await;
    }
}

impl Clone for RedisNews {
    fn clone(&self) -> Self {
        Self::of(self.client.clone(), self.connection.clone(), Arc::clone(&self.channel))
    }
}

impl Drop for RedisNews {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
}

impl fmt::Debug for RedisNews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisNews").field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// Whoever waits, and whoever comes next.
fn tell(heard: &Notify) {
    heard.notify_waiters();
    heard.notify_one();
}

async fn listen(client: Client, channel: Arc<str>, heard: Arc<Notify>) {
    let mut told = false;
    loop {
        let mut was_listening = false;
        let lost = follow(&client, &channel, &heard, &mut was_listening).await;
        told = told && !was_listening;
        if let Err(error) = lost
            && !told
        {
            tracing::warn!("changes of roles are not heard, and asked for instead: {error}");
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Listens until the connection is lost.
async fn follow(
    client: &Client,
    channel: &str,
    heard: &Notify,
    is_listening: &mut bool,
) -> Result<(), portcullis_core::BoxError> {
    let mut news = timeout(PATIENCE, client.get_async_pubsub()).await??;
    timeout(PATIENCE, news.subscribe(channel)).await??;
    *is_listening = true;
    // What changed while nobody listened.
    tell(heard);
    let mut news = news.into_on_message();
    while poll_fn(|cx| Pin::new(&mut news).poll_next(cx)).await.is_some() {
        tell(heard);
    }
    Ok(())
}
