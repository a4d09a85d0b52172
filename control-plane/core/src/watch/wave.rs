//! A push in progress: who of a topic's followers is still to be told.
//!
//! Followers stand in the order of a hash, so that each share of them is a fair sample. The wave goes round: what
//! changes while it runs is told to everybody once more, and nobody is told twice before all were told once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::message::News;
use api::{Digest, Moment};

use super::Follower;
use super::held::Held;

/// Additions may be told this much later than removals that came after them, and no later: nothing starves.
pub(super) const ADDITIONS_LATER: Duration = Duration::from_secs(5);

/// News made once for all who hold the same.
#[derive(Clone, Debug)]
pub(super) struct Made {
    /// What a watcher holds afterwards.
    pub(super) after: Held,
    /// What it is told, if anything.
    pub(super) news: Option<Arc<News>>,
    /// Its bytes on the wire.
    pub(super) bytes: usize,
}

/// One push in progress.
#[derive(Debug)]
pub(super) struct Wave {
    /// When it began.
    pub(super) began: Moment,
    /// Waves go in this order.
    pub(super) deadline: Moment,
    /// The last one that was told.
    pub(super) cursor: Option<Follower>,
    /// How many are still to be told.
    pub(super) left: usize,
    /// How many were told.
    pub(super) told: usize,
    /// How many followed when it began.
    pub(super) followers: usize,
    /// Bytes of its usual news, for forecasts of those that come after it.
    pub(super) bytes: usize,
    /// What the topic said when `made` was made.
    pub(super) says: Says,
    /// News already made.
    pub(super) made: BTreeMap<Held, Made>,
}

/// What a topic says; news made for one are none for another.
pub(super) type Says = (Digest, bool, bool);

impl Wave {
    /// How many bytes are still to leave.
    pub(super) fn bytes_left(&self) -> usize {
        self.left.saturating_mul(self.bytes)
    }
}
