//! Ends floods of HTTP/2 frames that cost us work and carry nothing.
//!
//! hyper bounds what requests take: streams, header lists, windows, resets that it has not looked at yet. What it does
//! not bound are frames that are legal at any rate and ask for no stream: each is looked up, many are answered, and a
//! client on a fast line can send millions of them a second. RFC 9113, section 10.5 lists them as ways to deny service
//! and asks to watch for their use; the published attacks are CVE-2019-9512 (PING), CVE-2019-9513 (PRIORITY),
//! CVE-2019-9514 (resets), CVE-2019-9515 (SETTINGS), CVE-2019-9518 (empty frames), CVE-2023-44487 (rapid reset) and
//! VU#421644 (header blocks that never end).
//!
//! [`FrameMeter`] reads the raw bytes of a client as they pass to hyper, of each frame only the nine bytes before its
//! payload (section 4.1), and pays for the frames out of token buckets. Honest clients earn more than they spend: by
//! their requests, by what they upload, and by what we send to them.
#[cfg(test)]
mod tests;

/// A coarse time: steps of 200 ms since some beginning.
///
/// One look at a real clock for each read is too much for what is asked of it here, and this can be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Tick(pub(crate) u32);

impl Tick {
    /// The steps from `earlier` to here; none where that is later.
    fn since(self, earlier: Self) -> u32 {
        self.0.saturating_sub(earlier.0)
    }
}

/// How many [`Tick`]s a second has.
const TICKS_PER_SECOND: u32 = 5;

/// How many [`Tick`]s a header block may take: 10 s. The bytes of one are sent at once, and a few packets that are lost
/// on a bad line are sent again within that time.
pub(crate) const HEADER_BLOCK_TICKS: u32 = 10 * TICKS_PER_SECOND;

/// The most CONTINUATION frames of a header block.
///
/// With frames of the default size, 16 of them hold 256 KiB, sixteen times the header list that hyper accepts by
/// default. h2 counts them too, up to a number that it derives from that limit; this one holds whatever the limit is.
const MAX_CONTINUATIONS: u8 = 16;

/// Why a connection is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flood {
    /// PING, or the answer to one.
    #[error("too many PING frames")]
    Ping,
    /// SETTINGS, or the answer to one, or too many entries in one.
    #[error("too many SETTINGS")]
    Settings,
    /// PRIORITY, which is deprecated and ignored (RFC 9113, section 5.3.2).
    #[error("too many PRIORITY frames")]
    Priority,
    /// `RST_STREAM`, more than what was sent or received pays for.
    #[error("too many RST_STREAM frames")]
    Reset,
    /// `WINDOW_UPDATE`, more than what was sent can be the reason of.
    #[error("too many WINDOW_UPDATE frames")]
    WindowUpdate,
    /// DATA without data that does not end its stream either.
    #[error("too many empty DATA frames")]
    EmptyData,
    /// DATA of a few bytes each.
    #[error("too many small DATA frames")]
    SmallData,
    /// CONTINUATION: too many of one header block, or of none.
    #[error("too many CONTINUATION frames")]
    Continuation,
    /// Types that a client has no use for: `PUSH_PROMISE`, GOAWAY again and again, and those that we do not know.
    #[error("too many frames that say nothing to a server")]
    Other,
    /// A frame longer than was announced (RFC 9113, section 4.2).
    #[error("a frame is longer than the limit that was announced")]
    Oversize,
    /// A header block that has not ended after [`HEADER_BLOCK_TICKS`].
    #[error("a header block took too long")]
    SlowHeaders,
}

impl Flood {
    /// A short name, for a metric; there are no more of them than there are variants.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Settings => "settings",
            Self::Priority => "priority",
            Self::Reset => "reset",
            Self::WindowUpdate => "window_update",
            Self::EmptyData => "empty_data",
            Self::SmallData => "small_data",
            Self::Continuation => "continuation",
            Self::Other => "other",
            Self::Oversize => "oversize",
            Self::SlowHeaders => "slow_headers",
        }
    }
}

