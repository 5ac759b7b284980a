//! What PostgreSQL tells of changes of roles.
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

pub(crate) const CHANNEL: &str = "portcullis_roles";
/// How long it is until the next try to listen.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a try to connect may take.
const TRY: Duration = Duration::from_secs(5);

/// Hears that roles have changed, on a connection of its own, from the first time that somebody asks. What is told while nobody waits is kept until somebody does.
#[derive(Default)]
pub(crate) struct Ears {
    heard: Arc<Notify>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Ears {
    pub(crate) async fn changed(&self, pool: &sqlx::PgPool) {
        self.listen(pool);
        self.heard.notified().await;
    }
    fn listen(&self, pool: &sqlx::PgPool) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose runtime is over has finished.
        if task.as_ref().is_none_or(JoinHandle::is_finished)
            && let Ok(runtime) = Handle::try_current()
        {
            let options = (*pool.connect_options()).clone();
            *task = Some(runtime.spawn(listen(options, Arc::clone(&self.heard))));
        }
    }
}

/// Whoever has two hears on two connections: what one is told, the other one is told too.
impl Clone for Ears {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        let task = self.task.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task {
            task.abort();
        }
    }
}

impl fmt::Debug for Ears {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ears").finish_non_exhaustive()
    }
}

/// Whoever waits, and whoever comes next.
fn tell(heard: &Notify) {
    heard.notify_waiters();
    heard.notify_one();
}

async fn listen(options: PgConnectOptions, heard: Arc<Notify>) {
    let mut told = false;
    loop {
        let mut was_listening = false;
        let lost = follow(&options, &heard, &mut was_listening).await;
        if was_listening {
            told = false;
            // Whoever asks now learns soon that the database is gone.
            tell(&heard);
        }
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
    options: &PgConnectOptions,
    heard: &Notify,
    is_listening: &mut bool,
) -> sqlx::Result<()> {
    let own = PgPoolOptions::new().max_connections(1).acquire_timeout(TRY);
    let own = own.max_lifetime(None).idle_timeout(None).connect_lazy_with(options.clone());
    let mut listener = PgListener::connect_with(&own).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    *is_listening = true;
    // What changed while nobody listened.
    tell(heard);
    while let Some(_news) = listener.try_recv().await? {
        tell(heard);
    }
    Ok(())
}
