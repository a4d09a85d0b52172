//! What becomes of a message: lost, doubled, late, out of order, or stopped by a cut link.
//!
//! Links are between two nodes, and between a node and the control plane. A cut one carries nothing in either
//! direction; a bad one loses, doubles and delays. Requests between the cores are single messages; a held
//! stream keeps its order, as a connection does, until it is cut.

use std::time::Duration;

use crate::dice::Dice;

/// How a link is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Link {
    /// Sub-millisecond, nothing lost.
    #[default]
    Good,
    /// One message in eight is lost, one in eight comes twice, all come late and in any order.
    Bad,
    /// Nothing passes.
    Cut,
}

/// All links.
#[derive(Debug)]
pub(crate) struct Network {
    between: Vec<Vec<Link>>,
    to_control: Vec<Link>,
}

impl Network {
    /// Good links between `nodes` nodes and the control plane.
    pub(crate) fn new(nodes: usize) -> Self {
        Self { between: vec![vec![Link::Good; nodes]; nodes], to_control: vec![Link::Good; nodes] }
    }

    /// The link between two nodes; a node always reaches itself.
    pub(crate) fn between(&self, a: usize, b: usize) -> Link {
        if a == b { Link::Good } else { self.between[a.min(b)][a.max(b)] }
    }

    /// The link between a node and the control plane.
    pub(crate) fn control(&self, node: usize) -> Link {
        self.to_control[node]
    }

    /// The link between two nodes is `link` from now on.
    pub(crate) fn set_between(&mut self, a: usize, b: usize, link: Link) {
        self.between[a.min(b)][a.max(b)] = link;
    }

    /// The link between a node and the control plane is `link` from now on.
    pub(crate) fn set_control(&mut self, node: usize, link: Link) {
        self.to_control[node] = link;
    }
}

impl Link {
    /// How long a message takes that is not lost.
    pub(crate) fn delay(self, dice: &mut Dice) -> Duration {
        match self {
            Self::Good => dice.micros(100, 900),
            Self::Bad | Self::Cut => dice.millis(1, 300),
        }
    }

    /// When each copy of a message arrives: none when it is lost, two when it is doubled.
    pub(crate) fn carry(self, dice: &mut Dice) -> Vec<Duration> {
        match self {
            Self::Good => vec![self.delay(dice)],
            Self::Cut => Vec::new(),
            Self::Bad if dice.chance(125) => Vec::new(),
            Self::Bad if dice.chance(125) => vec![self.delay(dice), self.delay(dice) * 3],
            Self::Bad => vec![self.delay(dice)],
        }
    }

    /// Whether a message on a held stream cuts it.
    pub(crate) fn cuts(self, dice: &mut Dice) -> bool {
        match self {
            Self::Good => false,
            Self::Bad => dice.chance(60),
            Self::Cut => true,
        }
    }
}