/// Meters the frames of one client.
///
/// It allocates nothing, and costs the same for every frame, however long, and for every further read of a payload.
#[derive(Clone, Debug)]
pub(crate) struct FrameMeter {
    /// The beginning of a frame header whose rest has not arrived.
    head: [u8; HEAD],
    arrived: usize,
    /// What has to arrive yet of a payload.
    payload: usize,
    max_frame_size: u32,
    /// Until when the buckets have been filled.
    now: Tick,
    block: Option<Block>,
    flood: Option<Flood>,
    overhead: Overhead,
    signals: Signals,
    small: Small,
    resets: Resets,
}

/// A header block that is arriving: HEADERS and its CONTINUATION frames, with nothing between them (RFC 9113, section
/// 6.10).
#[derive(Clone, Copy, Debug)]
struct Block {
    since: Tick,
    continuations: u8,
    /// The payload that is arriving is its last one.
    is_last: bool,
}

/// A token bucket, full in the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket<const FULL: u32, const PER_TICK: u32>(u32);

/// For what no client has to send often: one token a frame, and one for each entry of SETTINGS.
///
/// A browser begins with a dozen, and sends priorities, and frames of types that do not exist so that servers learn to
/// pass over them, along with its requests, which pay for them. 50 a second are for those that change while a page is laid
/// out. 1,000 at once are a hundred times as many as anybody has been seen to begin with.
type Overhead = Bucket<1_000, { 50 / TICKS_PER_SECOND }>;

/// For PING and `WINDOW_UPDATE`, which clients send because of what we send, so one token is one byte that we sent.
///
/// What we send to a client that does nothing but ping are answers of 17 bytes, so that a price of [`PING`] is more than
/// they earn, and the flood ends. The least that we send to a client that measures its line, one message of gRPC in one
/// DATA frame, is about as long again: together they pay for a ping. Clients of gRPC in Go measure whenever a response
/// arrives, over a fast line some thousand times a second, with a PING and a `WINDOW_UPDATE` each. Hence no small number:
/// 2,000 pings a second are free, which is less work than as many requests would be, and the rest must be earned.
type Signals = Bucket<{ 10_000 * PING }, { 2_000 * PING / TICKS_PER_SECOND }>;

/// The price of a PING, which we answer.
const PING: u32 = 32;
/// The price of a `WINDOW_UPDATE`, which we do not answer: 64 of them for each KiB that we send, whereas the most eager
/// client sends two for each DATA frame that it gets.
const WINDOW_UPDATE: u32 = PING / 2;

/// For small DATA frames; as with [`Signals`], one token is one byte that we sent.
///
/// A stream of small messages is what they are honestly used for. 1,000 of them a second are a busy one, so 2,000 are
/// free for ever, and more are paid for where the messages are answered. A flood of 20,000 a second is over after little
/// more than half a second.
///
/// h2 has a budget for DATA too, `data_frame_budget` of its builder: a frame of fewer than 256 bytes costs what is lacking
/// until the application has taken it, and is at the expense of half the connection's window, or 25,600 bytes; of empty
/// frames it takes 100 in a connection's life. That bounds the memory of frames that wait, at any rate of them, and says
/// nothing where the application reads them as fast as they come. This bounds their rate, whoever reads them.
type Small = Bucket<{ 10_000 * SMALL_DATA }, { 2_000 * SMALL_DATA / TICKS_PER_SECOND }>;

/// The price of a small DATA frame.
const SMALL_DATA: u32 = 32;
/// A DATA frame is small when it may carry less than this: less than twice the nine bytes before it.
const SMALL: u32 = 16;
/// The most that padding takes: one byte that says how much, and 255 bytes (RFC 9113, section 6.1). Its length stands in
/// the payload, so every padded frame counts as if it had that much.
const MAX_PADDING: u32 = 256;

/// For `RST_STREAM`; one token is one byte that we sent.
///
/// Who gives up 200 requests at once leaves a page, or is a proxy that has lost a client of its own. 40 a second are free
/// for ever: nghttp2, which limits them by a bucket too, allows 33, and 1,000 at once that nothing pays for. The rest is
/// paid for by a KiB of answers each, as those pay who read most answers and give up some, or by [`UPLOAD`] times as much
/// that was sent to us. h2 bounds the resets of streams that it has not handed out yet, at 20; this bounds those of
/// requests that are being served.
type Resets = Bucket<{ 200 * RESET }, { 40 * RESET / TICKS_PER_SECOND }>;

