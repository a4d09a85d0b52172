//! How long a caller is willing to wait, over all attempts and waits together.
//!
//! The shorter of what the policy says and what the caller said wins. Times travel as what remains, never as
//! a wall clock, so that no clocks must agree.

use std::time::Duration;

use api::Moment;
use api::policy::Timeout;

use crate::head::Known;
use crate::level::Level;

/// An attempt with less than this left is not begun: no answer over a network comes sooner, and the caller
/// has given up by then.
pub const SHORTEST_ATTEMPT: Duration = Duration::from_millis(1);

/// How a gRPC client says its patience.
pub const GRPC_TIMEOUT: &str = "grpc-timeout";

/// When a request must have the head of its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    at: Option<Moment>,
}

impl Deadline {
    /// For what arrived at `arrived`, with the caller's `patience`. A `streaming` exchange has no total time
    /// unless the caller named one.
    pub fn new(arrived: Moment, timeout: &Timeout, patience: Option<Duration>, streaming: bool) -> Self {
        let total = (!streaming).then(|| arrived + timeout.total);
        Self { at: sooner(total, patience.map(|span| arrived + span)) }
    }

    /// The moment; `None` for an exchange without one.
    pub fn at(self) -> Option<Moment> {
        self.at
    }

    /// What remains; `None` for an exchange without a deadline.
    pub fn remaining(self, now: Moment) -> Option<Duration> {
        self.at.map(|at| at.since(now))
    }

    /// Whether an attempt begun at `now` could still finish.
    pub fn allows(self, now: Moment) -> bool {
        self.at.is_none_or(|at| now + SHORTEST_ATTEMPT <= at)
    }

    /// Until when an attempt begun at `now` may take: its own limit, or the whole request's if that is sooner.
    pub fn of_attempt(self, now: Moment, timeout: &Timeout) -> Option<Moment> {
        sooner(timeout.per_try.on().map(|span| now + span), self.at)
    }

    /// Until when a connection begun at `now` may take.
    pub fn of_connect(self, now: Moment, timeout: &Timeout) -> Moment {
        let own = now + timeout.connect;
        self.at.map_or(own, |at| own.min(at))
    }
}

/// Whichever comes first, where there is any.
fn sooner(one: Option<Moment>, other: Option<Moment>) -> Option<Moment> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// What another sidecar says of how urgent the request is (`x-outrigger-call`).
pub fn level<'h>(get: impl Fn(Known) -> Option<&'h [u8]>) -> Option<Level> {
    let call = std::str::from_utf8(get(Known::OutriggerCall)?).ok()?;
    call.split(';').find_map(|part| part.trim().strip_prefix("level="))?.parse().ok()
}

/// What the caller says of its patience: the shortest of `x-request-timeout-ms`, `grpc-timeout` and the
/// deadline that another sidecar wrote into `x-outrigger-call`. What cannot be read is as if not said.
pub fn patience<'h>(get: impl Fn(Known) -> Option<&'h [u8]>) -> Option<Duration> {
    let text = |known| get(known).and_then(|bytes| std::str::from_utf8(bytes).ok()).map(str::trim);
    let ours = text(Known::RequestTimeout).and_then(millis);
    let grpc = text(Known::GrpcTimeout).and_then(grpc_timeout);
    let call = text(Known::OutriggerCall).and_then(|call| {
        call.split(';').find_map(|part| part.trim().strip_prefix("deadline=")).and_then(millis)
    });
    [ours, grpc, call].into_iter().flatten().min()
}

fn millis(text: &str) -> Option<Duration> {
    digits(text).map(Duration::from_millis)
}

/// One to eight digits and a unit (gRPC over HTTP/2, "Timeout").
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number = digits(number).filter(|_| number.len() <= 8)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// What is left of a caller's patience as `grpc-timeout` says it: as fine as eight digits allow, and never more.
pub fn to_grpc_timeout(left: Duration) -> String {
    /// gRPC over HTTP/2, "Timeout": at most eight digits.
    const MOST: u128 = 99_999_999;
    match (left.as_micros(), left.as_millis(), u128::from(left.as_secs())) {
        (micros @ ..=MOST, ..) => format!("{micros}u"),
        (_, millis @ ..=MOST, _) => format!("{millis}m"),
        (.., seconds) => format!("{}S", seconds.min(MOST)),
    }
}

/// Digits and nothing else: `str::parse` would take a sign.
pub(crate) fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, wanted: Option<u64>) {
        let found = patience(|asked| (asked.name() == name).then_some(value.as_bytes()));
        assert_eq!(found, wanted.map(Duration::from_micros), "{name}: {value}");
    }

    #[test]
    fn patience_is_read_from_three_headers() {
        check("x-request-timeout-ms", "250", Some(250_000));
        check("x-request-timeout-ms", "+250", None);
        check("x-request-timeout-ms", "", None);
        check("grpc-timeout", "2S", Some(2_000_000));
        check("grpc-timeout", "100m", Some(100_000));
        check("grpc-timeout", "123456789m", None);
        check("grpc-timeout", "5", None);
        check("grpc-timeout", "", None);
        check("x-outrigger-call", "deadline=40;attempt=2", Some(40_000));
        check("x-outrigger-call", "attempt=2", None);
    }

    #[test]
    fn what_is_left_is_written_for_grpc_in_eight_digits_and_never_as_more() {
        for micros in [0, 1, 99_999_999, 100_000_000, 99_999_999_999, 100_000_000_000, u64::MAX] {
            let left = Duration::from_micros(micros);
            let text = to_grpc_timeout(left);
            let read = grpc_timeout(&text);
            assert!(read.is_some_and(|read| read <= left), "{text} for {left:?}");
        }
        assert_eq!(to_grpc_timeout(Duration::from_millis(1_500)), "1500000u");
    }

    #[test]
    fn the_shorter_of_policy_and_caller_wins() {
        let (timeout, at) = (Timeout::default(), Moment::from_millis);
        let total = |patience, streaming| Deadline::new(Moment::ZERO, &timeout, patience, streaming).at();
        assert_eq!(total(None, false), Some(at(15_000)));
        assert_eq!(total(Some(Duration::from_secs(1)), false), Some(at(1_000)));
        assert_eq!(total(Some(Duration::from_secs(60)), false), Some(at(15_000)));
        assert_eq!(total(None, true), None);
        let deadline = Deadline::new(Moment::ZERO, &timeout, None, false);
        assert!(deadline.allows(at(14_999)) && !deadline.allows(at(15_000)));
        assert_eq!(deadline.of_connect(at(14_500), &timeout), at(15_000));
    }
}
