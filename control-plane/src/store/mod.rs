//! What outlives the process: policies and service settings in a [`PolicyStore`], registrations in an
//! [`InstanceStore`].
//!
//! Both are traits because another engine follows for several replicas. Nothing here decides what may be
//! written; a store only refuses a write that lost its race. Every call blocks, and only
//! [`thread`] makes them.

pub mod snapshot;
pub mod sqlite;
pub mod thread;

use api::choice::choice;
use api::{Label, Namespace};
use control_core::Snapshot;
use serde::Serialize;

use crate::diff::LeafChange;

choice! {
    /// What a document is.
    #[derive(PartialOrd, Ord)]
    pub enum DocumentKind {
        /// A policy, as its author wrote it.
        Policy = "policy",
        /// What an operator set on a service.
        Service = "service",
        /// What an operator put over instances for a time.
        Override = "override",
        /// A drain that an operator planned.
        Drain = "drain",
        /// A share of watchers that an operator wants told at a time.
        Notify = "notify",
        /// The last rollout of a namespace, step by step.
        Rollout = "rollout",
        /// A command, until it is over.
        Command = "command",
        /// A token's words and the digest of its secret.
        Token = "token",
        /// Who may register, subscribe and edit.
        Whitelist = "whitelist",
        /// A config value for apps.
        Config = "config",
    }
}

choice! {
    /// What somebody did, in the audit.
    pub enum Deed {
        /// Wrote a document.
        Put = "put",
        /// Took a document out.
        Delete = "delete",
        /// Put an old revision of a document back.
        Rollback = "rollback",
        /// Said that this store replaces others.
        Adopt = "adopt",
        /// Began a rollout.
        Rollout = "rollout",
        /// A rollout went on, or ended by itself.
        Step = "step",
        /// Gave a rollout up.
        Abandon = "abandon",
        /// Gave a command.
        Command = "command",
        /// Took a command back.
        Revoke = "revoke",
    }
}

/// Where a document stands.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentKey {
    /// What it is.
    pub kind: DocumentKind,
    /// Its namespace.
    pub namespace: Namespace,
    /// Its name within the namespace and kind.
    pub name: Label,
}

/// A document at its newest revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Where it stands.
    pub key: DocumentKey,
    /// The store's revision that wrote it.
    pub revision: u64,
    /// Its JSON; `None` where it was taken out.
    pub body: Option<String>,
}

/// Who writes, for history and audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct By {
    /// Who, as the request said; empty when it did not.
    pub author: String,
    /// The address the request came from.
    pub origin: String,
    /// Why, as the request said.
    pub message: String,
}

/// One write of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which document.
    pub key: DocumentKey,
    /// Its JSON from now on; `None` takes it out.
    pub body: Option<String>,
    /// The revision that the writer last saw of this document, zero for none; `None` writes over any.
    pub expected: Option<u64>,
    /// What the audit calls it.
    pub deed: Deed,
    /// Who.
    pub by: By,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// One revision in a document's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// The store's revision.
    pub revision: u64,
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Who.
    pub author: String,
    /// Why.
    pub message: String,
    /// The document's JSON; `None` where it was taken out.
    pub body: Option<String>,
}

/// One line of the audit: lines are only ever added.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditLine {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Who, as the request said.
    pub author: String,
    /// The address the request came from.
    pub origin: String,
    /// What was done.
    pub deed: Deed,
    /// To what, as `policy checkout.shop`.
    pub object: String,
    /// The revision it made; `None` where a deed makes none.
    pub revision: Option<u64>,
    /// What that says differently from the one before it, leaf by leaf. Of a token nothing is told: it is kept with what
    /// its secret is known by.
    pub changes: Vec<LeafChange>,
}

/// Why a store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote in between.
    #[error("the document is at revision {held}, not at {expected}")]
    Conflict {
        /// The revision that the writer had seen.
        expected: u64,
        /// The revision it has; zero when it does not exist.
        held: u64,
    },
    /// The disk is full: reads go on, writes do not.
    #[error("the disk is full")]
    Full,
    /// Another process keeps its state in the same directory.
    #[error("another process keeps its state in {0}")]
    Held(String),
    /// The store was written by a newer version.
    #[error("the store has schema version {found}, this version knows {known}")]
    Newer {
        /// The version found.
        found: i64,
        /// The version known.
        known: i64,
    },
    /// The store's thread has ended: the process stops.
    #[error("the store is closed")]
    Closed,
    /// Anything else the engine says.
    #[error("{deed}: {why}")]
    Engine {
        /// What was being done.
        deed: &'static str,
        /// What the engine said.
        why: String,
    },
}

/// Versioned documents. A write that returned is durable.
pub trait PolicyStore: Send {
    /// The store's id, drawn when it was made: a store that lost its disk comes back as another.
    fn id(&self) -> &str;

    /// Whether an operator said that this store replaces others.
    ///
    /// # Errors
    /// When the engine fails.
    fn adopted(&self) -> Result<bool, StoreError>;

    /// The newest revision; zero for a store that was never written.
    ///
    /// # Errors
    /// When the engine fails.
    fn head(&self) -> Result<u64, StoreError>;

    /// Every document of `kind` that was not taken out, by namespace and name.
    ///
    /// # Errors
    /// When the engine fails.
    fn list(&self, kind: DocumentKind) -> Result<Vec<Document>, StoreError>;

    /// Every document that changed after `revision`, at its newest revision, in the order of revisions: what
    /// a watch follows.
    ///
    /// # Errors
    /// When the engine fails.
    fn since(&self, revision: u64) -> Result<Vec<Document>, StoreError>;

    /// Every revision of one document, oldest first.
    ///
    /// # Errors
    /// When the engine fails.
    fn history(&self, key: &DocumentKey) -> Result<Vec<Revision>, StoreError>;

    /// Writes one document and its audit line, both or neither. Returns the new revision.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the document is not at the expected revision; else when the engine fails.
    fn write(&mut self, write: &Write) -> Result<u64, StoreError>;

    /// Writes documents and their audit lines, all or none. Returns their new revisions, in the same order.
    ///
    /// # Errors
    /// As [`PolicyStore::write`].
    fn write_all(&mut self, writes: &[Write]) -> Result<Vec<u64>, StoreError>;

    /// Says that this store replaces others.
    ///
    /// # Errors
    /// When the engine fails.
    fn adopt(&mut self, by: &By, at: u64) -> Result<(), StoreError>;

    /// The last `count` lines of the audit, newest first.
    ///
    /// # Errors
    /// When the engine fails.
    fn audit(&self, count: usize) -> Result<Vec<AuditLine>, StoreError>;
}

/// Registrations as they were when last saved. They are disposable: sidecars assert them again.
pub trait InstanceStore: Send {
    /// What was saved last; `None` when nothing was.
    ///
    /// # Errors
    /// When what was saved is torn or unreadable: the caller says so and starts from nothing.
    fn load(&mut self) -> Result<Option<Snapshot>, snapshot::Refused>;

    /// Saves `registrations` in the place of what was saved before; a crash leaves one of the two.
    ///
    /// # Errors
    /// [`StoreError::Full`] or [`StoreError::Engine`].
    fn save(&mut self, registrations: &Snapshot) -> Result<(), StoreError>;
}
