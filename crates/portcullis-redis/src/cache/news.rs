//! Hearing of purges.
use std::future::poll_fn;
use std::pin::Pin;

use async_trait::async_trait;
use futures_core::Stream;
use portcullis_cache::store::{CacheStoreError, Mark};
use portcullis_cache::{Purge, PurgeListener, PurgeNews};
use redis::aio::PubSubStream;

use super::RedisCache;
use crate::connect::{LONGEST, in_time};

/// What is told of a purge besides its number.
pub(super) fn text(purge: &Purge) -> String {
    let kind = if purge.is_soft() { 's' } else { 'h' };
    format!("{kind}{}", purge.to_text())
}

/// What was told.
fn read(told: &[u8]) -> Option<(Purge, Mark)> {
    let told = std::str::from_utf8(told).ok()?;
    let (mark, rest) = told.split_at_checked(told.find(|c: char| !c.is_ascii_digit())?)?;
    let (kind, text) = rest.split_at_checked(1)?;
    let purge = Purge::from_text(text)?;
    let purge = if kind == "s" { purge.soft() } else { purge };
    Some((purge, Mark(mark.parse().ok()?)))
}

#[async_trait]
impl PurgeNews for RedisCache {
    async fn mark(&self) -> Result<Mark, CacheStoreError> {
        Ok(self.ask_mark(self.seen()).await?)
    }
    async fn listen(&self) -> Result<Box<dyn PurgeListener>, CacheStoreError> {
        let listen = async {
            let mut news = self.client.get_async_pubsub().await?;
            news.subscribe(&*self.channel()).await?;
            Ok(news.into_on_message())
        };
        Ok(Box::new(Listener(in_time(LONGEST, listen).await?)))
    }
}

struct Listener(PubSubStream);

#[async_trait]
impl PurgeListener for Listener {
    async fn next(&mut self) -> Option<(Purge, Mark)> {
        loop {
            let told = poll_fn(|cx| Pin::new(&mut self.0).poll_next(cx)).await?;
            let Some(heard) = read(told.get_payload_bytes()) else {
                // Its number is missing then: all copies are dropped with the next one.
                tracing::warn!("what is told of a purge cannot be read");
                continue;
            };
            return Some(heard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read() {
        for purge in [
            Purge::url("http://shop/books/1?page=2"),
            Purge::prefix("7"),
            Purge::tag("books").soft(),
            Purge::group("http://shop", "books\0of all"),
            Purge::everything().soft(),
        ] {
            let told = format!("1784000000000001{}", text(&purge));
            assert_eq!(read(told.as_bytes()), Some((purge, Mark(1_784_000_000_000_001))));
        }
        for odd in ["", "1", "1h", "hu", "1hx", "99999999999999999999999h*"] {
            assert_eq!(read(odd.as_bytes()), None, "{odd}");
        }
    }
}
