//! Every header of ours, and the fields a proxy reads: a line is `name: value`, fed as values.
//!
//! Whatever they say, nothing panics, what is read twice is the same, and a time never wraps.

use std::time::Duration;

use api::Moment;
use api::policy::Timeout;
use bytes::{Bytes, BytesMut};
use sidecar_core::deadline::{Deadline, patience};
use sidecar_core::exchange::RequestId;
use sidecar_core::head::{Fields, Known, RequestHead};

use crate::dice::{self, Dice};
use crate::reader::{Line, listed};

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    let text = |name: &str| {
        let mut lines = input.split(|b| *b == b'\n');
        lines.find_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b": "))
    };
    let patient = patience(text);
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
    dice::hash(format!("{shape:?}{}{fields}", id.is_some()).as_bytes())
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
    let mut written = BytesMut::new();
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
