//! A byte stream that is read in a way of its own; what is written goes through as it is.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How such a stream is read.
pub trait Reading {
    /// As [`AsyncRead::poll_read`] of `io`, with what this way has to do.
    fn poll_read<S: AsyncRead>(
        &mut self,
        io: Pin<&mut S>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>>;
}

/// A stream, and how it is read.
#[derive(Debug)]
pub struct Through<S, R> {
    pub(super) io: S,
    pub(super) reading: R,
}

impl<S: AsyncRead + Unpin, R: Reading + Unpin> AsyncRead for Through<S, R> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, reading } = self.get_mut();
        reading.poll_read(Pin::new(io), cx, into)
    }
}

impl<S: AsyncWrite + Unpin, R: Unpin> AsyncWrite for Through<S, R> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
