//! The words everyone speaks: names, units, instances, lists, policies, reasons, problems, messages.
//!
//! Types here are the YAML in `configs/`, the JSON on the wire and the reference pages in `docs/`.
//! This crate never opens a socket or a file, reads a clock or rolls dice, and imports nothing of ours.

pub mod access;
pub mod appconfig;
pub mod choice;
pub mod command;
pub mod config;
pub mod digest;
pub mod exception;
pub mod instance;
pub mod labels;
pub mod list;
pub mod message;
pub mod moment;
pub mod name;
pub mod pattern;
pub mod policy;
pub mod problem;
pub mod quota;
pub mod reason;
pub mod rollout;
pub mod schema;
pub mod shadow;
pub mod story;
pub mod traffic;
pub mod unit;
pub mod whitelist;
pub mod yaml;

pub use digest::Digest;
pub use exception::{Effect, InForce, NotifyShare, Override, PlannedDrain};
pub use instance::{Instance, InstanceKey, Protocol, Readiness};
pub use labels::Labels;
pub use list::{Cause, Delta, List, Removal};
pub use moment::Moment;
pub use name::{Caller, Label, Namespace, NodeName, Proof, ServiceKey, ServiceName};
pub use pattern::ServicePattern;
pub use policy::{Policy, PolicySet};
pub use problem::{Place, Problem};
pub use reason::Reason;
pub use unit::{Percentile, Rate, Share, Size, Span};
