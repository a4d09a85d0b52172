//! An endpoint while a choice weighs it, and what a record keeps of that.

use std::net::SocketAddr;

use api::policy::Choosing;

use super::Why;
use crate::endpoint::Endpoint;
use crate::parts::{Kind, Where};

/// One candidate as it was weighed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Its endpoint.
    pub id: u32,
    /// Where it is.
    pub address: SocketAddr,
    /// Why it was or was not taken.
    pub why: Why,
    /// What it would have cost; lower is better, only the ratio of two means something.
    pub cost: f32,
    /// Its requests in flight, as known here.
    pub load: u32,
    /// Its success against its peers, 0 to 1.
    pub success: f32,
    /// What else the pick went by.
    pub(crate) inputs: Inputs,
}

/// What a pick goes by beside what a candidate says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Inputs {
    /// Where it stood among the candidates.
    pub(crate) place: u8,
    pub(crate) rank: u8,
    /// Whether it could be taken.
    pub(crate) open: bool,
    pub(crate) aside: Option<Why>,
    pub(crate) weight: f32,
    pub(crate) ramp: f32,
    pub(crate) credit: i32,
}

/// Whom a choice was among.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Among {
    /// Which part of the list.
    pub kind: Kind,
    /// Which tier of it.
    pub tier: u8,
    /// Which zone of that.
    pub place: Where,
}

/// By which rule and which throw the last choice was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throw {
    /// The rule.
    pub by: Choosing,
    /// The dice as they were before the pick.
    pub dice: u64,
}

/// An endpoint while a choice weighs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    pub(crate) at: usize,
    pub(crate) rank: u8,
    pub(crate) why: Why,
    pub(crate) cost: f32,
    pub(crate) weight: f32,
    pub(crate) ramp: f32,
    pub(crate) load: u32,
    pub(crate) success: f32,
    pub(crate) credit: i32,
    /// Why the request's key had better go elsewhere, although it could take it.
    pub(crate) aside: Option<Why>,
    /// How much it wants that key.
    pub(crate) wish: f32,
    /// Its place in the pool and whether it could be taken, once the choice is made.
    pub(crate) place: u8,
    pub(crate) open: bool,
}

impl Scored {
    /// No endpoint at all.
    pub(crate) const NOBODY: Self = Self {
        at: 0,
        rank: u8::MAX,
        why: Why::WeightZero,
        cost: 0.0,
        weight: 0.0,
        ramp: 0.0,
        load: 0,
        success: 0.0,
        credit: 0,
        aside: None,
        wish: 0.0,
        place: 0,
        open: false,
    };

    /// What a record keeps of it.
    pub(super) fn told(&self, endpoint: &Endpoint) -> Candidate {
        Candidate {
            id: endpoint.id,
            address: endpoint.instance.address,
            why: self.why,
            cost: self.cost,
            load: self.load,
            success: self.success,
            inputs: Inputs {
                place: self.place,
                rank: self.rank,
                open: self.open,
                aside: self.aside,
                weight: self.weight,
                ramp: self.ramp,
                credit: self.credit,
            },
        }
    }
}
