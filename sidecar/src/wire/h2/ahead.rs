//! A byte stream of which some was read already.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use super::through::{Reading, Through};

/// What was read ahead.
#[derive(Debug)]
pub struct Rest(Bytes);

/// Gives what was read ahead first, then what the stream has.
pub type Ahead<S> = Through<S, Rest>;

impl<S> Ahead<S> {
    /// `io` with the bytes that were read from it.
    pub fn new((io, read): (S, Bytes)) -> Self {
        Self { io, reading: Rest(read) }
    }

    /// The stream.
    pub fn io(&self) -> &S {
        &self.io
    }
}

impl Reading for Rest {
    fn poll_read<S: AsyncRead>(
        &mut self,
        io: Pin<&mut S>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.is_empty() {
            return io.poll_read(cx, into);
        }
        let count = self.0.len().min(into.remaining());
        into.put_slice(&self.0[..count]);
        self.0.advance(count);
        Poll::Ready(Ok(()))
    }
}
