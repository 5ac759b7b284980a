//! Connections on which nobody waits for long.
use std::time::Duration;

use portcullis_core::BoxError;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, RedisError, RedisResult,
};
use tokio::time::timeout;

/// How long a call may take for whoever has no limit of their own.
pub(crate) const LONGEST: Duration = Duration::from_secs(1);
/// How long a try to connect may take.
const TRY: Duration = Duration::from_millis(500);
/// How long it is until the next one: from the first to the second, and up to twice that by chance.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(100));

/// A server that is not asked before the first call.
pub(crate) fn client(url: &str, prefix: &str) -> RedisResult<Client> {
    if prefix.is_empty() {
        let wrong = (ErrorKind::InvalidClientConfig, "the names of keys have no prefix");
        return Err(RedisError::from(wrong));
    }
    let info = url.into_connection_info()?;
    // A host that is gone acknowledges nothing, and nobody says so.
    #[cfg(target_os = "linux")]
    let info = {
        let tcp = info.tcp_settings().clone();
        info.set_tcp_settings(tcp.set_user_timeout(LONGEST))
    };
    Client::open(info)
}

/// Connects once, to say what is wrong.
pub(crate) async fn answers(client: &Client) -> RedisResult<()> {
    let once = AsyncConnectionConfig::new().set_connection_timeout(Some(TRY));
    client.get_multiplexed_async_connection_with_config(&once).await.map(drop)
}

/// A connection that is made with the first call. It never gives up: it would not try again by itself where it was refused.
pub(crate) fn lazy(client: &Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_connection_timeout(Some(TRY))
        .set_response_timeout(Some(LONGEST))
        .set_min_delay(PAUSES.0)
        .set_max_delay(PAUSES.1)
        .set_number_of_retries(usize::MAX);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// What Redis says, unless it takes too long. A command waits for a connection as long as there is none.
pub(crate) async fn in_time<T>(
    patience: Duration,
    command: impl Future<Output = RedisResult<T>>,
) -> Result<T, BoxError> {
    let late = |_| BoxError::from("Redis takes no connection, or does not answer");
    Ok(timeout(patience, command).await.map_err(late)??)
}
