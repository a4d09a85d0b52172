//! A socket under TLS that lets what belongs together leave together.
//!
//! Each segment costs the kernel more than all of a short record's ciphering, and wakes the peer once more. What ends a
//! handshake (a ticket, which no client waits for) leaves with the first answer, and an alert that closes leaves with the
//! last answer and the end of the connection. Whoever waits for the peer has to let out what is held first.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Socket;

/// A socket whose writes may gather.
#[derive(Debug)]
pub struct Flight<S> {
    io: S,
    /// What was written and did not leave yet; empty but for a moment.
    held: Vec<u8>,
    /// Writes gather, and only a read that finds nothing or the connection's end lets them leave.
    gathers: bool,
}

impl<S: Socket> Flight<S> {
    /// A connection on which a handshake begins: each side's flights are told by its waiting for the other.
    pub fn new(io: S) -> Self {
        Self { io, held: Vec::new(), gathers: true }
    }

    /// A connection on which everything leaves as it is written.
    pub fn flowing(io: S) -> Self {
        Self { io, held: Vec::new(), gathers: false }
    }

    /// What carries it.
    pub fn io(&self) -> &S {
        &self.io
    }

    /// The handshake is over: what is written from now on leaves, and what is held with it.
    pub fn flows(&mut self) {
        self.gathers = false;
    }

    /// What is written from now on leaves with the connection's end.
    pub fn ends(&mut self) {
        self.gathers = true;
    }

    /// Whether a read may find something. What is held has to leave before anybody waits, which only a read does.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.gathers { Poll::Ready(()) } else { self.io.poll_readable(cx) }
    }

    /// Whether the runtime heard of something to be read.
    pub fn heard(&self) -> Option<bool> {
        if self.gathers { None } else { self.io.heard() }
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>, ends: bool) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = match ends {
                true => self.io.poll_write_last(cx, &self.held),
                false => Pin::new(&mut self.io).poll_write(cx, &self.held),
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => _ = self.held.drain(..count),
            }
        }
        self.held = Vec::new();
        Poll::Ready(Ok(()))
    }
}

impl<S: Socket> AsyncRead for Flight<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.gathers && read.is_pending() {
            ready!(self.poll_leave(cx, false))?;
        }
        read
    }
}

impl<S: Socket> AsyncWrite for Flight<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.gathers {
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        // In one write with what is held, and no more is taken than left: whoever writes has a bound of its own.
        let Self { io, held, .. } = &mut *self;
        while !held.is_empty() {
            let all: Vec<_> =
                std::iter::once(&held[..]).chain(bufs.iter().map(|buf| &**buf)).map(IoSlice::new).collect();
            let count = ready!(Pin::new(&mut *io).poll_write_vectored(cx, &all))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let further = count.saturating_sub(held.len());
            held.drain(..count - further);
            if further > 0 {
                *held = Vec::new();
                return Poll::Ready(Ok(further));
            }
        }
        match bufs {
            // To send one part costs the kernel less than to gather parts.
            [one] => Pin::new(io).poll_write(cx, one),
            bufs => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.gathers {
            return Poll::Ready(Ok(()));
        }
        ready!(self.poll_leave(cx, false))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_leave(cx, true))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    fn flight() -> (Flight<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(1024);
        (Flight::new(ours), theirs)
    }

    /// What has left by now.
    fn left(theirs: &mut DuplexStream) -> String {
        let mut space = [0; 64];
        let mut read = ReadBuf::new(&mut space);
        let mut cx = Context::from_waker(std::task::Waker::noop());
        _ = Pin::new(theirs).poll_read(&mut cx, &mut read);
        String::from_utf8(read.filled().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn a_flight_leaves_when_the_other_side_is_waited_for() {
        let (mut ours, mut theirs) = flight();
        ours.write_all(b"hello ").await.unwrap();
        ours.write_all(b"done").await.unwrap();
        ours.flush().await.unwrap();
        assert_eq!(left(&mut theirs), "");
        let mut space = [0; 5];
        let read = async { ours.read_exact(&mut space).await.unwrap() };
        let answer = async {
            let mut said = [0; 10];
            theirs.read_exact(&mut said).await.unwrap();
            theirs.write_all(b"done!").await.unwrap();
            said
        };
        assert_eq!(&tokio::join!(read, answer).1, b"hello done");
    }

    #[tokio::test]
    async fn what_is_held_at_the_end_leaves_first_and_with_what_follows() {
        let (mut ours, mut theirs) = flight();
        ours.write_all(b"ticket ").await.unwrap();
        ours.flows();
        assert_eq!(left(&mut theirs), "");
        ours.write_all(b"answer").await.unwrap();
        assert_eq!(left(&mut theirs), "ticket answer");
        ours.write_all(b" more").await.unwrap();
        assert_eq!(left(&mut theirs), " more");
        ours.ends();
        ours.write_all(b" last").await.unwrap();
        ours.write_all(b" alert").await.unwrap();
        assert_eq!(left(&mut theirs), "");
        ours.shutdown().await.unwrap();
        let mut rest = String::new();
        theirs.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, " last alert");
    }

    #[tokio::test]
    async fn no_more_is_taken_than_the_socket_takes() {
        let (mut ours, mut theirs) = flight();
        ours.write_all(&[1; 1000]).await.unwrap();
        ours.flows();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut write = |many: &[u8]| Pin::new(&mut ours).poll_write(&mut cx, many);
        assert!(matches!(write(&[2; 5000]), Poll::Ready(Ok(24))), "the room beyond what was held");
        assert!(write(&[2; 5000]).is_pending());
        let mut space = [0; 1024];
        theirs.read_exact(&mut space).await.unwrap();
        assert_eq!(space[999..1001], [1, 2]);
        assert!(matches!(write(&[2; 5000]), Poll::Ready(Ok(1024))));
    }
}
