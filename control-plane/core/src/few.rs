//! A map of few entries in as few bytes as they take.
//!
//! A hundred thousand leases and sessions keep one entry or two each: a tree's node would be ten times what is in it.

use std::borrow::Borrow;

/// Up to so many entries room is made for one more at a time; beyond, it doubles, so that adding many stays cheap.
const TIGHT: usize = 8;

/// Entries in the order of their keys, each key once; without values a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Few<K, V = ()>(Vec<(K, V)>);

impl<K, V> Default for Few<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord, V> Few<K, V> {
    fn at<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: Borrow<Q>,
    {
        self.0.binary_search_by(|(known, _)| known.borrow().cmp(key))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `key` is there.
    pub(crate) fn contains<Q: Ord + ?Sized>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
    {
        self.at(key).is_ok()
    }

    /// What stands under `key`.
    pub(crate) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.at(key).ok().map(|at| &self.0[at].1)
    }

    /// `value` stands under `key` from now on.
    pub(crate) fn put(&mut self, key: K, value: V) {
        match self.at(&key) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => {
                if self.0.len() < TIGHT {
                    self.0.reserve_exact(1);
                }
                self.0.insert(at, (key, value));
            }
        }
    }

    /// `key` is not there any more.
    pub(crate) fn remove(&mut self, key: &K) {
        if let Ok(at) = self.at(key) {
            self.0.remove(at);
        }
    }

    /// Every key, in their order.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &K> {
        self.0.iter().map(|(key, _)| key)
    }

    /// Every entry, in the order of keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.0.iter().map(|(key, value)| (key, value))
    }
}

impl<K> Few<K> {
    /// Every key, in their order.
    pub(crate) fn into_keys(self) -> impl Iterator<Item = K> {
        self.0.into_iter().map(|(key, ())| key)
    }
}

impl<K: Ord, V> FromIterator<(K, V)> for Few<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut few = Self::default();
        entries.into_iter().for_each(|(key, value)| few.put(key, value));
        few
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_stands_once_and_in_order() {
        let mut few: Few<u8, char> = [(3, 'c'), (1, 'a'), (3, 'd')].into_iter().collect();
        assert_eq!(few.iter().collect::<Vec<_>>(), [(&1, &'a'), (&3, &'d')]);
        few.remove(&1);
        few.remove(&2);
        assert_eq!((few.len(), few.contains(&1), few.get(&3)), (1, false, Some(&'d')));
    }
}
