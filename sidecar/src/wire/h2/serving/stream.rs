//! One stream as the machine keeps it (RFC 9113 §5.1).

use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use sidecar_core::head::RequestHead;

use super::super::STREAM_WINDOW;
use super::window::{Inflow, Outflow};
use crate::wire::{Broken, Trailers};

/// Why a stream ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// Its client reset it.
    Reset,
    /// Its connection is over.
    Over,
    /// Its client broke a rule.
    Broke,
    /// We reset it.
    Ours,
}

/// A stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// The request, until somebody takes it.
    pub(super) asked: Option<Result<RequestHead, Broken>>,
    /// Its head was all of it.
    pub(super) bare: bool,
    /// Bytes of its body that nobody took yet: at most a window.
    pub(super) body: BytesMut,
    pub(super) trailers: Option<Trailers>,
    /// The client has sent all.
    pub(super) heard_all: bool,
    /// We have sent all.
    pub(super) said_all: bool,
    pub(super) failed: Option<Failed>,
    /// What is still to come of the announced length.
    pub(super) left: Option<u64>,
    pub(super) inflow: Inflow,
    pub(super) outflow: Outflow,
    /// Who serves it.
    pub(super) task: Option<Waker>,
    /// Stands in line for the connection's room.
    pub(super) queued: bool,
}

impl Stream {
    /// A stream that begins with `asked`; `ended`: that is all of it.
    pub(super) fn new(
        asked: Result<RequestHead, Broken>,
        left: Option<u64>,
        ended: bool,
        outflow: Outflow,
    ) -> Self {
        Self {
            asked: Some(asked),
            bare: ended,
            body: BytesMut::new(),
            trailers: None,
            heard_all: ended,
            said_all: false,
            failed: None,
            left,
            inflow: Inflow::new(STREAM_WINDOW),
            outflow,
            task: None,
            queued: false,
        }
    }

    /// Whether nothing more goes either way.
    pub(super) fn closed(&self) -> bool {
        self.failed.is_some() || (self.heard_all && self.said_all)
    }

    /// Whether all of the announced length came and not yet the end that has to follow it: until then data may still show
    /// that both differ, and nobody is to take the request for whole (RFC 9113 §8.1.1).
    pub(super) fn owes_its_end(&self) -> bool {
        self.left == Some(0) && !self.heard_all
    }

    /// Lets `cx` hear of what comes next.
    pub(super) fn watch(&mut self, cx: &Context<'_>) {
        match &mut self.task {
            Some(task) => task.clone_from(cx.waker()),
            None => self.task = Some(cx.waker().clone()),
        }
    }

    /// Wakes whoever serves it.
    pub(super) fn wake(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Ready when the client reset it or went.
    pub(super) fn poll_gone(&mut self, cx: &Context<'_>) -> Poll<()> {
        if matches!(self.failed, Some(Failed::Reset | Failed::Over)) {
            return Poll::Ready(());
        }
        self.watch(cx);
        Poll::Pending
    }

    /// What keeps it from being used.
    pub(super) fn broken(&self) -> Option<Broken> {
        self.failed.map(|failed| match failed {
            Failed::Reset | Failed::Over | Failed::Ours => Broken::Reset,
            Failed::Broke => super::super::bad_request("the stream breaks a rule of HTTP/2"),
        })
    }
}
