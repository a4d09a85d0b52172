//! Memory that a thread lends again and again: of heads, of what is written, of what is read.

use std::cell::{Cell, RefCell};

/// What came back and is lent next. Mostly one thing is lent and comes back before another is: it lies apart from the
/// others, where nobody has to look for it.
pub struct Shelf<T> {
    last: Cell<Option<T>>,
    others: RefCell<Vec<T>>,
}

impl<T> Shelf<T> {
    /// Nothing came back yet.
    pub const fn new() -> Self {
        Self { last: Cell::new(None), others: RefCell::new(Vec::new()) }
    }

    /// Lends one; `None` where there is none.
    #[inline]
    pub fn lend(&self) -> Option<T> {
        self.last.take().or_else(|| self.others.borrow_mut().pop())
    }

    /// Takes one back; of those that nobody wants it keeps `most` and the last.
    #[inline]
    pub fn take_back(&self, one: T, most: usize) {
        if let Some(before) = self.last.replace(Some(one)) {
            self.keep(before, most);
        }
    }

    #[inline(never)]
    fn keep(&self, one: T, most: usize) {
        let mut others = self.others.borrow_mut();
        if others.len() < most {
            others.push(one);
        }
    }
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_back_last_is_lent_first_and_only_so_many_are_kept() {
        let shelf = Shelf::new();
        assert_eq!(shelf.lend(), None);
        (1..=4).for_each(|one| shelf.take_back(one, 2));
        let lent: Vec<_> = std::iter::from_fn(|| shelf.lend()).collect();
        assert_eq!(lent, [4, 2, 1]);
    }
}
