//! What an attempt came to, as the facts that `classify` judges.

use api::Reason;
use sidecar_core::head::ResponseHead;
use sidecar_core::outcome::{Answer, Outcome};

use super::Stop;

/// The facts: why it stopped, or else the `head` of its answer. `sidecar`: one stands before the endpoint.
pub(super) fn outcome(head: Option<&ResponseHead>, stop: Option<&Stop>, sidecar: bool) -> Outcome {
    match (stop, head) {
        (Some(Stop::Fault(fault)), _) => Outcome::Fault(*fault),
        (None, Some(head)) => Outcome::Answer(Answer::of(head, sidecar)),
        (Some(Stop::Client(_)), _) | (None, None) => Outcome::Cancelled,
    }
}

/// What an answer's head says of its outcome.
#[derive(Clone, Copy, Default)]
pub(super) struct Said {
    /// Why a sidecar answered in its app's place, when one did.
    pub(super) reason: Option<Reason>,
    /// Its gRPC status, where that is not left to the trailers.
    pub(super) grpc: Option<u8>,
}

impl Said {
    pub(super) fn by(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Answer(answer) => Self { reason: answer.reason, grpc: answer.grpc_status },
            Outcome::Fault(_) | Outcome::Cancelled => Self::default(),
        }
    }
}
