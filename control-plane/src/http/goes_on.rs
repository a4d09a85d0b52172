//! Answers that go on for hours: their connection leaves hyper, whose buffers (12 KB) it would keep for nothing.
//!
//! An answer to HTTP/1.1 that carries [`GoesOn`] is written here, head and chunks (RFC 9112 §7.1), and its connection
//! ends with it. HTTP/2 shares connections and stays where it is. Nothing is decided here.

use std::io::{ErrorKind, IoSlice};
use std::net::Shutdown;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::SystemTime;

use axum::body::{Body, Bytes};
use axum::http::{Response, Version};
use bytes::Buf;
use http_body_util::BodyExt;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

/// Marks such an answer, among its extensions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GoesOn;

/// What is read from a client that listens and should say nothing, at once.
const UNASKED: usize = 256;

/// Hands an answer that goes on to who holds the connection.
#[derive(Clone, Debug)]
pub(crate) struct Handover(Arc<Mutex<Option<oneshot::Sender<Response<Body>>>>>);

impl Handover {
    /// A way to hand over, and where the answer arrives.
    pub(crate) fn new() -> (Self, oneshot::Receiver<Response<Body>>) {
        let (send, taken) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(send)))), taken)
    }

    /// Hands `answer` to a request of `version` over where it goes on. Gives every other one back.
    pub(crate) fn give(&self, answer: Response<Body>, version: Version) -> Option<Response<Body>> {
        if version != Version::HTTP_11 || answer.extensions().get::<GoesOn>().is_none() {
            return Some(answer);
        }
        let send = self.0.lock().ok().and_then(|mut send| send.take());
        match send {
            // Whoever held the connection is gone, and with it whoever asked.
            Some(send) => send.send(answer).err(),
            None => Some(answer),
        }
    }
}

/// Writes `answer` until it ends, its reader is gone, or `stream` breaks.
pub(crate) async fn write(stream: Arc<TcpStream>, answer: Response<Body>) {
    let (parts, mut body) = answer.into_parts();
    let mut head = format!("HTTP/1.1 {}\r\ntransfer-encoding: chunked\r\n", parts.status).into_bytes();
    for (name, value) in &parts.headers {
        head.extend_from_slice(name.as_str().as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value.as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(
        format!("date: {}\r\n\r\n", httpdate::fmt_http_date(SystemTime::now())).as_bytes(),
    );
    drop(parts);
    let mut open = write_all(&stream, Bytes::from(head)).await;
    while open {
        let frame = tokio::select! {
            biased;
            () = gone(&stream) => return,
            frame = body.frame() => frame,
        };
        let Some(Ok(frame)) = frame else { break };
        let Ok(data) = frame.into_data() else { continue };
        let size = format!("{:x}\r\n", data.len());
        open = write_all(&stream, size.as_bytes().chain(data).chain(&b"\r\n"[..])).await;
    }
    if open {
        write_all(&stream, &b"0\r\n\r\n"[..]).await;
    }
}

/// Whether all of it could be written.
async fn write_all(stream: &TcpStream, mut data: impl Buf) -> bool {
    while data.has_remaining() {
        let mut pieces = [IoSlice::new(&[]); 3];
        let filled = data.chunks_vectored(&mut pieces);
        match stream.try_write_vectored(&pieces[..filled]) {
            Ok(written) => data.advance(written),
            Err(why) if why.kind() == ErrorKind::WouldBlock => {
                if stream.writable().await.is_err() {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

/// Returns when the reader is gone. What it says unasked is dropped: its connection ends with this answer.
async fn gone(stream: &TcpStream) {
    loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut [0; UNASKED]) {
            Ok(0) => return,
            Err(why) if why.kind() != ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => {}
        }
    }
}

/// A connection of which hyper holds one end, so that it can be taken back.
#[derive(Debug)]
pub(crate) struct Lent(pub(crate) Arc<TcpStream>);

impl AsyncRead for Lent {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(context))?;
            match self.0.try_read_buf(buffer) {
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done.map(drop)),
            }
        }
    }
}

impl AsyncWrite for Lent {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(data)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(context))?;
            match self.0.try_write_vectored(pieces) {
                Err(why) if why.kind() == ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(SockRef::from(&*self.0).shutdown(Shutdown::Write))
    }
}
