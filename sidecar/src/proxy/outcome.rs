//! What an attempt came to, as the facts that `classify` judges.

use api::Reason;
use sidecar_core::head::ResponseHead;
use sidecar_core::outcome::{Answer, Outcome};

use super::Stop;

/// The facts; `sidecar`: one stands before the endpoint.
pub(super) fn outcome<C>(answer: &Result<(ResponseHead, C), Stop>, sidecar: bool) -> Outcome {
    match answer {
        Ok((head, _)) => Outcome::Answer(Answer::of(head, sidecar)),
        Err(Stop::Fault(fault)) => Outcome::Fault(*fault),
        Err(Stop::Client(_)) => Outcome::Cancelled,
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