/// The price of an `RST_STREAM`.
const RESET: u32 = 1_024;
/// How much must be received to count for as much as what is sent: it is cheap for a client to send.
const UPLOAD: u32 = 16;

/// A DATA frame that earns something: it carries a hundred times what it costs to frame it.
const LARGE: u32 = 1_024;

/// The bytes before a payload: its length, the type, the flags and the stream (RFC 9113, section 4.1).
const HEAD: usize = 9;

/// An entry of SETTINGS, in bytes (RFC 9113, section 6.5.1).
const SETTING: u32 = 6;

/// Types of frames (RFC 9113, section 6).
mod kind {
    pub(super) const DATA: u8 = 0x0;
    pub(super) const HEADERS: u8 = 0x1;
    pub(super) const PRIORITY: u8 = 0x2;
    pub(super) const RST_STREAM: u8 = 0x3;
    pub(super) const SETTINGS: u8 = 0x4;
    pub(super) const PING: u8 = 0x6;
    pub(super) const WINDOW_UPDATE: u8 = 0x8;
    pub(super) const CONTINUATION: u8 = 0x9;
}

/// Flags of DATA, HEADERS and CONTINUATION.
mod flag {
    pub(super) const END_STREAM: u8 = 0x01;
    pub(super) const END_HEADERS: u8 = 0x04;
    pub(super) const PADDED: u8 = 0x08;
}

