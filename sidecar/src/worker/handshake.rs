//! TLS ends here: a client's handshake, bounded in time as a head is.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use rustls::ProtocolVersion;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use super::World;
use crate::accept::Way;
use crate::tls::Shown;
use crate::wire::{Flight, Secured};

/// Ends TLS on `stream`, which may take as long as a head may. Who fails is not answered: there is no channel
/// that both could read.
pub(super) async fn secured(
    world: &World,
    way: &Way,
    (shown, raw): (&Shown, bool),
    stream: TcpStream,
) -> Option<Box<Secured>> {
    let mut handshake = pin!(shake_hands(shown, raw, stream));
    let mut timer = pin!(world.wheel.at(world.clock.now() + world.limits.head.duration()));
    let ended = poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
    });
    let ended = ended.await;
    world.tls.accepted(ended.is_ok());
    ended.map(Box::new).inspect_err(|error| tracing::info!(%way, %error, "a TLS handshake failed")).ok()
}

/// A handshake, to its end. What it says last is held for the first answer where nobody waits for it: only tickets are
/// said then, since TLS 1.3. Raw bytes have no first answer.
async fn shake_hands(shown: &Shown, raw: bool, stream: TcpStream) -> io::Result<Secured> {
    match shown.acceptor().accept(Flight::new(stream)).into_fallible().await {
        Ok(mut stream) => {
            let (flight, session) = stream.get_mut();
            flight.flows();
            if raw || session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
                stream.flush().await?;
            }
            Ok(stream)
        }
        Err((error, mut flight)) => {
            // The alert that says why; whoever broke the handshake may not hear it.
            flight.flows();
            _ = flight.flush().await;
            Err(error)
        }
    }
}
