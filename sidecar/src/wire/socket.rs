//! What the wires ask of a byte stream beyond reading and writing.

use std::io;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client, server};

use super::Flight;
use super::h1::Buffer;

/// A client's connection under TLS.
pub type Secured = server::TlsStream<Flight<TcpStream>>;

/// A connection to an endpoint under TLS.
pub type Trusted = client::TlsStream<Flight<TcpStream>>;

/// A connected byte stream.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Makes the coming drop a reset instead of an orderly close, where the stream knows the difference.
    fn reset(&self);

    /// Whether the kernel holds neither bytes nor an end for us at this moment.
    fn quiet(&self) -> bool;

    /// Whether a drop ends in order once our half was shut: what the peer has said was read. What it only says when it
    /// hears our end (under TLS an alert of its own, RFC 9112 §9.8) need not be waited for.
    fn ends_by_drop(&self) -> bool {
        false
    }

    /// Whether a drop says the end of our half as a shutdown before it would, all that the peer said being read.
    fn drop_says_the_end(&self) -> bool {
        false
    }

    /// Ready when a read may find something, and then only a read tells; a stream that cannot say is always ready.
    /// Pending wakes as a read would, and needs no buffer.
    fn poll_readable(&self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// Whether the runtime heard of something that a read would find, or of nothing; nobody is woken for it. `None` where
    /// only a read tells.
    fn heard(&self) -> Option<bool> {
        None
    }

    /// Writes what is the last to be said here. Whoever does shuts the stream down as soon as all of it was taken, and only
    /// then is it sure to leave: in one segment with the end, where the stream can.
    fn poll_write_last(&mut self, cx: &mut Context<'_>, last: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self).poll_write(cx, last)
    }

    /// Reads what is there into `buffer`, which is given room where something is, without a place among those who wait for
    /// more; `WouldBlock` where nothing is, or where only [`AsyncRead::poll_read`] reads.
    fn read_now(&self, _: &mut Buffer) -> io::Result<usize> {
        nothing()
    }

    /// Writes at once what the kernel takes at once, without a place among those who wait for room; `WouldBlock` where it
    /// takes nothing, or where only [`AsyncWrite::poll_write`] writes.
    fn write_now(&self, _: &[u8]) -> io::Result<usize> {
        nothing()
    }

    /// Who is at the other end; `None` where ends have no addresses. One system call.
    fn peer(&self) -> Option<IpAddr> {
        None
    }
}

/// What streams of the kernel have in common, whose readiness the runtime keeps.
macro_rules! of_the_kernel {
    () => {
        fn ends_by_drop(&self) -> bool {
            true
        }

        fn drop_says_the_end(&self) -> bool {
            self.heard() == Some(false)
        }

        fn quiet(&self) -> bool {
            would_block(&SockRef::from(self))
        }

        fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
            // What went wrong is told by the read.
            self.poll_read_ready(cx).map(|_| ())
        }

        fn heard(&self) -> Option<bool> {
            Some(self.try_io(Interest::READABLE, || Ok(())).is_ok())
        }

        fn read_now(&self, buffer: &mut Buffer) -> io::Result<usize> {
            let mut read = nothing();
            _ = self.try_io(Interest::READABLE, || {
                let room = buffer.room();
                let most = room.capacity() - room.len();
                read = match recv(self, spare_capacity(room), RecvFlags::empty()) {
                    Ok((count, _)) => Ok(count),
                    Err(error) => Err(error.into()),
                };
                // Where less came than there was room for, the runtime takes it that nothing more is there: as with its own
                // reads, so that the next one does not ask the kernel in vain.
                if matches!(read, Ok(count) if (1..most).contains(&count)) { nothing() } else { Ok(0) }
            });
            read
        }

        fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
            self.try_io(Interest::WRITABLE, || Ok(send(self, bytes, SendFlags::NOSIGNAL)?))
        }
    };
}

