//! What an attempt came to, as the facts that `classify` judges.

use std::time::Duration;

use api::Reason;
use api::message::header;
use sidecar_core::head::{Fields, Known, ResponseHead};
use sidecar_core::outcome::{Answer, Outcome, Pushback};

use super::Stop;

/// What a gRPC server says of another try.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// The facts. Only a sidecar before the endpoint may say why it answered in the app's place and how much it
/// has in flight; from an app itself such fields are not believed.
pub(super) fn outcome<C>(answer: &Result<(ResponseHead, C), Stop>, sidecar: bool) -> Outcome {
    match answer {
        Ok((head, _)) => Outcome::Answer(facts(head, sidecar)),
        Err(Stop::Fault(fault)) => Outcome::Fault(*fault),
        Err(Stop::Client(_)) => Outcome::Cancelled,
    }
}

/// Why a sidecar answered in its app's place, when one did.
pub(super) fn said(outcome: &Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Answer(answer) => answer.reason,
        Outcome::Fault(_) | Outcome::Cancelled => None,
    }
}

fn facts(head: &ResponseHead, sidecar: bool) -> Answer {
    let text = |name| head.find(name).and_then(|value| std::str::from_utf8(value).ok());
    let seconds = head.get_str(Known::RetryAfter).and_then(|value| value.trim().parse().ok());
    let claimed = |name| if sidecar { text(name) } else { None };
    let grpc = head.status() == 200
        && head.get(Known::ContentType).is_some_and(|kind| kind.starts_with(b"application/grpc"));
    Answer {
        status: head.status(),
        grpc_status: grpc_status(head),
        later: grpc && !head.has(Known::GrpcStatus),
        reason: claimed(header::REASON).and_then(|word| word.parse::<Reason>().ok()),
        retry_after: seconds.map(Duration::from_secs),
        pushback: if grpc { text(PUSHBACK).map(pushback) } else { None },
        load: claimed(header::LOAD).and_then(|load| load.strip_prefix("inflight=")?.parse().ok()),
    }
}

/// Milliseconds; a negative or unreadable one forbids another try (gRFC A6).
fn pushback(text: &str) -> Pushback {
    text.trim().parse().map_or(Pushback::Never, |millis| Pushback::After(Duration::from_millis(millis)))
}

/// The gRPC status that a head or trailers say.
pub(super) fn grpc_status(fields: &Fields) -> Option<u8> {
    fields.get_str(Known::GrpcStatus).and_then(|value| value.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sidecar_is_believed_about_its_app() {
        let mut head = ResponseHead::build(502);
        head.append(header::REASON, "connect_refused");
        head.append(header::LOAD, "inflight=7");
        head.append("retry-after", "3");
        let told = facts(&head, true);
        assert_eq!((told.reason, told.load), (Some(Reason::ConnectRefused), Some(7)));
        let claimed = facts(&head, false);
        assert_eq!((claimed.reason, claimed.load), (None, None));
        assert_eq!(claimed.retry_after, Some(Duration::from_secs(3)));
    }

    #[test]
    fn grpc_is_judged_by_its_head_only_when_that_says_its_status() {
        let mut head = ResponseHead::build(200);
        assert!(!facts(&head, false).later);
        head.append("content-type", "application/grpc+proto");
        assert!(facts(&head, false).later);
        head.append("grpc-status", "14");
        let told = facts(&head, false);
        assert_eq!((told.later, told.grpc_status, told.pushback), (false, Some(14), None));
    }

    #[test]
    fn a_grpc_server_says_when_to_come_again_or_never() {
        let told = |value| {
            let mut head = ResponseHead::build(200);
            head.append("content-type", "application/grpc");
            head.append("grpc-status", "14");
            head.append("grpc-retry-pushback-ms", value);
            facts(&head, false).pushback
        };
        assert_eq!(told("250"), Some(Pushback::After(Duration::from_millis(250))));
        assert_eq!((told("-1"), told("soon")), (Some(Pushback::Never), Some(Pushback::Never)));
    }
}
