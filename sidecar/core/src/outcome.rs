//! How an attempt ended, as the acting half saw it: facts, no judgement.

use std::time::Duration;

use api::Reason;
use api::choice::choice;

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
    /// Requests in flight there, as `x-outrigger-load` says.
    pub load: Option<u32>,
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

/// At which deed it went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The endpoint refused the connection.
    ConnectRefused,
    /// No connection in time.
    ConnectTimeout,
    /// No connection, for another reason.
    ConnectFailed,
    /// This process got no socket: the endpoint was never asked.
    NoSocket,
    /// A connection, but no TLS on it.
    TlsFailed,
    /// No head of an answer in time.
    AttemptTimeout,
    /// The connection was lost before the head of an answer was whole.
    ResetBeforeHead,
    /// A pooled connection was found closed at its reuse.
    StaleConnection,
    /// What came is no answer.
    BadAnswer,
    /// The answer ended before its announced end.
    AnswerCut,
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
