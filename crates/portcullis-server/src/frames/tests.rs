use proptest::prelude::*;

use super::flag::{END_HEADERS, END_STREAM, PADDED};
use super::kind::{
    CONTINUATION, DATA, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use super::*;

const ACK: u8 = 0x01;
const PUSH_PROMISE: u8 = 0x5;
const GOAWAY: u8 = 0x7;
/// RFC 9218, section 7.1.
const PRIORITY_UPDATE: u8 = 0x10;
/// The answer to a PING, with its frame header.
const PONG: usize = HEAD + 8;

fn meter() -> FrameMeter {
    FrameMeter::new(16_384, Tick(7))
}

fn frame(kind: u8, flags: u8, len: usize) -> Vec<u8> {
    let [_, high, middle, low] = u32::try_from(len).unwrap().to_be_bytes();
    // What stands in a payload or names a stream is not looked at, so it looks like anything but a frame.
    let mut frame = vec![high, middle, low, kind, flags, 0xff, 0xff, 0xff, 0xff];
    frame.resize(HEAD + len, 0xff);
    frame
}

/// How many of these frames pass. The meter stays before the first that does not, for a flood lasts for ever.
fn passes(meter: &mut FrameMeter, frames: &[u8], now: Tick) -> usize {
    assert_eq!(meter.feed(&[], now), Ok(()));
    let passes = |_: &usize| {
        let mut next = meter.clone();
        let verdict = next.feed(frames, now);
        if verdict.is_ok() {
            *meter = next;
        }
        verdict.is_ok()
    };
    (0..100_000).take_while(passes).count()
}

fn get() -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, 40)
}

fn post() -> Vec<u8> {
    frame(HEADERS, END_HEADERS, 40)
}

#[test]
fn each_flood_ends_at_its_number() {
    let block = [frame(HEADERS, 0, 10), frame(CONTINUATION, 0, 1).repeat(16)].concat();
    for (name, first, flood, passes, want) in [
        ("PING", vec![], frame(PING, 0, 8), 10_000, Flood::Ping),
        ("answers to no PING", vec![], frame(PING, ACK, 8), 10_000, Flood::Ping),
        ("WINDOW_UPDATE", vec![], frame(WINDOW_UPDATE, 0, 4), 20_000, Flood::WindowUpdate),
        ("SETTINGS", vec![], frame(SETTINGS, 0, 0), 1_000, Flood::Settings),
        ("answers to no SETTINGS", vec![], frame(SETTINGS, ACK, 0), 1_000, Flood::Settings),
        ("SETTINGS of nine entries", vec![], frame(SETTINGS, 0, 9 * 6), 100, Flood::Settings),
        ("SETTINGS of many entries", vec![], frame(SETTINGS, 0, 1_000 * 6), 0, Flood::Settings),
        ("PRIORITY", vec![], frame(PRIORITY, 0, 5), 1_000, Flood::Priority),
        ("RST_STREAM", vec![], frame(RST_STREAM, 0, 4), 200, Flood::Reset),
        ("rapid reset", vec![], [get(), frame(RST_STREAM, 0, 4)].concat(), 200, Flood::Reset),
        (
            "rapid reset of POST",
            vec![],
            [post(), frame(RST_STREAM, 0, 4)].concat(),
            200,
            Flood::Reset,
        ),
        ("empty DATA", vec![], frame(DATA, 0, 0), 1_000, Flood::EmptyData),
        ("DATA of one byte", vec![], frame(DATA, 0, 1), 10_000, Flood::SmallData),
        ("DATA of 15 bytes", vec![], frame(DATA, 0, 15), 10_000, Flood::SmallData),
        ("DATA of padding", vec![], frame(DATA, PADDED, 271), 10_000, Flood::SmallData),
        ("ends of streams", vec![], frame(DATA, END_STREAM, 0), 10_000, Flood::SmallData),
        ("CONTINUATION of nothing", vec![], frame(CONTINUATION, 0, 9), 1_000, Flood::Continuation),
        ("too many CONTINUATION", block.clone(), frame(CONTINUATION, 0, 1), 0, Flood::Continuation),
        (
            "a block does not begin anew",
            [&block[..], &frame(HEADERS, 0, 10)].concat(),
            frame(CONTINUATION, 0, 1),
            0,
            Flood::Continuation,
        ),
        ("also the last", block, frame(CONTINUATION, END_HEADERS, 1), 0, Flood::Continuation),
        ("PUSH_PROMISE", vec![], frame(PUSH_PROMISE, END_HEADERS, 9), 1_000, Flood::Other),
        ("GOAWAY", vec![], frame(GOAWAY, 0, 8), 1_000, Flood::Other),
        ("PRIORITY_UPDATE", vec![], frame(PRIORITY_UPDATE, 0, 9), 1_000, Flood::Other),
        ("an unknown type", vec![], frame(0xff, 0, 0), 1_000, Flood::Other),
        ("a frame too long", vec![], frame(DATA, 0, 16_385), 0, Flood::Oversize),
    ] {
        let mut meter = meter();
        assert_eq!(meter.feed(&first, Tick(7)), Ok(()), "{name}");
        let passed = (0..100_000).take_while(|_| meter.feed(&flood, Tick(7)).is_ok()).count();
        assert_eq!(passed, passes, "{name}");
        // It does not end when the flood does.
        assert_eq!(meter.feed(&[], Tick(9_999)), Err(want), "{name}");
    }
}

