//! When a sidecar is ready.

use crate::admin::Condition;
use crate::control;
use crate::local::Step;

/// Ready: the ways in are open, and what is to be known is known from the control plane or the snapshot.
/// Never "an endpoint is healthy".
pub(super) fn conditions(status: &control::StatusView) -> Vec<Condition> {
    let status = status.brief();
    let control = status.control.as_ref();
    let heard = control.is_none() || status.heard();
    let restored = status.snapshot.as_ref().is_some_and(|snapshot| snapshot.restored_from.is_some());
    let informed = match (control, heard, restored) {
        (None, ..) => "by its file",
        (_, true, _) => "by the control plane",
        (_, false, true) => "by its snapshot",
        (_, false, false) => "not yet: no control plane answered and there is no snapshot",
    };
    let staying = status.drain.step == Step::Serving;
    vec![
        Condition { name: "listening", ok: true, detail: "every way in is open".into() },
        Condition { name: "informed", ok: heard || restored, detail: informed.into() },
        Condition { name: "staying", ok: staying, detail: format!("{:?}", status.drain.step).to_lowercase() },
    ]
}
