//! A body that arrives once, and that any number of readers get.
use std::fmt;
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Cx, Poll, Wake, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use portcullis_core::{Body, BoxError};
use tokio::runtime::Handle;
use tokio::time::Sleep;

/// How far the fastest reader of a body that is not kept may be ahead of the slowest, in bytes.
const WINDOW: u64 = 1 << 20;
/// How long one that has stopped reading may hold up the others.
const PATIENCE: Duration = Duration::from_secs(3);

/// A body that arrives from the origin, and its readers. Nobody drives it but them: whoever has read everything so far asks the origin for more.
///
/// Up to `keep` bytes it keeps what arrives, so that more readers can join; with more than that it keeps only what some reader has not had yet.
pub(crate) struct Stream {
    state: Mutex<State>,
    /// Whoever waits for more, by the number of the reader. Apart from the state, since the origin may wake while it is asked.
    waiting: Mutex<Vec<(u64, Waker)>>,
    on_left: OnLeft,
}

struct State {
    source: Option<Body>,
    pieces: Vec<Bytes>,
    /// How many pieces were there that are not kept any longer, and how many bytes those that are had before them.
    gone: usize,
    gone_bytes: u64,
    received: u64,
    /// How many bytes the head says that there are.
    declared: Option<u64>,
    keep: u64,
    trailers: Option<HeaderMap>,
    over: Option<Over>,
    readers: Vec<Place>,
    /// Those that have held up the others for too long.
    cut: Vec<u64>,
    next: u64,
    on_end: Option<OnEnd>,
    /// Whether somebody was found once who goes on where nobody reads any longer.
    was_left: bool,
    /// How many bytes of the room are taken.
    held: u64,
    room: Arc<Room>,
}

/// How far a reader has got.
struct Place {
    number: u64,
    at: u64,
    /// Whether it is no client's.
    is_silent: bool,
}

/// How many bytes of bodies on their way may be kept for those who come later, in all.
#[derive(Debug)]
pub(crate) struct Room {
    taken: AtomicU64,
    most: u64,
}

impl Room {
    pub(crate) fn new(most: u64) -> Self {
        Self { taken: AtomicU64::new(0), most }
    }
    /// Takes so much; whether there was room.
    fn take(&self, bytes: u64) -> bool {
        self.taken.fetch_add(bytes, Relaxed) + bytes <= self.most
    }
    fn give_back(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Relaxed);
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.room.give_back(self.held);
    }
}

/// How it ended.
#[derive(Clone, Debug)]
enum Over {
    Complete,
    Broken(Arc<str>),
}

/// What has to be done when the body is over: with all of it, or with nothing where it is not complete or was not kept.
pub(crate) type OnEnd = Box<dyn FnOnce(Option<Vec<Bytes>>) + Send>;
/// Who goes on where nobody reads any longer; says whether it does.
pub(crate) type OnLeft = Box<dyn Fn(Arc<Stream>) -> bool + Send + Sync>;

