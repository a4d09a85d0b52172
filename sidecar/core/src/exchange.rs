//! One request with its answer: what the deciding stages know of it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use api::policy::{Hedging, Settings};
use api::{Caller, Moment, ServiceKey};

use crate::level::Level;

/// Names a request in its answer, every log and its record: 128 bits, written as a UUID of version 7
/// (RFC 9562 §5.7), so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

impl RequestId {
    /// An id minted `millis` milliseconds after 1970, random where `dice` is.
    pub const fn mint(millis: u64, dice: u128) -> Self {
        const RANDOM: u128 = (1 << 80) - 1;
        const FIXED: u128 = 0xF << 76 | 0b11 << 62;
        let time = (millis as u128) << 80;
        Self(time | (dice & RANDOM & !FIXED) | 7 << 76 | 0b10 << 62)
    }

    /// The bits.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// The field that says it, as a whole line; every request has it twice.
    pub fn line(self) -> [u8; 52] {
        let mut line = *b"x-request-id: 00000000-0000-0000-0000-000000000000\r\n";
        line[14..50].copy_from_slice(&self.text());
        line
    }

    /// The id as it is written; no formatter stands between.
    pub fn text(self) -> [u8; 36] {
        let part = |shift: u32| hex((self.0 >> shift) as u32);
        let (second, third) = (part(64), part(32));
        let mut text = [b'-'; 36];
        text[..8].copy_from_slice(&part(96));
        text[9..13].copy_from_slice(&second[..4]);
        text[14..18].copy_from_slice(&second[4..]);
        text[19..23].copy_from_slice(&third[..4]);
        text[24..28].copy_from_slice(&third[4..]);
        text[28..].copy_from_slice(&part(0));
        text
    }
}

/// The eight digits of `word`, all at once: each half byte gets a byte of its own, then its digit's place in ASCII.
fn hex(word: u32) -> [u8; 8] {
    let spread = u64::from(word);
    let spread = (spread | spread << 16) & 0x0000_ffff_0000_ffff;
    let spread = (spread | spread << 8) & 0x00ff_00ff_00ff_00ff;
    let halves = (spread | spread << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (halves + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (halves + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'9' - 1)).to_be_bytes()
}

impl FromStr for RequestId {
    type Err = String;

    /// Takes a UUID of any version, as callers send them: 32 hex digits in groups of 8, 4, 4, 4 and 12.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a request id: a UUID such as {}", Self::mint(0, 0));
        let shape = |(at, b): (usize, u8)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        };
        if text.len() != 36 || !text.bytes().enumerate().all(shape) {
            return Err(wrong());
        }
        let hex = text.bytes().filter(|b| *b != b'-');
        let digit = |b: u8| u128::from((b as char).to_digit(16).unwrap_or(0));
        Ok(Self(hex.fold(0, |bits, b| bits << 4 | digit(b))))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).unwrap_or_default())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for RequestId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A request on its way through the line.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Its id.
    pub id: RequestId,
    /// When its head was whole.
    pub arrived: Moment,
    /// What it asks for.
    pub service: ServiceKey,
    /// Who sends it.
    pub caller: Caller,
    /// Where it comes from; read only where the plan asks for it ([`ServicePlan::needs_peer`](crate::plan::ServicePlan)).
    pub peer: Option<IpAddr>,
    /// Whether it asks for nothing to be changed; see [`safe`].
    pub safe: bool,
    /// Whether running it twice does what running it once does; see [`idempotent`].
    pub idempotent: bool,
    /// Whether it carries an `Idempotency-Key`.
    pub keyed: bool,
    /// Whether it has no end of its own (an upgrade, a tunnel), so that no total time applies.
    pub streaming: bool,
    /// How long its caller waits; see [`patience`](crate::deadline::patience).
    pub patience: Option<Duration>,
    /// How urgent it is among requests; a higher class goes first when there is not room for all.
    pub level: Level,
}

impl Exchange {
    /// Whether it may be sent again although it may have run: by its method, or by a key that its service is
    /// said to honour.
    pub fn may_repeat(&self, settings: &Settings) -> bool {
        self.idempotent || (self.keyed && settings.retry.trust_idempotency_key)
    }

    /// Whether it may run beside itself.
    pub fn may_run_beside(&self, settings: &Settings) -> bool {
        self.may_run_beside_by(settings.hedge.of, settings)
    }

    /// The same where `of` says which requests may.
    pub(crate) fn may_run_beside_by(&self, of: Hedging, settings: &Settings) -> bool {
        match of {
            Hedging::Safe => self.safe,
            Hedging::Repeatable => self.may_repeat(settings),
        }
    }
}

/// Whether `method` asks for nothing to be changed (RFC 9110 §9.2.1). Methods are case-sensitive.
pub fn safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

/// Whether `method` may run more than once (RFC 9110 §9.2.2). Methods are case-sensitive.
pub fn idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_id_is_a_uuid_of_version_seven_and_reads_back() {
        let id = RequestId::mint(0x0190_0000_0001, u128::MAX);
        assert_eq!(id.to_string(), "01900000-0001-7fff-bfff-ffffffffffff");
        assert_eq!(id.to_string().parse::<RequestId>().unwrap(), id);
        assert_eq!(RequestId::mint(1, 0).to_string(), "00000000-0001-7000-8000-000000000000");
    }

    #[test]
    fn what_is_no_uuid_is_no_id() {
        for text in ["", "abc", "01900000-0001-7fff-bfff-fffffffffff", "01900000+0001-7fff-bfff-ffffffffffff"]
        {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
    }
}
