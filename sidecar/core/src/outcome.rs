//! How an attempt ended, as the acting half saw it: facts, no judgement.

use std::time::Duration;

use api::Reason;
use api::choice::choice;
use api::message::header;

use crate::deadline::digits;
use crate::head::{Fields, Known, ResponseHead};

use crate::report::Report;

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The head of an answer came.
    Answer(Answer),
    /// The other side, or the way there, failed.
    Fault(Fault),
    /// The client left, or the request was dropped.
    Cancelled,
}

/// The head of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its gRPC status, where there is one (of the trailers, or of a trailers-only head).
    pub grpc_status: Option<u8>,
    /// It is gRPC's, whose status comes behind its body: the verdict falls then.
    pub later: bool,
    /// What `x-outrigger-reason` says: the endpoint's own sidecar made the answer. Believed only where the
    /// list says that there is one.
    pub reason: Option<Reason>,
    /// What `Retry-After` says.
    pub retry_after: Option<Duration>,
    /// What gRPC's `grpc-retry-pushback-ms` says.
    pub pushback: Option<Pushback>,
    /// What its sidecar says of its load.
    pub load: Option<Report>,
}

/// What a gRPC server says of another try (gRFC A6, "Pushback").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushback {
    /// Not before this.
    After(Duration),
    /// None.
    Never,
}

/// What went wrong on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// At which deed.
    pub kind: FaultKind,
    /// How much of the request had been given to the kernel.
    pub sent: Sent,
    /// Whether the connection had carried a request before.
    pub reused: bool,
    /// Whether any byte of an answer had come.
    pub answer_byte: bool,
}

choice! {
    /// At which deed it went wrong.
    pub enum FaultKind {
        /// The endpoint refused the connection.
        ConnectRefused = "connect_refused",
        /// No connection in time.
        ConnectTimeout = "connect_timeout",
        /// No connection, for another reason.
        ConnectFailed = "connect_failed",
        /// This process got no socket: the endpoint was never asked.
        NoSocket = "no_socket",
        /// A connection, but no TLS on it.
        TlsFailed = "tls_failed",
        /// No head of an answer in time.
        AttemptTimeout = "attempt_timeout",
        /// The connection was lost before the head of an answer was whole.
        ResetBeforeHead = "reset_before_head",
        /// A pooled connection was found closed at its reuse.
        StaleConnection = "stale_connection",
        /// What came is no answer.
        BadAnswer = "bad_answer",
        /// The answer ended before its announced end.
        AnswerCut = "answer_cut",
    }
}

choice! {
    /// How much of a request was sent.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Sent {
        /// Nothing: it is provably safe to send it elsewhere.
        #[default]
        None = "none",
        /// A part.
        Some = "some",
        /// All of it.
        All = "all",
    }
}

/// Whether the request's body can be sent again from its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// Yes, or there is none.
    Whole,
    /// No: more came than is kept.
    Gone,
}

/// How the body of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At its announced end.
    Whole,
    /// Before it; the endpoint's doing.
    Cut,
    /// The client did not wait for it.
    ClientGone,
}

impl Fault {
    /// The reason to give for it. A connection that was lost at its reuse, before any answer byte, is a
    /// stale one, whatever the write said.
    pub fn reason(self) -> Reason {
        match self.kind {
            FaultKind::ConnectRefused => Reason::ConnectRefused,
            FaultKind::ConnectTimeout => Reason::ConnectTimeout,
            FaultKind::ConnectFailed => Reason::ConnectFailed,
            FaultKind::NoSocket => Reason::NoSocket,
            FaultKind::TlsFailed => Reason::TlsFailed,
            FaultKind::AttemptTimeout => Reason::AttemptTimeout,
            FaultKind::ResetBeforeHead if self.reused && !self.answer_byte => Reason::StaleConnection,
            FaultKind::ResetBeforeHead => Reason::ResetBeforeHead,
            FaultKind::StaleConnection => Reason::StaleConnection,
            FaultKind::BadAnswer => Reason::BadAnswer,
            FaultKind::AnswerCut => Reason::AnswerCut,
        }
    }
}

/// What a gRPC server says of another try.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

