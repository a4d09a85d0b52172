//! One stream as raw bytes both ways, for what left HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::sending::Half;
use crate::wire::Socket;

/// Where a stream's bytes come from.
pub trait Inlet {
    /// The next bytes; `None` at their end.
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>>;
    /// Lets the peer send as many more.
    fn took(&mut self, bytes: usize);
}

impl Inlet for RecvStream {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        Self::poll_data(self, cx).map(|data| data.map(|data| data.map_err(io::Error::other)))
    }

    fn took(&mut self, bytes: usize) {
        // Fails only on a stream that is gone, where windows mean nothing.
        _ = self.flow_control().release_capacity(bytes);
    }
}

/// The DATA of one stream, both ways, and what is held for as long as the tunnel lasts.
#[derive(Debug)]
pub struct StreamIo<I, H, G> {
    // A half that was never opened is at its end.
    recv: Option<I>,
    send: Option<H>,
    read: Bytes,
    _held: G,
}

impl<I, H, G> StreamIo<I, H, G> {
    pub(super) fn new(recv: Option<I>, send: Option<H>, held: G) -> Self {
        Self { recv, send, read: Bytes::new(), _held: held }
    }
}

impl<I: Inlet + Unpin, H: Half + Unpin, G: Unpin> Socket for StreamIo<I, H, G> {
    fn reset(&self) {
        // Dropped before its end, a stream is reset in any case.
    }

    fn quiet(&self) -> bool {
        self.read.is_empty()
    }
}

impl<I: Inlet + Unpin, H: Unpin, G: Unpin> AsyncRead for StreamIo<I, H, G> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { recv: Some(recv), read, .. } = self.as_mut().get_mut() else { return Poll::Ready(Ok(())) };
        while read.is_empty() {
            match ready!(recv.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(data) => *read = data?,
            }
        }
        let count = read.len().min(into.remaining());
        into.put_slice(&read.split_to(count));
        recv.took(count);
        Poll::Ready(Ok(()))
    }
}

impl<I: Unpin, H: Half + Unpin, G: Unpin> AsyncWrite for StreamIo<I, H, G> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let count = ready!(send.poll_room(bytes.len(), cx)).map_err(gone)?;
        send.say(bytes.copy_to_bytes(count), false).map_err(gone)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(send) = &mut self.send
            && send.say(Bytes::new(), true).is_err()
        {
            send.reset(Reason::CANCEL);
        }
        Poll::Ready(Ok(()))
    }
}
