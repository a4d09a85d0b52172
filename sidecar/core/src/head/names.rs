//! Several field names at once, a bit each: what a head holds, and what a rule asks for.

use super::known::Known;

/// Field names by their ids, to be asked for several at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Names(u64);

impl Names {
    /// What the wire writes itself, so that a received one is never repeated (RFC 9112 §6, §9).
    pub(super) const WIRE_OWNED: Self = Self::of(&[
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::ContentLength,
        Known::TransferEncoding,
    ]);
    /// The same without what says how long a body is: a line that says so as we would may stay.
    pub(super) const WIRE_OWNED_BUT_LENGTH: Self =
        Self::WIRE_OWNED.without(Self::of(&[Known::ContentLength]));
    /// What speaks to the next hop only (RFC 9110 §7.6.1, §11.7).
    pub(super) const HOP_BY_HOP: Self = Self::of(&[
        Known::Connection,
        Known::KeepAlive,
        Known::ProxyConnection,
        Known::Te,
        Known::Upgrade,
        Known::ProxyAuthenticate,
        Known::ProxyAuthorization,
        Known::ProxyAuthenticationInfo,
    ]);
    /// What only a sidecar may say; from anyone else it is a claim.
    pub(super) const CLAIMS: Self = Self::of(&[
        Known::OutriggerCall,
        Known::OutriggerLoad,
        Known::OutriggerReason,
        Known::OutriggerService,
        Known::Claim,
    ]);

    pub(super) const fn of(ids: &[Known]) -> Self {
        let (mut names, mut at) = (0, 0);
        while at < ids.len() {
            names |= 1 << ids[at] as u8;
            at += 1;
        }
        Self(names)
    }

    pub(super) const fn has(self, id: Known) -> bool {
        self.0 & 1 << id as u8 != 0
    }

    pub(super) const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn with(self, id: Known) -> Self {
        Self(self.0 | 1 << id as u8)
    }

    pub(super) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}
