//! The attacks on HTTP/2 by the names the field gave them, each bounded in memory, CPU and requests let through, and
//! each without cost to a bystander. Where a client does nothing but harm, its connection is cut.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::attack::{Bounds, connect, left_open, withstand};
use crate::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PREFACE, PRIORITY_FRAME, RST_STREAM,
    SETTINGS, WINDOW_UPDATE, frame, line,
};
use crate::script::Step;

/// Whoever is attacked allows a head one second; a busy machine some more.
const CUT: Duration = Duration::from_secs(4);
/// What is written by then is written.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two bytes of somebody who is slow.
const DRIP: Duration = Duration::from_millis(100);
/// Frames of a flood: the attacks in the wild sent some hundred thousand.
const FLOOD: usize = 50_000;
/// What nobody may let through, of frames alone.
const NOTHING: Bounds = Bounds { memory: 8, cpu: 4.0, through: 0 };
/// What a flood of streams may let through before it is cut.
const SOME: Bounds = Bounds { memory: 8, cpu: 10.0, through: 1_000 };

/// A connection that has said its preface and these settings.
fn open(to: SocketAddr, settings: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_nodelay(true).unwrap();
    drop(
        stream
            .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, settings), &frame(SETTINGS, ACK, 0, &[])].concat()),
    );
    stream.set_nonblocking(true).unwrap();
    stream
}

/// A request for `/` on `stream`, its end where `end` says so.
fn get(stream: u32, end: &str) -> Vec<u8> {
    line(&format!("headers {stream} {end}")).unwrap()
}

/// Odd numbers: the streams of a client.
fn streams(count: usize) -> impl Iterator<Item = u32> {
    (0..count).map(|at| 1 + 2 * u32::try_from(at).unwrap())
}

/// Writes all `parts` in lots; `reads`: what comes back is taken meanwhile. Returns how many connections are open when all
/// is written, or nothing more is taken, and the other side had time to think.
fn flood(mut stream: TcpStream, reads: bool, parts: impl Iterator<Item = Vec<u8>>) -> usize {
    let mut parts = parts.peekable();
    while parts.peek().is_some() {
        let lot: Vec<u8> = parts.by_ref().take(256).flatten().collect();
        if !write(&mut stream, reads, &lot) {
            break;
        }
    }
    if reads { left_open(&[stream], CUT) } else { ended_unread(stream) }
}