impl Answer {
    /// The facts of an answer's head. Only a `sidecar` before the endpoint may say why it answered in the app's place
    /// and how much it has in flight; from an app itself such fields are not believed.
    pub fn of(head: &ResponseHead, sidecar: bool) -> Self {
        let claimed = |name| if sidecar { head.find(name).and_then(text) } else { None };
        let grpc = head.status() == 200
            && head.get(Known::ContentType).is_some_and(|kind| kind.starts_with(b"application/grpc"));
        // Most answers say nothing but their status.
        if !(sidecar || grpc || head.may_have(&[Known::GrpcStatus, Known::RetryAfter])) {
            return Self { status: head.status(), ..Self::default() };
        }
        Self {
            status: head.status(),
            grpc_status: grpc_status(head),
            later: grpc && !head.has(Known::GrpcStatus),
            reason: claimed(header::REASON).and_then(|word| word.parse().ok()),
            retry_after: head.get_str(Known::RetryAfter).and_then(seconds),
            pushback: if grpc { head.find(PUSHBACK).and_then(text).map(pushback) } else { None },
            load: claimed(header::LOAD).and_then(Report::read),
        }
    }
}

/// The gRPC status that a head or trailers say.
pub fn grpc_status(fields: &Fields) -> Option<u8> {
    let status = fields.get_str(Known::GrpcStatus).and_then(|value| digits(value.trim()))?;
    u8::try_from(status).ok()
}

/// How long the endpoint says that it leaves a connection idle (`Keep-Alive: timeout`, RFC 2068 §19.7.1.1).
pub fn keep_alive(fields: &Fields) -> Option<Duration> {
    let mut parameters = fields.get_str(Known::KeepAlive)?.split(',');
    let timeout = parameters.find_map(|part| part.trim().strip_prefix("timeout="))?;
    seconds(timeout.trim_matches('"'))
}

/// Milliseconds; a negative or unreadable one forbids another try (gRFC A6).
fn pushback(text: &str) -> Pushback {
    digits(text.trim()).map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis)))
}

/// Whole seconds; a date (RFC 9110 §10.2.3) is as if nothing were said, for no clocks need agree.
fn seconds(value: &str) -> Option<Duration> {
    digits(value.trim()).map(Duration::from_secs)
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sidecar_is_believed_about_its_app() {
        let mut head = ResponseHead::build(502);
        head.append(header::REASON, "connect_refused");
        head.append(header::LOAD, "inflight=7;latency=900");
        head.append("retry-after", "3");
        let told = Answer::of(&head, true);
        let load = Report { in_flight: 7, micros: Some(900), ..Report::default() };
        assert_eq!((told.reason, told.load), (Some(Reason::ConnectRefused), Some(load)));
        let claimed = Answer::of(&head, false);
        assert_eq!((claimed.reason, claimed.load), (None, None));
        assert_eq!(claimed.retry_after, Some(Duration::from_secs(3)));
    }

    #[test]
    fn grpc_is_judged_by_its_head_only_when_that_says_its_status() {
        let mut head = ResponseHead::build(200);
        assert!(!Answer::of(&head, false).later);
        head.append("content-type", "application/grpc+proto");
        assert!(Answer::of(&head, false).later);
        head.append("grpc-status", "14");
        let told = Answer::of(&head, false);
        assert_eq!((told.later, told.grpc_status, told.pushback), (false, Some(14), None));
    }

    #[test]
    fn a_grpc_server_says_when_to_come_again_or_never() {
        let told = |value| {
            let mut head = ResponseHead::build(200);
            head.append("content-type", "application/grpc");
            head.append("grpc-status", "14");
            head.append(PUSHBACK, value);
            Answer::of(&head, false).pushback
        };
        assert_eq!(told("250"), Some(Pushback::After(Duration::from_millis(250))));
        assert_eq!((told("-1"), told("soon")), (Some(Pushback::Never), Some(Pushback::Never)));
    }

    #[test]
    fn numbers_are_digits_and_nothing_else() {
        let mut head = ResponseHead::build(503);
        for (name, value) in
            [("retry-after", "+3"), ("keep-alive", "max=2, timeout=\"+5\""), ("grpc-status", "+1")]
        {
            head.append(name, value);
        }
        assert_eq!(
            (Answer::of(&head, false).retry_after, keep_alive(&head), grpc_status(&head)),
            (None, None, None)
        );
        let mut head = ResponseHead::build(200);
        head.append("keep-alive", "max=2, timeout=5");
        assert_eq!(keep_alive(&head), Some(Duration::from_secs(5)));
    }
}