/// What streams under TLS have in common: while nothing that was deciphered waits to be read, and no end, only what comes
/// on the socket below can be.
macro_rules! deciphered {
    () => {
        fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
            let (flight, session) = self.get_ref();
            if session.wants_read() { flight.poll_readable(cx) } else { Poll::Ready(()) }
        }

        fn heard(&self) -> Option<bool> {
            let (flight, session) = self.get_ref();
            if session.wants_read() { flight.heard() } else { Some(true) }
        }
    };
}

impl Socket for TcpStream {
    fn reset(&self) {
        // A failure means that the connection is gone already, which is what we want.
        _ = SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn poll_write_last(&mut self, cx: &mut Context<'_>, last: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_write_ready(cx))?;
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            match self.try_io(Interest::WRITABLE, || Ok(send(&*self, last, flags)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    of_the_kernel!();

    fn peer(&self) -> Option<IpAddr> {
        // The same host on a listener of either family is one peer. A connection that is gone has none.
        self.peer_addr().ok().map(|address| address.ip().to_canonical())
    }
}

/// A reset skips the closing alert, and quiet means that nothing deciphered waits either.
impl Socket for Secured {
    fn reset(&self) {
        self.get_ref().0.io().reset();
    }

    fn quiet(&self) -> bool {
        let (flight, session) = self.get_ref();
        session.wants_read() && flight.io().quiet()
    }

    fn ends_by_drop(&self) -> bool {
        self.quiet()
    }

    deciphered!();

    fn poll_write_last(&mut self, cx: &mut Context<'_>, last: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().0.ends();
        Pin::new(self).poll_write(cx, last)
    }

    fn peer(&self) -> Option<IpAddr> {
        self.get_ref().0.io().peer()
    }
}

impl Socket for Trusted {
    fn reset(&self) {
        self.get_ref().0.io().reset();
    }

    fn quiet(&self) -> bool {
        let (flight, session) = self.get_ref();
        session.wants_read() && flight.io().quiet()
    }

    deciphered!();
}

impl Socket for UnixStream {
    /// A Unix socket has no reset; an answer that needs one has framing of its own, or is told by its length.
    fn reset(&self) {}

    of_the_kernel!();
}

/// What holds a stream is one: each question goes on to it.
macro_rules! passed_on {
    ($holder:ty) => {
        impl<S: Socket + ?Sized> Socket for $holder {
            fn reset(&self) {
                (**self).reset();
            }

            fn quiet(&self) -> bool {
                (**self).quiet()
            }

            fn ends_by_drop(&self) -> bool {
                (**self).ends_by_drop()
            }

            fn drop_says_the_end(&self) -> bool {
                (**self).drop_says_the_end()
            }

            fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
                (**self).poll_readable(cx)
            }

            fn heard(&self) -> Option<bool> {
                (**self).heard()
            }

            fn poll_write_last(&mut self, cx: &mut Context<'_>, last: &[u8]) -> Poll<io::Result<usize>> {
                (**self).poll_write_last(cx, last)
            }

            fn read_now(&self, buffer: &mut Buffer) -> io::Result<usize> {
                (**self).read_now(buffer)
            }

            fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
                (**self).write_now(bytes)
            }

            fn peer(&self) -> Option<IpAddr> {
                (**self).peer()
            }
        }
    };
}

passed_on!(&mut S);
passed_on!(Box<S>);

/// In memory, for tests and simulation: it knows no reset and no kernel.
impl Socket for DuplexStream {
    fn reset(&self) {}

    fn quiet(&self) -> bool {
        true
    }
}

/// What a socket says where nothing is to be read or taken.
fn nothing() -> io::Result<usize> {
    Err(io::ErrorKind::WouldBlock.into())
}

fn would_block(socket: &SockRef<'_>) -> bool {
    let mut byte = [MaybeUninit::uninit()];
    matches!(socket.peek(&mut byte), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}