impl FrameMeter {
    /// Meters a client to which `max_frame_size` was announced; where nothing was, it is 16,384 (RFC 9113, section
    /// 6.5.2).
    pub(crate) fn new(max_frame_size: u32, now: Tick) -> Self {
        Self {
            head: [0; HEAD],
            arrived: 0,
            payload: 0,
            max_frame_size,
            now,
            block: None,
            flood: None,
            overhead: Bucket::full(),
            signals: Bucket::full(),
            small: Bucket::full(),
            resets: Bucket::full(),
        }
    }
    /// Passes over the next `bytes`: a preface that has not been read yet.
    pub(crate) fn behind(self, bytes: usize) -> Self {
        Self { payload: bytes, ..self }
    }
    /// Meters what has been read, without the preface (RFC 9113, section 3.4). How the bytes are split into reads makes
    /// no difference.
    ///
    /// # Errors
    ///
    /// There is a flood: end the connection. Whatever is read behind it is the same flood.
    pub(crate) fn feed(&mut self, bytes: &[u8], now: Tick) -> Result<(), Flood> {
        if let Some(flood) = self.flood {
            return Err(flood);
        }
        let verdict = self.pass(bytes, now);
        self.flood = verdict.err();
        verdict
    }
    /// Counts what has been written to the client, frame headers and all, before it is encrypted.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.signals.earn(bytes);
        self.small.earn(bytes);
        self.resets.earn(bytes);
    }
    /// Since when a header block has been arriving, be it that its last frame is announced but not all there; `None`
    /// where the next frame may be any.
    ///
    /// The next [`feed`](Self::feed) refuses one that is older than [`HEADER_BLOCK_TICKS`]; for a client that says no
    /// more, ask here.
    pub(crate) fn header_block_since(&self) -> Option<Tick> {
        self.block.map(|block| block.since)
    }

    fn pass(&mut self, mut bytes: &[u8], now: Tick) -> Result<(), Flood> {
        self.refill(now);
        if self.block.is_some_and(|block| now.since(block.since) > HEADER_BLOCK_TICKS) {
            return Err(Flood::SlowHeaders);
        }
        loop {
            bytes = self.pass_payload(bytes);
            let Some((head, rest)) = self.take_head(bytes) else { return Ok(()) };
            bytes = rest;
            self.frame(head)?;
        }
    }
    fn refill(&mut self, now: Tick) {
        let ticks = now.since(self.now);
        if ticks > 0 {
            self.now = now;
            self.overhead.refill(ticks);
            self.signals.refill(ticks);
            self.small.refill(ticks);
            self.resets.refill(ticks);
        }
    }
    fn pass_payload<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let passed = self.payload.min(bytes.len());
        self.payload -= passed;
        if self.payload == 0 && self.block.is_some_and(|block| block.is_last) {
            self.block = None;
        }
        bytes.get(passed..).unwrap_or_default()
    }
    /// The next frame header, once all of it is there, and what follows it.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Option<([u8; HEAD], &'a [u8])> {
        if self.arrived == 0
            && let Some((head, rest)) = bytes.split_first_chunk()
        {
            return Some((*head, rest));
        }
        let missing = self.head.get_mut(self.arrived..)?;
        let (part, rest) = bytes.split_at_checked(missing.len().min(bytes.len()))?;
        missing.get_mut(..part.len())?.copy_from_slice(part);
        self.arrived += part.len();
        if self.arrived < HEAD {
            return None;
        }
        self.arrived = 0;
        Some((self.head, rest))
    }

    fn frame(&mut self, head: [u8; HEAD]) -> Result<(), Flood> {
        let [high, middle, low, kind, flags, ..] = head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        if length > self.max_frame_size {
            return Err(Flood::Oversize);
        }
        self.payload = length as usize;
        // An ACK is charged like what it answers: there is at most one for each PING and SETTINGS that we sent, and h2
        // looks at those that answer nothing, and logs them.
        match kind {
            kind::DATA => self.data(length, flags),
            kind::HEADERS => {
                self.headers(flags);
                Ok(())
            }
            kind::PRIORITY => self.overhead.spend(1, Flood::Priority),
            kind::RST_STREAM => self.resets.spend(RESET, Flood::Reset),
            kind::SETTINGS => self.overhead.spend(1 + length / SETTING, Flood::Settings),
            kind::PING => self.signals.spend(PING, Flood::Ping),
            kind::WINDOW_UPDATE => self.signals.spend(WINDOW_UPDATE, Flood::WindowUpdate),
            kind::CONTINUATION => self.continuation(flags),
            _ => self.overhead.spend(1, Flood::Other),
        }
    }
    fn data(&mut self, length: u32, flags: u8) -> Result<(), Flood> {
        let padding = if flags & flag::PADDED == 0 { 0 } else { MAX_PADDING };
        if length == 0 && flags & flag::END_STREAM == 0 {
            return self.overhead.spend(1, Flood::EmptyData);
        }
        // One that ends its stream is paid for by the HEADERS that opened it. It is charged nevertheless, for it may come
        // again and again on a stream that is closed already.
        if length < SMALL + padding {
            return self.small.spend(SMALL_DATA, Flood::SmallData);
        }
        if length >= LARGE + padding {
            self.overhead.earn(1);
            self.small.earn(SMALL_DATA);
            self.resets.earn(length / UPLOAD);
        }
        Ok(())
    }
    /// Requests cost far more than what they earn here, and are bounded elsewhere: by the streams that may be open, and by
    /// the layers.
    fn headers(&mut self, flags: u8) {
        let is_last = flags & flag::END_HEADERS != 0;
        // Where a block is open already, hyper ends the connection. Until then it stays the same block.
        let opened = Block { since: self.now, continuations: 0, is_last };
        self.block.get_or_insert(opened).is_last = is_last;
        if is_last {
            // A priority and an extension of its own, a PING and a WINDOW_UPDATE at the response.
            self.overhead.earn(2);
            self.signals.earn(2 * PING);
        }
        if is_last && flags & flag::END_STREAM == 0 {
            // A message and the empty frame that ends the stream. Nothing for resets: a request that is given up would
            // pay for itself.
            self.small.earn(2 * SMALL_DATA);
        }
    }
    fn continuation(&mut self, flags: u8) -> Result<(), Flood> {
        let Some(block) = &mut self.block else {
            return self.overhead.spend(1, Flood::Continuation);
        };
        if block.continuations == MAX_CONTINUATIONS {
            return Err(Flood::Continuation);
        }
        block.continuations += 1;
        block.is_last = flags & flag::END_HEADERS != 0;
        Ok(())
    }
}

impl<const FULL: u32, const PER_TICK: u32> Bucket<FULL, PER_TICK> {
    fn full() -> Self {
        Self(FULL)
    }
    fn earn(&mut self, tokens: u32) {
        self.0 = self.0.saturating_add(tokens).min(FULL);
    }
    fn refill(&mut self, ticks: u32) {
        self.earn(PER_TICK.saturating_mul(ticks));
    }
    fn spend(&mut self, tokens: u32, otherwise: Flood) -> Result<(), Flood> {
        self.0 = self.0.checked_sub(tokens).ok_or(otherwise)?;
        Ok(())
    }
}
