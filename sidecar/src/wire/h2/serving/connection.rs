//! The machine on a socket.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use api::Reason;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};

use super::super::SEND_BUFFER;
use super::Calls;
use crate::wire::h1::Buffer;

/// Reads and writes for the streams of one client.
#[derive(Debug)]
pub struct Connection<S> {
    io: S,
    calls: Rc<Calls>,
    /// What came and is no whole frame yet.
    came: Buffer,
}

/// What happened on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A stream began.
    Stream(u32),
    /// It ended; why, where that was its client's own doing.
    Over(Option<Reason>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// `io`, from its first byte.
    pub fn new(io: S, calls: Rc<Calls>) -> Self {
        Self { io, calls, came: Buffer::default() }
    }

    /// Moves what there is both ways. Pending: nothing more can be moved now, or [`Calls::judge`] must be asked first.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            let mut written = self.poll_write(cx);
            if let Poll::Ready(Err(_)) = written {
                self.calls.engine().lose(h2::Reason::NO_ERROR);
                written = Poll::Ready(Ok(()));
            }
            let mut engine = self.calls.engine();
            if let Some(stream) = engine.begun.pop_front() {
                return Poll::Ready(Event::Stream(stream));
            }
            if engine.done() && written.is_ready() {
                return Poll::Ready(Event::Over(engine.over.and_then(blame)));
            }
            // Whoever does not read what we say is not heard either.
            if engine.over.is_some() || engine.conduct.spent() || engine.waiting() >= SEND_BUFFER {
                engine.driver = Some(cx.waker().clone());
                return Poll::Pending;
            }
            drop(engine);
            // What was left when the client was to be judged comes before anything else.
            let before = self.came.len();
            if before > 0 {
                self.calls.engine().receive(&mut self.came);
                if self.came.len() < before {
                    continue;
                }
            }
            match pin!(self.io.read_buf(self.came.room())).poll(cx) {
                Poll::Ready(Ok(1..)) => self.calls.engine().receive(&mut self.came),
                Poll::Ready(Ok(0) | Err(_)) => self.calls.engine().lose(h2::Reason::NO_ERROR),
                Poll::Pending => {
                    self.came.rest();
                    self.calls.engine().driver = Some(cx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut engine = self.calls.engine();
            if engine.waiting() == 0 {
                return Poll::Ready(Ok(()));
            }
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, &engine.out[engine.sent..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            engine.went(count);
        }
    }

    /// Lets the client open no more streams; those that run end in their own time.
    pub fn leave(&mut self) {
        self.calls.engine().leave();
        self.calls.dismiss();
    }

    /// Ends the connection for what its client did on it, whatever else runs there.
    pub fn cut(&mut self) {
        self.calls.engine().end(h2::Reason::ENHANCE_YOUR_CALM);
        self.calls.dismiss();
    }

    /// Writes what is left to be said and closes our half.
    pub async fn close(mut self) {
        self.calls.engine().lose(h2::Reason::NO_ERROR);
        self.calls.dismiss();
        // Nobody is there to be told of a failure.
        _ = poll_fn(|cx| {
            ready!(self.poll_write(cx))?;
            Pin::new(&mut self.io).poll_shutdown(cx)
        })
        .await;
    }
}

impl<S> Drop for Connection<S> {
    fn drop(&mut self) {
        self.calls.engine().lose(h2::Reason::NO_ERROR);
        self.calls.dismiss();
    }
}

/// Why a connection ended, where that was its client's own doing.
fn blame(why: h2::Reason) -> Option<Reason> {
    match why {
        h2::Reason::NO_ERROR => None,
        h2::Reason::ENHANCE_YOUR_CALM => Some(Reason::FrameFlood),
        _ => Some(Reason::BadRequest),
    }
}
