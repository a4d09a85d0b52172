//! Feeding the codec's machines, and what holds whatever they are fed: bounded memory, and progress.

use bytes::BufMut as _;
use sidecar::wire::h1::{Inbound, MAX_HEAD};
use sidecar::wire::{BodyKind, Piece, Trailers};

use crate::dice::Dice;
use crate::reader::{Framing, Line};
use crate::told::Message;

/// The parts of an input on their way into a machine.
pub(super) struct Feed<'a> {
    bytes: &'a [u8],
    parts: std::vec::IntoIter<usize>,
    ends: bool,
    steps: usize,
}

impl<'a> Feed<'a> {
    /// All of `bytes` at once, or cut at random places; then the peer's end where it `ends`.
    pub(super) fn new(bytes: &'a [u8], ends: bool, dice: Option<&mut Dice>) -> Self {
        let parts = match dice {
            Some(dice) => dice.cuts(bytes.len()),
            None if bytes.is_empty() => Vec::new(),
            None => vec![bytes.len()],
        };
        Self { bytes, steps: 0, parts: parts.into_iter(), ends }
    }

    /// Hands on the next part; `false` when there is none.
    ///
    /// # Panics
    /// When what the machine keeps although it was asked for a message exceeds a head.
    pub(super) fn more(&mut self, inbound: &mut Inbound) -> bool {
        assert!(inbound.waiting() <= MAX_HEAD, "{} bytes wait for more", inbound.waiting());
        match self.parts.next() {
            Some(len) => {
                let (part, rest) = self.bytes.split_at(len);
                self.bytes = rest;
                inbound.room().put_slice(part);
                inbound.filled(len);
                true
            }
            None if std::mem::take(&mut self.ends) => {
                inbound.filled(0);
                true
            }
            None => false,
        }
    }

    /// Counts a step of the machine; `len` is how many bytes the whole input has.
    ///
    /// # Panics
    /// When there are more than bytes and parts can explain: it makes no progress.
    pub(super) fn step(&mut self, len: usize) {
        self.steps += 1;
        assert!(self.steps <= 4 * len + 64, "{} steps for {len} bytes", self.steps);
    }
}

/// A piece goes to the message it belongs to.
///
/// # Panics
/// When it is empty.
pub(super) fn take(message: &mut Message, piece: Piece) -> Option<Trailers> {
    match piece {
        Piece::Data(data) => {
            assert!(!data.is_empty(), "an empty piece");
            message.body.extend_from_slice(&data);
            None
        }
        Piece::End(trailers) => {
            message.whole = true;
            message.trailers = trailers.iter().flat_map(|trailers| lines(trailers)).collect();
            trailers
        }
    }
}

/// Fields in the form in which readers are compared.
pub(super) fn lines(fields: &sidecar_core::head::Fields) -> Vec<Line> {
    fields.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
}

/// A body's kind in the second reader's words.
pub(super) fn framing(kind: BodyKind) -> Framing {
    match kind {
        BodyKind::Empty => Framing::None,
        BodyKind::Length(length) => Framing::Length(length),
        BodyKind::Chunked => Framing::Chunked,
        BodyKind::UntilClose => Framing::UntilClose,
        BodyKind::Tunnel => Framing::Tunnel,
    }
}
