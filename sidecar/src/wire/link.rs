//! A connection to an endpoint as bytes: in clear, or TLS.
//!
//! One enum rather than a type parameter: the pool holds both, and a branch costs nothing beside a system call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::h1::Buffer;
use super::{Socket, Trusted};

/// What carries a connection to an endpoint.
#[derive(Debug)]
pub enum Link {
    /// In clear.
    Plain(TcpStream),
    /// TLS; boxed, because its state is as large as everything else of a connection together.
    Tls(Box<Trusted>),
}

/// The same deed on whichever it is.
macro_rules! either {
    ($link:expr, $io:ident => $deed:expr) => {
        match $link {
            Link::Plain($io) => $deed,
            Link::Tls($io) => $deed,
        }
    };
}

impl Socket for Link {
    fn reset(&self) {
        either!(self, io => io.reset());
    }

    fn quiet(&self) -> bool {
        either!(self, io => io.quiet())
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        either!(self, io => io.poll_readable(cx))
    }

    fn heard(&self) -> Option<bool> {
        either!(self, io => io.heard())
    }

    fn read_now(&self, buffer: &mut Buffer) -> io::Result<usize> {
        either!(self, io => io.read_now(buffer))
    }

    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, io => io.write_now(bytes))
    }
}

impl AsyncRead for Link {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), io => Pin::new(io).poll_read(cx, into))
    }
}

impl AsyncWrite for Link {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), io => Pin::new(io).poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), io => Pin::new(io).poll_write_vectored(cx, slices))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, io => io.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), io => Pin::new(io).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), io => Pin::new(io).poll_shutdown(cx))
    }
}
