//! The names of the head before, by their places, per thread and direction: whoever sends heads names mostly the same
//! fields in the same order, and what a name was found to be once it is again.
//!
//! All bytes of a name and its colon are compared, so one that is taken for the one before is judged as strictly as that
//! was; values are judged each time. (TCP does so with its own heads: "header prediction", Jacobson 1990.)

use std::cell::RefCell;

use sidecar_core::head::Known;

/// The longest name that is kept, with its colon: hardly one is longer.
const LONGEST: usize = 32;
/// So many names of a head: most have fewer.
const NAMES: usize = 24;

thread_local! {
    static REQUEST: RefCell<Last> = const { RefCell::new(Last::new(NAMES)) };
    static RESPONSE: RefCell<Last> = const { RefCell::new(Last::new(NAMES)) };
}

/// So many bytes of a name are compared at once: hardly one has more, and then the rest is looked at as well.
const BLOCK: usize = 16;

/// A name with its colon, and its id.
#[derive(Debug)]
struct Name {
    text: [u8; LONGEST],
    len: usize,
    /// Which of the bits of a block that begins with it are its own.
    own: u128,
    known: Known,
}

impl Name {
    /// `None` where it is too long.
    fn new(text: &[u8], known: Known) -> Option<Self> {
        let (mut room, len) = ([0; LONGEST], text.len());
        room.get_mut(..len)?.copy_from_slice(text);
        let others = 8 * BLOCK.saturating_sub(len) as u32;
        Some(Self { text: room, len, own: u128::MAX.checked_shr(others).unwrap_or(0), known })
    }

    /// What stands in `line` behind it, if that begins with it.
    #[inline]
    fn strip<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        let behind = line.get(self.len..)?;
        let same = match (line.first_chunk::<BLOCK>(), self.text.first_chunk()) {
            (Some(first), Some(wanted)) => {
                (u128::from_le_bytes(*first) ^ u128::from_le_bytes(*wanted)) & self.own == 0
                    && (self.len <= BLOCK || line[BLOCK..self.len] == self.text[BLOCK..self.len])
            }
            _ => line.starts_with(&self.text[..self.len]),
        };
        same.then_some(behind)
    }
}

/// The names of the head before.
#[derive(Debug)]
pub(super) struct Last {
    names: Vec<Option<Name>>,
    /// So many are kept at most.
    most: usize,
}

impl Last {
    const fn new(most: usize) -> Self {
        Self { names: Vec::new(), most }
    }

    /// For what hardly comes again: it keeps nothing.
    pub(super) const fn forgetful() -> Self {
        Self::new(0)
    }

    /// With those of the thread's request before.
    pub(super) fn of_requests<T>(deed: impl FnOnce(&mut Self) -> T) -> T {
        REQUEST.with_borrow_mut(deed)
    }

    /// With those of the thread's answer before.
    pub(super) fn of_responses<T>(deed: impl FnOnce(&mut Self) -> T) -> T {
        RESPONSE.with_borrow_mut(deed)
    }

    /// How long the name is that `line` begins with, its id, and what stands behind its colon, if it is the one that stood
    /// at this place.
    #[inline]
    pub(super) fn same<'l>(&self, place: usize, line: &'l [u8]) -> Option<(usize, Known, &'l [u8])> {
        let name = self.names.get(place)?.as_ref()?;
        name.strip(line).map(|behind| (name.len - 1, name.known, behind))
    }

    /// Keeps the name at this place; `text` is it and its colon.
    pub(super) fn learn(&mut self, place: usize, text: &[u8], known: Known) {
        if place == self.names.len() && place < self.most {
            self.names.push(None);
        }
        if let Some(kept) = self.names.get_mut(place) {
            *kept = Name::new(text, known);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_again_at_its_place_and_only_whole() {
        let mut last = Last::new(NAMES);
        last.learn(0, b"via:", Known::Via);
        last.learn(1, b"a:", Known::Other);
        assert_eq!(last.same(0, b"via:1.1 b\r\n"), Some((3, Known::Via, &b"1.1 b\r\n"[..])));
        for (place, rest) in [(1, &b"via: b"[..]), (0, b"via"), (0, b"via : b"), (0, b"Via: b"), (2, b"a: b")]
        {
            assert_eq!(last.same(place, rest), None, "{rest:?} at {place}");
        }
        last.learn(0, b"ab:", Known::Other);
        assert_eq!((last.same(0, b"via: b"), last.same(0, b"ab:")), (None, Some((2, Known::Other, &[][..]))));
    }

    #[test]
    fn every_byte_of_a_name_counts_however_long_it_is_and_whatever_follows() {
        for len in 1..=LONGEST {
            let (mut last, mut line) = (Last::new(1), vec![b'n'; len]);
            line[len - 1] = b':';
            last.learn(0, &line, Known::Other);
            for behind in [0, 1, 2 * LONGEST] {
                line.resize(len + behind, b'v');
                let found = last.same(0, &line);
                assert_eq!(found, Some((len - 1, Known::Other, &line[len..])), "{len}, {behind}");
                for at in 0..len {
                    let mut other = line.clone();
                    other[at] ^= 0x20;
                    assert_eq!(last.same(0, &other), None, "{len}, {behind}: another byte at {at}");
                }
                assert_eq!(last.same(0, &line[..len - 1]), None, "{len}: cut");
            }
        }
    }

    #[test]
    fn what_is_long_or_far_behind_is_not_kept() {
        let (mut last, long) = (Last::new(NAMES), [b'a'; LONGEST + 1]);
        (0..2 * NAMES).for_each(|place| last.learn(place, &long, Known::Other));
        assert!(last.names.len() == NAMES);
        for unlike in [long, [0; LONGEST + 1]] {
            assert!((0..NAMES).all(|place| last.same(place, &unlike).is_none()));
        }
        let mut forgetful = Last::forgetful();
        forgetful.learn(0, b"a:", Known::Other);
        assert_eq!(forgetful.same(0, b"a:"), None);
    }
}
