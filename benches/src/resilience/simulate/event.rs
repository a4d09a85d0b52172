//! What happens in the world, in its order.

use api::Reason;
use sidecar_core::level::Level;

/// An attempt as its host knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Job {
    pub(super) request: u64,
    pub(super) attempt: u8,
    pub(super) hit: usize,
}

/// What a host's sidecar says with an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Said {
    /// What is in flight there; nothing, where no sidecar is.
    pub(super) in_flight: Option<u32>,
    pub(super) bound: Level,
    /// Why it answers in its app's place.
    pub(super) reason: Option<Reason>,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A caller's next request is due.
    Due { caller: usize },
    /// It reaches its sidecar, or asks it again.
    Ask { request: u64 },
    /// An attempt reaches its host.
    Reach { request: u64, attempt: u8, host: usize },
    /// A host answers an attempt.
    Answer { job: Job, host: usize, status: u16 },
    /// The worker whose request it was has the answer before it.
    Heard { job: Job, host: usize, status: u16, said: Said },
    /// Who waits before an app asks again.
    AskBefore { job: Job, host: usize },
    /// An answer is late: another attempt may be begun beside it.
    Late { request: u64, attempt: u8 },
    /// An attempt's time is over.
    Over { request: u64, attempt: u8 },
    /// A caller leaves.
    Leave { request: u64 },
    /// A place may be free for who waits in a sidecar.
    Freed { sidecar: usize },
    /// Who waits in a sidecar looks whether there is room that nobody gave back.
    Look { sidecar: usize },
    /// A sidecar asks a host's sidecar for its load.
    Probe { sidecar: usize, host: usize },
    /// The answer to that.
    Probed { sidecar: usize, host: usize, said: Said },
    /// A host's mood changes.
    Turn { host: usize },
    /// The list is another one.
    List,
}
