//! A request that says what the one before said: packed, both are the same few bytes, and mean the same for as long as the
//! table that they point into did not change.

use sidecar_core::head::RequestHead;

/// A longer block, or one that unpacks to more, is not kept: most that come again point at what is remembered already.
const BLOCK_MAX: usize = 256;
const UNPACKED_MAX: usize = 1024;

/// The last request of a connection, and its head where it came twice.
#[derive(Debug, Default)]
pub(super) struct Again {
    block: Vec<u8>,
    /// How often the table had changed.
    changes: u64,
    head: Option<RequestHead>,
}

impl Again {
    /// What `block` means, if it is what came before.
    pub(super) fn head(&self, block: &[u8], changes: u64) -> Option<RequestHead> {
        let head = self.head.as_ref()?;
        self.is(block, changes).then(|| head.clone())
    }

    /// Hears what a block meant that changed nothing of the table, and how long its fields are together.
    pub(super) fn hear(&mut self, block: &[u8], changes: u64, head: &RequestHead, unpacked: usize) {
        if block.len() > BLOCK_MAX || unpacked > UNPACKED_MAX {
            return;
        }
        if self.is(block, changes) {
            return self.head = Some(head.clone());
        }
        (self.changes, self.head) = (changes, None);
        self.block.clear();
        self.block.extend_from_slice(block);
    }

    fn is(&self, block: &[u8], changes: u64) -> bool {
        self.changes == changes && self.block == block
    }
}