/// Writes `bytes`; `false` when the other side has gone, or takes nothing more.
fn write(stream: &mut TcpStream, reads: bool, mut bytes: &[u8]) -> bool {
    let until = Instant::now() + PATIENCE;
    while !bytes.is_empty() {
        if reads && !take(stream) {
            return false;
        }
        match stream.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < until => {
                thread::park_timeout(Duration::from_millis(1));
                if !reads {
                    // Whoever answers nobody takes no more: the flood stands, and costs nothing.
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

/// Takes what came; `false` at the connection's end.
fn take(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 16 * 1024];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// Whether a connection of which nothing is read was not even left waiting: nothing of it is to be judged but its cost.
fn ended_unread(stream: TcpStream) -> usize {
    thread::park_timeout(DRIP * 5);
    drop(stream);
    0
}

/// A flood of one frame on a connection that opened no stream.
fn flood_of(to: SocketAddr, frame: &[u8]) -> usize {
    flood(open(to, &[]), true, (0..FLOOD * 2).map(|_| frame.to_vec()))
}

#[test]
fn rapid_reset_is_cut() {
    // CVE-2023-44487.
    withstand("rapid_reset", &SOME, vec![], |to| {
        let cancel =
            |stream| [get(stream, "end"), frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat();
        flood(open(to, &[]), true, streams(FLOOD).map(cancel))
    });
}

#[test]
fn streams_that_make_us_reset_them_are_cut() {
    // CVE-2025-8671: a window grown by nothing breaks a rule of the stream alone.
    withstand("made_you_reset", &SOME, vec![], |to| {
        let provoke = |stream| [get(stream, ""), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat();
        flood(open(to, &[]), true, streams(FLOOD).map(provoke))
    });
}

#[test]
fn continuations_without_end_are_cut() {
    // CVE-2024-27316 and its kin.
    withstand("continuation_flood", &NOTHING, vec![], |to| {
        let more = frame(
            CONTINUATION,
            0,
            1,
            &line("headers 1 bare x=aaaaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap()[9..].repeat(300),
        );
        let first = [line("headers 1 open").unwrap()].into_iter();
        flood(open(to, &[]), true, first.chain((0..5_000).map(|_| more.clone())))
    });
}

#[test]
fn empty_continuations_are_cut_by_count_and_by_time() {
    withstand("continuation_empty", &NOTHING, vec![], |to| {
        let empty = || frame(CONTINUATION, 0, 1, &[]);
        let first = || [line("headers 1 open").unwrap()].into_iter();
        let fast = flood(open(to, &[]), true, first().chain((0..FLOOD * 2).map(|_| empty())));
        let slow: Vec<TcpStream> = (0..100).map(|_| open(to, &[])).collect();
        fast + drip(slow, &get(1, "open"), &empty())
    });
}

#[test]
fn a_flood_of_settings_is_cut() {
    // CVE-2019-9515.
    withstand("settings_flood", &NOTHING, vec![], |to| {
        flood_of(to, &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]))
    });
}

#[test]
fn a_flood_of_pings_is_cut() {
    // CVE-2019-9512.
    withstand("ping_flood", &NOTHING, vec![], |to| flood_of(to, &frame(PING, 0, 0, &[7; 8])));
}

#[test]
fn resets_that_nobody_reads_are_not_queued() {
    // CVE-2019-9514: each stream is malformed and must be reset; whoever asked reads none of it.
    withstand("reset_flood_unread", &SOME, vec![], |to| {
        let provoke = |stream| line(&format!("headers {stream} end X-Upper=y")).unwrap();
        flood(open(to, &[]), false, streams(FLOOD * 2).map(provoke))
    });
}

#[test]
fn a_flood_of_priorities_is_cut() {
    // CVE-2019-9513.
    withstand("priority_flood", &NOTHING, vec![], |to| {
        flood_of(to, &frame(PRIORITY_FRAME, 0, 1, &[0, 0, 0, 3, 7]))
    });
}

#[test]
fn a_flood_of_window_updates_is_cut() {
    withstand("window_flood", &NOTHING, vec![], |to| {
        flood_of(to, &frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()))
    });
}

#[test]
fn empty_data_is_cut() {
    // CVE-2019-9518.
    let one = Bounds { through: 1, ..NOTHING };
    withstand("empty_data", &one, vec![], |to| {
        let head = [get(1, "")].into_iter();
        flood(open(to, &[]), true, head.chain((0..FLOOD * 2).map(|_| frame(DATA, 0, 1, &[]))))
    });
}

#[test]
fn empty_fields_are_refused() {
    // CVE-2019-9516: fields without a name and without a value cost more to keep than to send.
    // Ten million of them have to be read on, for the table's sake: half a microsecond each unoptimised on a slow machine.
    let read_on = Bounds { cpu: 12.0, ..NOTHING };
    withstand("empty_fields", &read_on, vec![], |to| {
        let empty = [0_u8; 3].repeat(5_000);
        let block = [&get(1, "")[9..], &empty].concat();
        let ask = |stream| frame(HEADERS, END_HEADERS | END_STREAM, stream, &block);
        flood(open(to, &[]), true, streams(2_000).map(ask));
        0
    });
}

#[test]
fn a_head_that_grows_when_it_is_unpacked_is_refused() {
    // CVE-2016-6581: 4,000 bytes in the table, asked for 16,000 times by one byte each.
    withstand("hpack_bomb", &NOTHING, vec![], |to| {
        let mut first = get(1, "")[9..].to_vec();
        // A literal to be indexed (RFC 7541 §6.2.1), its value of 4,000 bytes.
        first.extend([0x40, 1, b'x', 127, 0xa1, 0x1e]);
        first.extend([b'a'; 4_000]);
        let block = [&first[..], &vec![0xbe; 12_000]].concat();
        let ask = |stream| {
            let block =
                if stream == 1 { block.clone() } else { [&get(1, "")[9..], &vec![0xbe; 16_000]].concat() };
            frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
        };
        flood(open(to, &[]), true, streams(200).map(ask));
        0
    });
}

#[test]
fn long_heads_are_refused() {
    withstand("large_header_list", &NOTHING, vec![], |to| {
        let field = |at: usize| line(&format!("headers 1 bare x-{at}={{200*a}}")).unwrap()[9..].to_vec();
        let block: Vec<u8> = (0..1_000).flat_map(field).collect();
        let ask = |stream| {
            let mut parts = block.chunks(16_000).peekable();
            let mut bytes = line(&format!("headers {stream} end open")).unwrap();
            while let Some(part) = parts.next() {
                let flags = if parts.peek().is_some() { 0 } else { END_HEADERS };
                bytes.extend(frame(CONTINUATION, flags, stream, part));
            }
            bytes
        };
        flood(open(to, &[]), true, streams(50).map(ask));
        0
    });
}

#[test]
fn answers_that_nobody_lets_come_are_not_collected() {
    // CVE-2019-9511 and 9517: 2,000 answers of 100 kB, and no window for a byte of them.
    const STREAMS: usize = 2_000;
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    answer.resize(answer.len() + 100_000, b'a');
    // 128 MB if 64 KiB of each were held; unoptimised, the state of a stream alone is 7 kB.
    let bounds = Bounds { memory: 36, cpu: 20.0, through: STREAMS };
    withstand("zero_window", &bounds, vec![vec![Step::Bytes(answer)]; STREAMS], |to| {
        // SETTINGS_INITIAL_WINDOW_SIZE = 0 (RFC 9113 §6.5.2).
        let mut all: Vec<TcpStream> = (0..STREAMS / 100).map(|_| open(to, &[0, 4, 0, 0, 0, 0])).collect();
        for stream in &mut all {
            write(stream, true, &streams(100).flat_map(|stream| get(stream, "end")).collect::<Vec<u8>>());
        }
        thread::park_timeout(Duration::from_secs(3));
        drop(all);
        0
    });
}

#[test]
fn heads_that_come_slowly_are_cut() {
    withstand("slow_headers", &NOTHING, vec![], |to| {
        let streams: Vec<TcpStream> = (0..200).map(|_| open(to, &[])).collect();
        let head = get(1, "end");
        // All but its end in one frame that comes byte by byte.
        let mut long = vec![0, 0, 200];
        long.extend(&head[3..]);
        drip(streams, &long, &[0])
    });
}

#[test]
fn openings_that_come_slowly_are_cut() {
    withstand("slow_preface", &NOTHING, vec![], |to| {
        let settings = frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100]);
        let whole = [PREFACE, &settings].concat();
        let at = [1, 10, PREFACE.len() - 1, PREFACE.len(), PREFACE.len() + 5, PREFACE.len() + 11];
        let mut left = 0;
        for cut in at {
            left += drip(connect(to, 50), &whole[..cut], &[]);
        }
        left
    });
}

/// Writes `first` on all `streams` and then `drip` again and again; returns how many are open long after a head may be.
fn drip(mut streams: Vec<TcpStream>, first: &[u8], drip: &[u8]) -> usize {
    streams.iter_mut().for_each(|stream| drop(stream.write(first)));
    for _ in 0..15 {
        thread::park_timeout(DRIP);
        streams.iter_mut().for_each(|stream| drop(stream.write(drip)));
    }
    left_open(&streams, CUT)
}