/// The body as one reader gets it.
pub(crate) struct Reader {
    stream: Arc<Stream>,
    number: u64,
    /// How many bytes it has had, those that it did not want included.
    at: u64,
    /// Which piece comes next, counted from the first that ever was.
    piece: usize,
    /// Which bytes it wants.
    wanted: Range<u64>,
    had_trailers: bool,
    /// Since when another one holds it up, and how far that one had got.
    held_up: Option<(Pin<Box<Sleep>>, u64)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What panicked under it was the origin's body, of which nothing more is asked then.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    /// A body that is about to arrive. `declared` is how many bytes its head says that it has.
    pub(crate) fn new(
        source: Body,
        declared: Option<u64>,
        keep: u64,
        room: &Arc<Room>,
        on_end: OnEnd,
        on_left: OnLeft,
    ) -> Arc<Self> {
        let state = State {
            source: Some(source),
            pieces: Vec::new(),
            gone: 0,
            gone_bytes: 0,
            received: 0,
            declared,
            keep,
            trailers: None,
            over: None,
            readers: Vec::new(),
            cut: Vec::new(),
            next: 0,
            on_end: Some(on_end),
            was_left: false,
            held: 0,
            room: Arc::clone(room),
        };
        Arc::new(Self { state: Mutex::new(state), waiting: Mutex::default(), on_left })
    }
    /// One more reader, from the beginning; `None` where that is gone, or the body broke.
    pub(crate) fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = lock(&self.state);
        let is_kept = state.gone == 0 && state.received <= state.keep;
        let is_broken = matches!(state.over, Some(Over::Broken(_)));
        (is_kept && !is_broken).then(|| self.read_from(&mut state, 0, 0))
    }
    /// The same for somebody who is no client: nothing goes on for it alone.
    pub(crate) fn silent_reader(self: &Arc<Self>) -> Option<Reader> {
        let reader = self.reader()?;
        let mut state = lock(&self.state);
        if let Some(place) = state.place(reader.number) {
            place.is_silent = true;
        }
        drop(state);
        Some(reader)
    }
    /// A reader of what is still to come.
    pub(crate) fn rest(self: &Arc<Self>) -> Reader {
        let mut state = lock(&self.state);
        let (at, piece) = (state.received, state.gone + state.pieces.len());
        self.read_from(&mut state, at, piece)
    }
    fn read_from(self: &Arc<Self>, state: &mut State, at: u64, piece: usize) -> Reader {
        let number = state.next;
        state.next += 1;
        state.readers.push(Place { number, at, is_silent: false });
        let (stream, wanted) = (Arc::clone(self), 0..u64::MAX);
        Reader { stream, number, at, piece, wanted, had_trailers: false, held_up: None }
    }
    /// How long the body is, if that is known.
    pub(crate) fn len(&self) -> Option<u64> {
        let state = lock(&self.state);
        match state.over {
            Some(Over::Complete) => Some(state.received),
            _ => state.declared,
        }
    }
    fn wait(&self, number: u64, waker: &Waker) {
        let mut waiting = lock(&self.waiting);
        match waiting.iter_mut().find(|(known, _)| *known == number) {
            Some((_, known)) => known.clone_from(waker),
            None => waiting.push((number, waker.clone())),
        }
    }
    fn wake_all(&self) {
        let waiting = std::mem::take(&mut *lock(&self.waiting));
        for (_, waker) in waiting {
            waker.wake();
        }
    }
    fn wake_others(&self, number: u64) {
        lock(&self.waiting).retain(|(known, _)| *known != number);
        self.wake_all();
    }
    /// One reader fewer; whether nobody reads any longer though the body is not over.
    fn leave(&self, number: u64) -> bool {
        let mut state = lock(&self.state);
        state.readers.retain(|place| place.number != number);
        state.forget();
        let is_left = state.over.is_none() && state.readers.iter().all(|place| place.is_silent);
        drop(state);
        // Somebody may have waited for this one to come after, or for it to ask the origin.
        self.wake_others(number);
        is_left
    }
    /// Whether somebody has to be found who goes on; once.
    fn is_to_go_on(&self) -> bool {
        let mut state = lock(&self.state);
        state.received <= state.keep && !std::mem::replace(&mut state.was_left, true)
    }
    /// Lets those go on whom one holds up that has not read anything since it was here.
    fn cut_those_at(&self, at: u64) {
        let mut state = lock(&self.state);
        let slowest = state.slowest();
        if slowest == at {
            let state = &mut *state;
            let gone = state.readers.extract_if(.., |place| place.at == slowest);
            state.cut.extend(gone.map(|place| place.number));
            state.forget();
        }
        drop(state);
        self.wake_all();
    }
    /// Gives up: nobody reads any longer.
    fn abandon(&self) {
        let mut state = lock(&self.state);
        let source = state.end(Over::Broken("nobody read it to the end".into()));
        let end = state.on_end.take();
        drop(state);
        // Dropping it may wake somebody.
        drop(source);
        if let Some(end) = end {
            end(None);
        }
    }
}

/// The origin has more.
impl Wake for Stream {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

impl State {
    /// The piece of this number, counted from the first that ever was.
    fn piece(&self, number: usize) -> Option<Bytes> {
        self.pieces.get(number.checked_sub(self.gone)?).cloned()
    }
    /// All of it, where it is complete and was kept.
    fn whole(&self) -> Option<Vec<Bytes>> {
        let is_whole = matches!(self.over, Some(Over::Complete)) && self.received <= self.keep;
        is_whole.then(|| self.pieces.clone())
    }
    /// Notes how far a reader has got; says whether others may have waited for it.
    fn has_read(&mut self, number: u64, at: u64) -> bool {
        if let Some(place) = self.place(number) {
            place.at = at;
        }
        self.forget();
        self.received > self.keep && self.readers.len() > 1
    }
    /// Lets go what every reader has had, where the body is larger than what is kept.
    fn forget(&mut self) {
        if self.received <= self.keep {
            return;
        }
        let slowest = self.slowest();
        let mut count = 0;
        for piece in &self.pieces {
            let end = self.gone_bytes + piece.len() as u64;
            if end > slowest {
                break;
            }
            self.gone_bytes = end;
            count += 1;
        }
        let freed: u64 = self.pieces.drain(..count).map(|piece| piece.len() as u64).sum();
        self.gone += count;
        self.held -= freed;
        self.room.give_back(freed);
    }
    fn place(&mut self, number: u64) -> Option<&mut Place> {
        self.readers.iter_mut().find(|place| place.number == number)
    }
    fn slowest(&self) -> u64 {
        self.readers.iter().map(|place| place.at).min().unwrap_or(self.received)
    }
    /// Whether the origin may be asked for more: nobody of those who need it is too far behind.
    fn may_go_on(&self) -> bool {
        let kept = self.received - self.gone_bytes;
        self.received <= self.keep || kept < self.keep.max(WINDOW)
    }
    fn end(&mut self, over: Over) -> Option<Body> {
        self.over.get_or_insert(over);
        self.source.take()
    }
    /// Asks the origin; says whether anything has changed.
    fn pull(&mut self, cx: &mut Cx<'_>) -> bool {
        // What panics is not there any longer when it is asked again.
        let Some(mut source) = self.source.take() else {
            self.end(Over::Broken("it could not be read".into()));
            return true;
        };
        let polled = Pin::new(&mut source).poll_frame(cx);
        self.source = Some(source);
        match polled {
            Poll::Pending => return false,
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    let len = data.len() as u64;
                    self.received += len;
                    self.held += len;
                    self.pieces.push(data);
                    if !self.room.take(len) {
                        // It is handed on, and kept for nobody.
                        self.keep = self.keep.min(self.received.saturating_sub(1));
                        self.forget();
                    }
                    if self.declared.is_some_and(|declared| self.received > declared) {
                        self.end(Over::Broken("it is longer than its head says".into()));
                    }
                }
                Err(frame) => self.trailers = frame.into_trailers().ok(),
            },
            Poll::Ready(Some(Err(error))) => {
                self.end(Over::Broken(error.to_string().into()));
            }
            Poll::Ready(None) => {
                let is_short = self.declared.is_some_and(|declared| self.received < declared);
                let over = if is_short {
                    Over::Broken("it is shorter than its head says".into())
                } else {
                    Over::Complete
                };
                self.end(over);
            }
        }
        true
    }
}