#[test]
fn what_is_bounded_elsewhere_passes_at_any_number() {
    for (name, frames) in [
        ("requests", get()),
        (
            "requests with a message and an end",
            [post(), frame(DATA, 0, 9), frame(DATA, 1, 0)].concat(),
        ),
        ("data", frame(DATA, 0, 16)),
        ("long data", frame(DATA, 0, 16_384)),
        ("padded data", frame(DATA, PADDED, 272)),
        (
            "header blocks in parts",
            [frame(HEADERS, 0, 9), frame(CONTINUATION, 0, 9).repeat(15), frame(CONTINUATION, 4, 0)]
                .concat(),
        ),
    ] {
        let mut meter = meter();
        let passed = (0..50_000).take_while(|_| meter.feed(&frames, Tick(7)).is_ok()).count();
        assert_eq!(passed, 50_000, "{name}");
    }
}

#[test]
fn what_is_useful_pays() {
    let reset = frame(RST_STREAM, 0, 4);
    let data = |len| frame(DATA, 0, len);
    let padded = |len| frame(DATA, PADDED, len);
    for (name, flood, useful, times, sent, want) in [
        ("nothing", frame(PING, 0, 8), vec![], 1, 0, 0),
        ("what is sent, for a PING", frame(PING, 0, 8), vec![], 1, 32, 1),
        ("not quite", frame(PING, 0, 8), vec![], 1, 31, 0),
        ("what is sent, for WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 4), vec![], 1, 1_024, 64),
        ("what is sent, for small DATA", data(1), vec![], 1, 32, 1),
        ("what is sent, for resets", reset.clone(), vec![], 1, 1_024, 1),
        ("not for what has no reason", frame(PRIORITY, 0, 5), vec![], 1, 1_024, 0),
        ("no more than there is room for", data(1), vec![], 1, usize::MAX, 10_000),
        ("a request, for a PING", frame(PING, 0, 8), get(), 1, 0, 2),
        ("a request, for PRIORITY", frame(PRIORITY, 0, 5), get(), 1, 0, 2),
        ("a request with data, for that", data(1), post(), 1, 0, 2),
        ("a request without", data(1), get(), 1, 0, 0),
        ("half a request", frame(PING, 0, 8), frame(HEADERS, 0, 9), 1, 0, 0),
        ("requests, for resets", reset.clone(), post(), 100, 0, 0),
        ("data, for PRIORITY", frame(PRIORITY, 0, 5), data(1_024), 1, 0, 1),
        ("less data", frame(PRIORITY, 0, 5), data(1_023), 1, 0, 0),
        ("data, for small data", data(1), data(1_024), 1, 0, 1),
        ("data, for resets", reset.clone(), data(1_024), 16, 0, 1),
        ("not quite so much", reset.clone(), data(1_024), 15, 0, 0),
        ("long data, for resets", reset.clone(), data(16_384), 3, 0, 3),
        ("data that may be padding", reset.clone(), padded(1_279), 16, 0, 0),
        ("data besides its padding", reset, padded(1_280), 16, 0, 1),
    ] {
        let mut meter = meter();
        assert!(passes(&mut meter, &flood, Tick(7)) > 0, "{name}");
        assert_eq!(meter.feed(&useful.repeat(times), Tick(7)), Ok(()), "{name}");
        meter.sent(sent);
        assert_eq!(passes(&mut meter, &flood, Tick(7)), want, "{name}");
    }
}

/// A client and what we send to it, in simulated time.
struct Model {
    name: &'static str,
    seconds: u32,
    /// What the client sends in the first step.
    first: Vec<u8>,
    /// What the client sends in each step of 200 ms, as often as this says, and what we send to it each time.
    each: Vec<u8>,
    times: usize,
    sent: usize,
}

impl Model {
    fn run(&self) -> Result<(), (u32, Flood)> {
        let mut meter = FrameMeter::new(16_384, Tick(0));
        meter.feed(&self.first, Tick(0)).map_err(|flood| (0, flood))?;
        for tick in 0..self.seconds * TICKS_PER_SECOND {
            for _ in 0..self.times {
                meter.feed(&self.each, Tick(tick)).map_err(|flood| (tick, flood))?;
                meter.sent(self.sent);
            }
        }
        Ok(())
    }
}

#[test]
fn honest_clients_are_left_alone() {
    let opening = [frame(SETTINGS, 0, 36), frame(WINDOW_UPDATE, 0, 4), frame(SETTINGS, ACK, 0)];
    let opening = opening.concat();
    let firefox = [&opening[..], &frame(PRIORITY, 0, 5).repeat(5)].concat();
    // A page of 100 requests, each with its priority, stated and changed, and with a frame of grease.
    let request = [get(), frame(PRIORITY, 0, 5), frame(PRIORITY_UPDATE, 0, 12), frame(0x4b, 0, 9)];
    let page = [&firefox[..], &request.concat().repeat(100)].concat();
    let update = || frame(WINDOW_UPDATE, 0, 4);
    let measures = [frame(PING, 0, 8), update()].concat();
    let gives_up = frame(RST_STREAM, 0, 4);
    for (name, seconds, first, each, times, sent) in [
        // 1,000 messages a second for five minutes, of any length from nothing but gRPC's prefix on.
        ("a stream of messages", 300, post(), frame(DATA, 0, 5), 200, 0),
        ("of longer ones", 300, post(), frame(DATA, 0, 20), 200, 0),
        ("a stream at ten times the rate, answered", 300, post(), frame(DATA, 0, 9), 2_000, 32),
        (
            "a stream that is measured from both ends",
            300,
            post(),
            [frame(DATA, 0, 6), measures.clone()].concat(),
            200,
            HEAD + 6 + PONG,
        ),
        (
            "calls, one after the other",
            60,
            vec![],
            [post(), frame(DATA, 1, 9)].concat(),
            4_000,
            120,
        ),
        (
            "calls that are measured",
            60,
            vec![],
            [post(), frame(DATA, 0, 9), frame(DATA, 1, 0), measures.clone()].concat(),
            2_000,
            HEAD + 5 + PONG,
        ),
        ("a keepalive every 200 ms for an hour", 3_600, vec![], frame(PING, 0, 8), 1, PONG),
        ("a page", 10, page.clone(), vec![], 0, 0),
        ("a page that is left, and another", 60, vec![], [get(), gives_up.clone()].concat(), 8, 0),
        ("a page that is left at once", 2, [page, gives_up.repeat(100)].concat(), vec![], 0, 0),
        // 1 GiB within a second, in frames of 16 KiB; the most eager clients update both windows at each.
        ("a download", 1, get(), update().repeat(2), 13_108, 16_384 + HEAD),
        ("a download that is measured", 1, get(), measures.clone(), 13_108, 16_384 + HEAD),
        ("a stream of events", 300, get(), update().repeat(2), 200, HEAD + 30),
        ("a stream of messages to Go", 300, get(), measures, 1_000, HEAD + 5 + 6 + PONG),
        ("an upload", 60, post(), frame(DATA, 0, 16_384), 200, 13),
        (
            "a proxy that loses one client in twenty",
            60,
            vec![],
            [get().repeat(20), gives_up.clone()].concat(),
            100,
            20 * 100,
        ),
        ("ten SETTINGS", 1, frame(SETTINGS, 0, 36).repeat(10), vec![], 0, 0),
        ("SETTINGS that change every 200 ms", 600, vec![], frame(SETTINGS, 0, 12), 1, 9),
    ] {
        let model =
            Model { name, seconds, first: [&opening[..], &first].concat(), each, times, sent };
        assert_eq!(model.run(), Ok(()), "{}", model.name);
    }
}

#[test]
fn floods_end_soon_though_time_and_answers_pay() {
    for (name, each, times, sent, want, at_most) in [
        // 20,000 a second and more.
        ("small DATA", frame(DATA, 0, 9), 4_000, 0, Flood::SmallData, 2),
        ("small DATA at full speed", frame(DATA, 0, 9), 200_000, 0, Flood::SmallData, 0),
        ("PING with its answers", frame(PING, 0, 8), 4_000, PONG, Flood::Ping, 7),
        ("PING with its answers at full speed", frame(PING, 0, 8), 200_000, PONG, Flood::Ping, 0),
        ("WINDOW_UPDATE", frame(WINDOW_UPDATE, 0, 4), 10_000, 0, Flood::WindowUpdate, 2),
        ("SETTINGS with their answers", frame(SETTINGS, 0, 6), 4_000, HEAD, Flood::Settings, 0),
        // 100 a second are too many in the end, and an answer of an error does not pay for a reset.
        ("resets", [get(), frame(RST_STREAM, 0, 4)].concat(), 20, 0, Flood::Reset, 17),
        ("answered resets", [get(), frame(RST_STREAM, 0, 4)].concat(), 200, 100, Flood::Reset, 2),
        // A little data does not pay either.
        (
            "resets of small uploads",
            [post(), frame(DATA, 0, 1_024), frame(RST_STREAM, 0, 4)].concat(),
            200,
            0,
            Flood::Reset,
            2,
        ),
        // Padding does not earn what data earns.
        (
            "resets of padded uploads",
            [post(), frame(DATA, PADDED, 1_279), frame(RST_STREAM, 0, 4)].concat(),
            200,
            0,
            Flood::Reset,
            1,
        ),
    ] {
        let model = Model { name, seconds: 60, first: vec![], each, times, sent };
        let (tick, flood) = model.run().expect_err(name);
        assert_eq!(flood, want, "{name}");
        assert!(tick <= at_most, "{name}: {tick}");
    }
}

#[test]
fn a_header_block_has_its_time() {
    const START: u32 = 7;
    const LATE: Tick = Tick(START + HEADER_BLOCK_TICKS + 1);
    let open = frame(HEADERS, 0, 10);
    let whole = get();
    // Of a frame that ends its block, all must have come.
    let (part, rest) = whole.split_at(whole.len() - 1);
    for (name, bytes, rest, is_open) in [
        ("nothing", &[] as &[u8], &[] as &[u8], false),
        ("a whole block", &whole, &whole, false),
        (
            "a block in two",
            &[&open[..], &frame(CONTINUATION, END_HEADERS, 3)].concat(),
            &whole,
            false,
        ),
        (
            "a block that ends in nothing",
            &[&open[..], &frame(CONTINUATION, END_HEADERS, 0)].concat(),
            &whole,
            false,
        ),
        ("data", &frame(DATA, 0, 99)[..20], &frame(DATA, 0, 99)[20..], false),
        ("an open block", &open, &frame(CONTINUATION, END_HEADERS, 3), true),
        (
            "an open block, continued",
            &[&open[..], &frame(CONTINUATION, 0, 3)].concat(),
            &whole,
            true,
        ),
        ("a block whose payload trickles", part, rest, true),
        ("a block that has only been announced", &whole[..HEAD], &whole[HEAD..], true),
        ("a block in a block", &[&open[..], &open].concat(), &whole, true),
    ] {
        let mut meter = meter();
        assert_eq!(meter.feed(bytes, Tick(START)), Ok(()), "{name}");
        assert_eq!(meter.header_block_since(), is_open.then_some(Tick(START)), "{name}");
        let mut in_time = meter.clone();
        assert_eq!(in_time.feed(rest, Tick(LATE.0 - 1)), Ok(()), "{name}");
        let want = if is_open { Err(Flood::SlowHeaders) } else { Ok(()) };
        assert_eq!(meter.feed(rest, LATE), want, "{name}");
    }
}

#[test]
fn time_refills_and_never_takes() {
    let flood = frame(PRIORITY, 0, 5);
    let mut meter = meter();
    for (name, now, want) in [
        ("full", Tick(7), 1_000),
        ("empty", Tick(7), 0),
        ("a step", Tick(8), 10),
        ("the same step", Tick(8), 0),
        ("a clock that went back", Tick(0), 0),
        ("it does not count twice", Tick(8), 0),
        ("a second", Tick(13), 50),
        ("full and no more", Tick(u32::MAX), 1_000),
    ] {
        assert_eq!(passes(&mut meter, &flood, now), want, "{name}");
    }
}

#[test]
fn labels_and_messages_are_distinct() {
    let all = [
        Flood::Ping,
        Flood::Settings,
        Flood::Priority,
        Flood::Reset,
        Flood::WindowUpdate,
        Flood::EmptyData,
        Flood::SmallData,
        Flood::Continuation,
        Flood::Other,
        Flood::Oversize,
        Flood::SlowHeaders,
    ];
    let distinct =
        |texts: Vec<String>| texts.iter().collect::<std::collections::HashSet<_>>().len();
    assert_eq!(distinct(all.iter().map(|flood| flood.label().to_owned()).collect()), all.len());
    assert_eq!(distinct(all.iter().map(ToString::to_string).collect()), all.len());
}

/// What two meters that saw the same have in common.
fn state(meter: &FrameMeter) -> impl PartialEq + std::fmt::Debug {
    let buckets = (meter.overhead, meter.signals, meter.small, meter.resets);
    (buckets, meter.arrived, meter.payload, meter.header_block_since())
}

/// Frames in any order, some of them so often that they make a flood.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![4 => 0..=0x0a_u8, 1 => any::<u8>()];
    let flags = prop_oneof![Just(0), Just(END_STREAM), Just(END_HEADERS), any::<u8>()];
    let len = prop_oneof![0..10_usize, 0..300_usize, Just(16_385)];
    let times = prop_oneof![Just(1), 1..20_usize, 1..400_usize];
    prop::collection::vec((kind, flags, len, times), 0..12).prop_map(|frames| {
        let repeated = frames.into_iter().map(|(kind, flags, len, times)| {
            // One that is too long ends it all, so that there need not be much of it.
            frame(kind, flags, len).repeat(if len > 300 { 1 } else { times })
        });
        repeated.collect::<Vec<_>>().concat()
    })
}

proptest! {
    #[test]
    fn how_bytes_are_split_makes_no_difference(
        bytes in frames(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..40), step in 1..12_usize,
    ) {
        let mut whole = meter();
        let verdict = whole.feed(&bytes, Tick(8));

        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let parts: Vec<&[u8]> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
        for parts in [parts, bytes.chunks(step).collect()] {
            let mut split = meter();
            let answer = parts.into_iter().try_for_each(|part| split.feed(part, Tick(8)));
            prop_assert_eq!(answer, verdict);
            if verdict.is_ok() {
                prop_assert_eq!(state(&split), state(&whole));
            }
        }
    }

    #[test]
    fn any_bytes_get_an_answer(
        max_frame_size: u32,
        reads in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), any::<u32>(), any::<usize>()), 0..40),
    ) {
        let mut meter = FrameMeter::new(max_frame_size, Tick(0));
        for (bytes, tick, sent) in reads {
            // Also of a client whose flood went unheeded.
            let _ = meter.feed(&bytes, Tick(tick));
            meter.sent(sent);
        }
    }
}
