//! What an operator says over the registry's own judgement: always with an owner, a reason and an end.
//!
//! An *override* changes how instances are listed; a *planned drain* lets more of a service leave at once than
//! the blast radius allows; a *notify share* slows pushes down in an emergency. All are kept, audited, and over by
//! themselves.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::instance::InstanceKey;
use crate::name::{NodeName, ServiceKey};
use crate::unit::{Share, Span};

choice! {
    /// What an override does to an instance, whatever its owner says of it.
    #[derive(PartialOrd, Ord)]
    pub enum Effect {
        /// Takes it off its list.
        Mask = "mask",
        /// Lists it as draining: it finishes what it has and takes nothing new.
        OutOfService = "out-of-service",
        /// Lists it with another weight.
        Weight = "weight",
    }
}

/// An override: `PUT /v1/overrides/{name}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// Every instance registered from this node; exactly one of `node` and `instance`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// This one instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<InstanceKey>,
    /// What it does.
    pub effect: Effect,
    /// The weight, with `effect: weight` and with nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Over after this.
    pub ttl: Span,
}

/// A planned drain: `PUT /v1/drains/{name}`. While it lasts, instances that it covers may leave by its share
/// instead of the ordinary one, and their silence is no sign of a fault nearer to us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedDrain {
    /// Services it covers.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<ServiceKey>,
    /// Nodes it covers, with everything registered from them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nodes: BTreeSet<NodeName>,
    /// How much of a service may leave within one sweep's interval. With 100 % also the last one known may.
    #[serde(default = "all")]
    pub share: Share,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Over after this.
    pub ttl: Span,
}

/// A notify share: `PUT /v1/notify/{name}`. While it lasts, only this share of a list's watchers is told of a change
/// at a time, the next share 10 s later. Of several the smallest counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyShare {
    /// How much of them; at least 1 %.
    #[serde(default = "a_tenth")]
    pub share: Share,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Over after this; an hour at most.
    pub ttl: Span,
}

fn a_tenth() -> Share {
    Share::percent(10)
}

fn all() -> Share {
    Share::percent(100)
}

/// An exception in force, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InForce<T> {
    /// Its name.
    pub name: crate::Label,
    /// How long it still lasts.
    pub left: Span,
    /// What was said.
    pub said: T,
}
