//! The tables that a block points into (RFC 7541 §2.3).

use std::collections::VecDeque;

use super::Malformed;

/// What the table of a connection may hold: the protocol's first word, which we leave as it is.
pub(super) const SIZE: usize = 4096;
/// What each entry costs besides its bytes (RFC 7541 §4.1).
const OVERHEAD: usize = 32;

/// RFC 7541, appendix A.
const STATIC: [(&str, &str); 61] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

/// What the peer had us remember, the newest first.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    size: usize,
    max: usize,
    changes: u64,
}

#[derive(Debug)]
struct Entry {
    /// Name and value.
    bytes: Box<[u8]>,
    name: usize,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: VecDeque::new(), size: 0, max: SIZE, changes: 0 }
    }
}

impl Table {
    /// Name and value of an entry of either table.
    pub(super) fn get(&self, index: usize) -> Result<(&[u8], &[u8]), Malformed> {
        let index = index.checked_sub(1).ok_or(Malformed)?;
        match STATIC.get(index) {
            Some((name, value)) => Ok((name.as_bytes(), value.as_bytes())),
            None => {
                let entry = self.entries.get(index - STATIC.len()).ok_or(Malformed)?;
                Ok(entry.bytes.split_at(entry.name))
            }
        }
    }

    /// How often it was told to change: while it is not, an index means what it meant.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Remembers a field; one larger than all the room empties the table (RFC 7541 §4.4).
    pub(super) fn put(&mut self, name: &[u8], value: &[u8]) {
        let cost = name.len() + value.len() + OVERHEAD;
        self.changes += 1;
        self.shrink(self.max.saturating_sub(cost));
        if cost <= self.max {
            self.size += cost;
            self.entries.push_front(Entry { bytes: [name, value].concat().into(), name: name.len() });
        }
    }

    /// Gives the table another size, within what is allowed.
    pub(super) fn resize(&mut self, max: usize) -> Result<(), Malformed> {
        if max > SIZE {
            return Err(Malformed);
        }
        self.max = max;
        self.changes += 1;
        self.shrink(max);
        Ok(())
    }

    fn shrink(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size -= oldest.bytes.len() + OVERHEAD;
        }
    }
}
