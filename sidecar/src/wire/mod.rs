//! The seam between the line and the wires.
//!
//! The line drives and does not know which wire it talks to: it sees heads, [`Piece`]s of bodies and what
//! broke. Everything is polled and sending is queued, so one future pumps both directions. Nothing here owns
//! time: the line's deadlines decide how long a poll may stay pending. No task is spawned.

mod flight;
pub mod h1;
pub mod h2;
mod link;
pub mod raw;
mod seam;
mod socket;
mod texts;
mod upstream;

pub use flight::Flight;
pub use link::Link;
pub use seam::{BodyKind, Broken, Downstream, Gone, Piece, Sent, Trailers, Upstream};
pub use socket::{Secured, Socket, Trusted};
pub use upstream::{UpstreamConn, UpstreamIo};
