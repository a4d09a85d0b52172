//! How much each side may still send (RFC 9113 §5.2, §6.9).

/// The largest window.
const MAX: i64 = 0x7fff_ffff;

/// What we let the peer send.
#[derive(Debug)]
pub(super) struct Inflow {
    left: u32,
    /// Taken by whoever it is for, and not given back yet.
    taken: u32,
    size: u32,
}

impl Inflow {
    /// `size` bytes, all told to the peer.
    pub(super) fn new(size: u32) -> Self {
        Self { left: size, taken: 0, size }
    }

    /// Bytes came; `false` when they are more than we let come.
    pub(super) fn came(&mut self, bytes: usize) -> bool {
        let left = u32::try_from(bytes).ok().and_then(|bytes| self.left.checked_sub(bytes));
        self.left = left.unwrap_or(0);
        left.is_some()
    }

    /// Bytes were taken; what to let come anew, once it is worth a frame: half of the window.
    pub(super) fn took(&mut self, bytes: usize) -> Option<u32> {
        self.taken += bytes as u32;
        (self.taken >= self.size / 2).then(|| {
            self.left += self.taken;
            std::mem::take(&mut self.taken)
        })
    }
}

/// What the peer lets us send; may be below nothing (RFC 9113 §6.9.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct Outflow(i64);

impl Outflow {
    pub(super) fn new(size: u32) -> Self {
        Self(i64::from(size))
    }

    /// Bytes that may go.
    pub(super) fn room(self) -> usize {
        usize::try_from(self.0).unwrap_or(0)
    }

    pub(super) fn went(&mut self, bytes: usize) {
        self.0 -= bytes as i64;
    }

    /// The peer lets more go, or less; `false` when that is more than any window holds.
    pub(super) fn grow(&mut self, by: i64) -> bool {
        self.0 += by;
        self.0 <= MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_window_is_given_back_at_once_and_less_is_not() {
        let mut window = Inflow::new(100);
        assert!(window.came(100) && !window.came(1));
        assert_eq!((window.took(49), window.took(1), window.took(10)), (None, Some(50), None));
        assert!(window.came(50) && !window.came(1));
    }

    #[test]
    fn a_window_may_shrink_below_nothing_and_not_grow_beyond_its_end() {
        let mut window = Outflow::new(10);
        window.went(10);
        assert!(window.grow(-5));
        assert_eq!(window.room(), 0);
        assert!(window.grow(6));
        assert_eq!(window.room(), 1);
        assert!(window.grow(MAX - 1) && !window.grow(1));
    }
}
