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

/// Why a sidecar answered in its app's place, when one did.
pub(super) fn said(outcome: &Outcome) -> Option<Reason> {
    match outcome {
        Outcome::Answer(answer) => answer.reason,
        Outcome::Fault(_) | Outcome::Cancelled => None,
    }
}
