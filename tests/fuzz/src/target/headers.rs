//! Every header of ours, and the fields a proxy reads: a line is `name: value`, fed as values.
//!
//! Whatever they say, nothing panics, what is read twice is the same, and a time never wraps.

use std::time::Duration;

use api::Moment;
use api::policy::{Class, Timeout};
use bytes::Bytes;
use sidecar_core::deadline::{self, Deadline, patience};
use sidecar_core::endpoint::EndpointCell;
use sidecar_core::exchange::RequestId;
use sidecar_core::head::{Fields, Known, RequestHead, ResponseHead};
use sidecar_core::level::Level;
use sidecar_core::outcome::{Answer, keep_alive};
use sidecar_core::report::Report;

use crate::dice::{self, Dice};
use crate::reader::{Line, listed};

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    let text = |field: Known| {
        let mut lines = input.split(|b| *b == b'\n');
        lines.find_map(|line| line.strip_prefix(field.name().as_bytes())?.strip_prefix(b": "))
    };
    let patient = patience(text);
    let called = text(Known::OutriggerCall).and_then(|call| std::str::from_utf8(call).ok());
    let said = called.and_then(|call| call.split(';').find_map(|part| part.trim().strip_prefix("level=")));
    assert_eq!(deadline::level(text), said.and_then(plain_level));
    let now = Moment::from_nanos(dice.draw());
    let deadline = Deadline::new(now, &Timeout::default(), patient, dice.once_in(2));
    assert!(deadline.at().is_none_or(|at| at >= now), "a deadline before its request");
    if let (Some(patient), Some(left)) = (patient, deadline.remaining(now)) {
        assert!(left <= patient, "{left:?} left of {patient:?}");
    }
    assert!(deadline.of_connect(now, &Timeout::default()) >= now);
    let shape = (patient.map(|patient| patient.min(Duration::from_secs(9)).as_nanos().ilog2_or_zero()), 0);
    let id = std::str::from_utf8(input).ok().and_then(|text| text.trim().parse::<RequestId>().ok());
    if let Some(id) = id {
        let written = id.to_string();
        assert!(written.eq_ignore_ascii_case(std::str::from_utf8(input).unwrap().trim()));
        assert_eq!(written.parse::<RequestId>().unwrap(), id);
    }
    let fields = values(input);
    let facts = facts(input, now);
    dice::hash(format!("{shape:?}{}{fields}{facts}", id.is_some()).as_bytes())
}

/// What an endpoint's answer says of itself, against a plain reading: digits, and of a sidecar only from one.
fn facts(input: &[u8], now: Moment) -> String {
    let mut head = ResponseHead::build(200);
    let mut said: Vec<(String, String)> = Vec::new();
    for line in input.split(|b| *b == b'\n').take(64) {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(": "))
        else {
            continue;
        };
        let field = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if field && value.bytes().all(|b| (b' '..=b'~').contains(&b)) {
            head.append(name, value);
            said.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    let first = |name: &str| said.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let number =
        |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let (theirs, apps) = (Answer::of(&head, true), Answer::of(&head, false));
    assert_eq!((apps.reason, apps.load), (None, None), "an app is believed about its sidecar");
    let seconds = first("retry-after").and_then(|value| number(value.trim()));
    assert_eq!(theirs.retry_after, seconds.map(Duration::from_secs));
    let load = first("x-outrigger-load").and_then(|value| {
        let (mut parts, small) = (value.split(';'), |n| u32::try_from(n).ok());
        let in_flight = number(parts.next()?.strip_prefix("inflight=")?).and_then(small)?;
        let last = |name: &str| {
            parts.clone().filter_map(|part| part.strip_prefix(name)?.strip_prefix('=')).next_back()
        };
        let micros = last("latency").and_then(number).and_then(small).filter(|micros| *micros > 0);
        let bound = last("level").and_then(plain_level).unwrap_or_default();
        Some(Report { in_flight, micros, bound })
    });
    assert_eq!(theirs.load, load);
    let grpc = first("grpc-status").and_then(|value| number(value.trim()));
    assert_eq!(theirs.grpc_status, grpc.and_then(|status| u8::try_from(status).ok()));
    let idle = keep_alive(&head);
    if let Some(idle) = idle {
        assert!(
            first("keep-alive").is_some_and(|value| value.contains("timeout=")),
            "{idle:?} out of nothing"
        );
        let cell = EndpointCell::shared();
        cell.idle.tell_closed(now, idle);
        assert!(
            cell.idle.ask(now).is_none_or(|limit| limit <= idle),
            "a connection kept for longer than is said"
        );
    }
    format!("{}{}{}{}", seconds.is_some(), load.is_some(), grpc.is_some(), idle.is_some())
}

/// A level read plainly: a class, a dash, a number below 128 in three digits at most.
fn plain_level(text: &str) -> Option<Level> {
    let (class, user) = text.split_once('-')?;
    let class = Class::ALL.iter().find(|known| known.as_str() == class)?;
    let digits = !user.is_empty() && user.len() <= 3 && user.bytes().all(|b| b.is_ascii_digit());
    let user = digits.then(|| user.parse().ok()).flatten().filter(|user| *user < 128)?;
    Some(Level::new(*class, user))
}

/// Puts each line's value into a field of a head of our own, and looks at it as the line does.
fn values(input: &[u8]) -> String {
    let mut head = RequestHead::build(sidecar_core::head::Method::Get, "/", "a").unwrap();
    let mut said: Vec<Line> = vec![(b"host".to_vec(), b"a".to_vec())];
    for line in input.split(|b| *b == b'\n').take(64) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let Ok(name) = std::str::from_utf8(&line[..colon]) else { continue };
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            continue;
        }
        let value = &line[colon + 1..];
        head.append(name, value);
        let clean: Vec<u8> =
            value.iter().map(|b| if *b == b'\t' || (*b >= 32 && *b != 127) { *b } else { b' ' }).collect();
        said.push((name.as_bytes().to_vec(), clean));
    }
    for (known, name, element) in [
        (Known::Connection, "connection", "close"),
        (Known::Te, "te", "trailers"),
        (Known::Expect, "expect", "100-continue"),
    ] {
        assert_eq!(head.lists(known, element), listed(&said, name, element), "{name} lists {element}");
    }
    let mut written = Vec::new();
    head.write(&mut written);
    let lines = written.iter().filter(|b| **b == b'\n').count();
    let owned = |(name, _): &&Line| Known::of(name).wire_owned();
    assert_eq!(lines, 1 + said.len() - said.iter().filter(owned).count(), "a value makes no line");
    let before = head.len();
    head.strip_hop_by_hop();
    head.strip_claims();
    assert!(!head.has(Known::Connection) && !head.has(Known::Upgrade) && head.has(Known::Host));
    assert!(head.iter().all(|field| !field.name.to_ascii_lowercase().starts_with(b"x-outrigger-")));
    rest(head.get(Known::Te).map(Bytes::copy_from_slice), &head);
    format!("{} {} {:?}", before.min(9), head.len().min(9), head.keep_alive())
}

/// The one wish that survives is said anew.
fn rest(te: Option<Bytes>, fields: &Fields) {
    assert!(te.is_none_or(|te| te == "trailers"), "another wish for the next hop passed");
    assert!(fields.get_all(Known::Te).count() <= 1);
}

trait Log {
    fn ilog2_or_zero(self) -> u32;
}

impl Log for u128 {
    fn ilog2_or_zero(self) -> u32 {
        self.checked_ilog2().unwrap_or(0)
    }
}
