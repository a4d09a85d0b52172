//! One stream as bytes both ways: where the line's answers go, and a tunnel.

use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::Reason;
use sidecar_core::head::Fields;

use super::super::bytes_io::Inlet;
use super::super::heads;
use super::super::sending::Half;
use super::Calls;
use crate::wire::{Broken, Piece};

/// A stream of a client's connection, for who sends and receives on it.
#[derive(Clone, Debug)]
pub struct Outlet {
    calls: Rc<Calls>,
    stream: u32,
}

impl Outlet {
    pub(super) fn new(calls: Rc<Calls>, stream: u32) -> Self {
        Self { calls, stream }
    }
}

impl Half for Outlet {
    fn poll_room(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<Result<usize, Broken>> {
        self.calls.engine().poll_room(self.stream, wanted, cx)
    }

    fn say(&mut self, data: Bytes, last: bool) -> Result<(), Broken> {
        self.calls.engine().say(self.stream, &data, last)
    }

    fn say_whole(&mut self, body: &[u8]) -> bool {
        self.calls.engine().say_whole(self.stream, body)
    }

    fn say_trailers(&mut self, trailers: &Fields) -> Result<(), Broken> {
        self.calls.engine().say_block(self.stream, true, |out| heads::pack(out, trailers, None))
    }

    fn reset(&mut self, why: Reason) {
        self.calls.engine().reset(self.stream, why);
    }

    fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.calls.engine().streams.get_mut(&self.stream) {
            Some(stream) => stream.poll_gone(cx),
            None => Poll::Ready(()),
        }
    }
}

impl Inlet for Outlet {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        self.calls.engine().poll_body(self.stream, cx).map(|piece| match piece {
            Ok(Piece::Data(data)) => Some(Ok(data)),
            Ok(Piece::End(_)) => None,
            Err(_) => Some(Err(io::ErrorKind::ConnectionReset.into())),
        })
    }

    fn took(&mut self, _: usize) {
        // Given back as it was handed on.
    }
}
