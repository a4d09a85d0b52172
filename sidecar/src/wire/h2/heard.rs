//! An endpoint's byte stream below the engine, which notes that somebody is at its other end.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

use super::Carrier;
use super::through::{Reading, Through};

/// Passes bytes on and tells the connection's [`Carrier`] when some came.
pub type Heard<S> = Through<S, Rc<Carrier>>;

impl<S> Heard<S> {
    /// `io`, heard by `carrier`.
    pub fn new(io: S, carrier: Rc<Carrier>) -> Self {
        Self { io, reading: carrier }
    }
}

impl Reading for Rc<Carrier> {
    fn poll_read<S: AsyncRead>(
        &mut self,
        io: Pin<&mut S>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(io.poll_read(cx, into))?;
        self.heard();
        Poll::Ready(Ok(()))
    }
}
