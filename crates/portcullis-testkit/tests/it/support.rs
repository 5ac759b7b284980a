//! What several tests need.
use std::any::Any;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

/// The message of the panic in which the future ends.
pub(crate) async fn panic_of<F: Future>(future: F) -> String {
    let mut future = pin!(future);
    let ended = poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(_)) => Poll::Ready(None),
        Err(panic) => Poll::Ready(Some(panic)),
    });
    ended.await.map_or_else(|| "no panic".to_owned(), |panic| message(panic.as_ref()))
}

/// The message of the panic of a function.
pub(crate) fn panic_in<T>(function: impl FnOnce() -> T) -> String {
    match catch_unwind(AssertUnwindSafe(function)) {
        Ok(_) => "no panic".to_owned(),
        Err(panic) => message(panic.as_ref()),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap()
}
