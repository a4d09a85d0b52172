//! An endpoint while a choice weighs it, and what a record keeps of that.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use api::policy::Choosing;

use super::Why;
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
    /// How many it was taken to have with those of callers that are not seen: as its sidecar said a while ago, or because it is
    /// [nobody's own](crate::aperture) here.
    pub taken_for: f32,
    /// How many there may be from this host, where there is a cap.
    pub room: Option<u32>,
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throw {
    /// The rule.
    pub by: Choosing,
    /// The dice as they were before the pick.
    pub dice: u64,
    /// The load above which a host was hot, where the rule asks.
    pub hot: f32,
}

/// An endpoint while a choice weighs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scored {
    pub(crate) at: usize,
    pub(crate) id: u32,
    pub(crate) address: SocketAddr,
    pub(crate) rank: u8,
    pub(crate) why: Why,
    pub(crate) cost: f32,
    pub(crate) weight: f32,
    pub(crate) ramp: f32,
    pub(crate) load: u32,
    pub(crate) taken_for: f32,
    pub(crate) room: Option<u32>,
    pub(crate) success: f32,
    pub(crate) credit: i32,
    /// Why the request's key had better go elsewhere, although it could take it.
    pub(crate) aside: Option<Why>,
    /// How much it wants that key.
    pub(crate) wish: f32,
}

impl Scored {
    /// No endpoint at all.
    pub(crate) const NOBODY: Self = Self {
        at: 0,
        id: 0,
        address: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
        rank: u8::MAX,
        why: Why::WeightZero,
        cost: 0.0,
        weight: 0.0,
        ramp: 0.0,
        load: 0,
        taken_for: 0.0,
        room: None,
        success: 0.0,
        credit: 0,
        aside: None,
        wish: 0.0,
    };

    /// What a record keeps of it, with its place among the candidates and why it was or was not taken.
    pub(super) fn told(&self, place: usize, why: Why) -> Candidate {
        Candidate {
            id: self.id,
            address: self.address,
            why,
            cost: self.cost,
            load: self.load,
            taken_for: self.taken_for,
            room: self.room,
            success: self.success,
            inputs: Inputs {
                place: u8::try_from(place).unwrap_or(u8::MAX),
                rank: self.rank,
                // Nothing but the taking itself came after the pick.
                open: self.is_open(),
                aside: self.aside,
                weight: self.weight,
                ramp: self.ramp,
                credit: self.credit,
            },
        }
    }
}