impl Reader {
    /// Reads only these bytes.
    pub(crate) fn within(mut self, wanted: Range<u64>) -> Self {
        self.wanted = wanted;
        self
    }
    fn is_partial(&self) -> bool {
        self.wanted != (0..u64::MAX)
    }
    /// What of a piece that it comes to is wanted.
    fn take(&mut self, mut data: Bytes) -> Bytes {
        let (from, len) = (self.at, data.len() as u64);
        self.piece += 1;
        self.at += len;
        let begin = self.wanted.start.saturating_sub(from).min(len);
        let end = self.wanted.end.saturating_sub(from).min(len);
        // Neither is more than the length of what is in memory.
        data.truncate(usize::try_from(end).unwrap_or(usize::MAX));
        data.split_off(usize::try_from(begin.min(end)).unwrap_or(0))
    }
}

impl HttpBody for Reader {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Cx<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let stream = Arc::clone(&this.stream);
        loop {
            if this.at >= this.wanted.end {
                return Poll::Ready(None);
            }
            let mut state = lock(&stream.state);
            if state.cut.contains(&this.number) {
                return Poll::Ready(Some(Err("it was not read for too long".into())));
            }
            if let Some(data) = state.piece(this.piece) {
                let data = this.take(data);
                let others_may_wait = state.has_read(this.number, this.at);
                drop(state);
                if others_may_wait {
                    stream.wake_others(this.number);
                }
                if data.is_empty() {
                    continue;
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            match &state.over {
                Some(Over::Broken(why)) => return Poll::Ready(Some(Err(why.to_string().into()))),
                Some(Over::Complete) => {
                    let trailers = state.trailers.clone().filter(|_| !this.is_partial());
                    let trailers =
                        trailers.filter(|_| !std::mem::replace(&mut this.had_trailers, true));
                    return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
                }
                None => {}
            }
            // Before the origin is asked, for it may have more at once.
            stream.wait(this.number, cx.waker());
            let waker = Waker::from(Arc::clone(&stream));
            if !state.may_go_on() {
                let slowest = state.slowest();
                drop(state);
                if Handle::try_current().is_err() {
                    return Poll::Pending;
                }
                let (sleep, at) = this
                    .held_up
                    .get_or_insert_with(|| (Box::pin(tokio::time::sleep(PATIENCE)), slowest));
                ready!(sleep.as_mut().poll(cx));
                let at = *at;
                this.held_up = None;
                stream.cut_those_at(at);
                continue;
            }
            this.held_up = None;
            if !state.pull(&mut Cx::from_waker(&waker)) {
                return Poll::Pending;
            }
            let end = state.over.is_some().then(|| state.on_end.take()).flatten();
            let whole = state.whole();
            drop(state);
            stream.wake_others(this.number);
            if let Some(end) = end {
                end(whole);
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.stream.state);
        let is_complete = matches!(state.over, Some(Over::Complete));
        self.at >= self.wanted.end
            || is_complete
                && self.at >= state.received
                && (self.had_trailers || self.is_partial() || state.trailers.is_none())
    }

    fn size_hint(&self) -> SizeHint {
        let len = self.stream.len();
        let rest =
            |end: u64| end.min(self.wanted.end).saturating_sub(self.at.max(self.wanted.start));
        len.map_or_else(SizeHint::new, |len| SizeHint::with_exact(rest(len)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if self.stream.leave(self.number) {
            let stream = Arc::clone(&self.stream);
            if !stream.is_to_go_on() || !(stream.on_left)(Arc::clone(&stream)) {
                stream.abandon();
            }
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("at", &self.at).finish_non_exhaustive()
    }
}
