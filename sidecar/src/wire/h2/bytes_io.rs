//! One stream as raw bytes both ways, for what left HTTP.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, RecvStream, SendStream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::server_stream::Running;
use super::{Seat, take};
use crate::wire::Socket;

/// The DATA of one stream, both ways.
#[derive(Debug)]
pub struct StreamIo {
    // A half that was never opened is at its end.
    recv: Option<RecvStream>,
    send: Option<SendStream<Bytes>>,
    read: Bytes,
    _held: Held,
}

/// The stream's place on its connection, for as long as the tunnel lasts.
#[derive(Debug)]
pub(super) enum Held {
    /// On a client's.
    Running(#[expect(dead_code, reason = "given back on drop")] Running),
    /// On an endpoint's.
    Seat(#[expect(dead_code, reason = "given back on drop")] Seat),
}

impl StreamIo {
    pub(super) fn new(recv: Option<RecvStream>, send: Option<SendStream<Bytes>>, held: Held) -> Self {
        Self { recv, send, read: Bytes::new(), _held: held }
    }
}

impl Socket for StreamIo {
    fn reset(&self) {
        // Dropped before its end, a stream is reset in any case.
    }

    fn quiet(&self) -> bool {
        self.read.is_empty()
    }
}

impl AsyncRead for StreamIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { recv: Some(recv), read, .. } = self.as_mut().get_mut() else { return Poll::Ready(Ok(())) };
        while read.is_empty() {
            match ready!(recv.poll_data(cx)) {
                None => return Poll::Ready(Ok(())),
                Some(Ok(data)) => *read = data,
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
            }
        }
        let given = read.split_to(read.len().min(into.remaining()));
        into.put_slice(&take(recv, given));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for StreamIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Some(send) = &mut self.send else { return Poll::Ready(Err(io::ErrorKind::NotConnected.into())) };
        send.reserve_capacity(bytes.len());
        while send.capacity() == 0 {
            match ready!(send.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            }
        }
        let count = send.capacity().min(bytes.len());
        let data = bytes.copy_to_bytes(count);
        send.send_data(data, false).map_err(io::Error::other)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(send) = &mut self.send
            && send.send_data(Bytes::new(), true).is_err()
        {
            send.send_reset(Reason::CANCEL);
        }
        Poll::Ready(Ok(()))
    }
}
