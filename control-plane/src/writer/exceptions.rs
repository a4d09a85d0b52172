//! Overrides, planned drains and notify shares on their way to the store and into force.
//!
//! What is kept says until when by the wall clock, so that a restart neither shortens nor lengthens it.

use std::collections::BTreeSet;
use std::time::Duration;

use api::{InForce, Label, Namespace, NotifyShare, Override, PlannedDrain, ServiceKey};
use control_core::{ControlCore, Refusal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{NotKept, Writer, not_json};
use crate::clock::wall_millis;
use crate::store::{By, Deed, DocumentKey, DocumentKind};

/// What is kept of something said for a time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept<T> {
    /// Milliseconds since 1970.
    until: u64,
    said: T,
}

/// One kind of thing that operators say for a time, and the core's verbs for it.
pub(crate) trait Exception: Clone + Serialize + DeserializeOwned + Send + 'static {
    /// What the store calls it.
    const KIND: DocumentKind;
    /// How long it lasts.
    fn ttl(&self) -> Duration;
    /// Whether it may be put in force.
    ///
    /// # Errors
    /// What the core says.
    fn check(&self, core: &ControlCore, name: &Label, now: api::Moment) -> Result<(), Refusal>;
    /// Puts it in force.
    ///
    /// # Errors
    /// What the core says.
    fn put(self, core: &mut ControlCore, name: Label, now: api::Moment) -> Result<(), Refusal>;
    /// Ends it.
    ///
    /// # Errors
    /// What the core says.
    fn end(core: &mut ControlCore, name: &Label, now: api::Moment) -> Result<(), Refusal>;
    /// What is in force under that name.
    fn said(core: &ControlCore, name: &Label, now: api::Moment) -> Option<Self>;
    /// The services whose lists it may change: who edits them may say it.
    fn concerns(&self, core: &ControlCore) -> BTreeSet<ServiceKey>;
}

impl Exception for Override {
    const KIND: DocumentKind = DocumentKind::Override;
    fn ttl(&self) -> Duration {
        self.ttl.duration()
    }
    fn check(&self, core: &ControlCore, name: &Label, now: api::Moment) -> Result<(), Refusal> {
        core.check_override(name, self, now)
    }
    fn put(self, core: &mut ControlCore, name: Label, now: api::Moment) -> Result<(), Refusal> {
        core.put_override(name, self, now)
    }
    fn end(core: &mut ControlCore, name: &Label, now: api::Moment) -> Result<(), Refusal> {
        core.end_override(name, now)
    }
    fn said(core: &ControlCore, name: &Label, now: api::Moment) -> Option<Self> {
        named(core.overrides(now), name)
    }
    fn concerns(&self, core: &ControlCore) -> BTreeSet<ServiceKey> {
        let of_node = self.node.iter().flat_map(|node| core.services_of(node));
        of_node.chain(self.instance.iter().map(|key| key.service.clone())).collect()
    }
}

impl Exception for PlannedDrain {
    const KIND: DocumentKind = DocumentKind::Drain;
    fn ttl(&self) -> Duration {
        self.ttl.duration()
    }
    fn check(&self, core: &ControlCore, name: &Label, _: api::Moment) -> Result<(), Refusal> {
        core.check_drain(name, self)
    }
    fn put(self, core: &mut ControlCore, name: Label, now: api::Moment) -> Result<(), Refusal> {
        core.put_drain(name, self, now)
    }
    fn end(core: &mut ControlCore, name: &Label, now: api::Moment) -> Result<(), Refusal> {
        core.end_drain(name, now)
    }
    fn said(core: &ControlCore, name: &Label, now: api::Moment) -> Option<Self> {
        named(core.drains(now), name)
    }
    fn concerns(&self, core: &ControlCore) -> BTreeSet<ServiceKey> {
        let of_nodes = self.nodes.iter().flat_map(|node| core.services_of(node));
        of_nodes.chain(self.services.iter().cloned()).collect()
    }
}

impl Exception for NotifyShare {
    const KIND: DocumentKind = DocumentKind::Notify;
    fn ttl(&self) -> Duration {
        self.ttl.duration()
    }
    fn check(&self, core: &ControlCore, name: &Label, _: api::Moment) -> Result<(), Refusal> {
        core.check_notify(name, self)
    }
    fn put(self, core: &mut ControlCore, name: Label, now: api::Moment) -> Result<(), Refusal> {
        core.put_notify(name, self, now)
    }
    fn end(core: &mut ControlCore, name: &Label, now: api::Moment) -> Result<(), Refusal> {
        core.end_notify(name, now)
    }
    fn said(core: &ControlCore, name: &Label, now: api::Moment) -> Option<Self> {
        named(core.notify(now), name)
    }
    /// It slows news down and changes none.
    fn concerns(&self, _: &ControlCore) -> BTreeSet<ServiceKey> {
        BTreeSet::new()
    }
}

/// What stands under `name` in what is in force.
fn named<T>(all: Result<Vec<InForce<T>>, Refusal>, name: &Label) -> Option<T> {
    all.ok()?.into_iter().find(|said| said.name == *name).map(|there| there.said)
}

impl Writer {
    /// Keeps `said` and puts it in force under `name`.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn put_exception<T: Exception>(
        &self,
        name: Label,
        said: T,
        by: By,
    ) -> Result<(), NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let (about, asked) = (name.clone(), said.clone());
            writer.desk.ask(move |desk, now| asked.check(&desk.core, &about, now)).await??;
            let lasts = u64::try_from(said.ttl().as_millis()).unwrap_or(u64::MAX);
            let kept = Kept { until: wall_millis().saturating_add(lasts), said: said.clone() };
            let body = serde_json::to_string(&kept).map_err(|why| not_json(&why))?;
            writer.write(key::<T>(&name), Some(body), None, Deed::Put, by).await?;
            Ok(writer.desk.ask(move |desk, now| said.put(&mut desk.core, name, now)).await??)
        })
        .await
    }

    /// Ends what is in force under `name`.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn end_exception<T: Exception>(&self, name: Label, by: By) -> Result<(), NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let about = name.clone();
            if writer.desk.ask(move |desk, now| T::said(&desk.core, &about, now)).await?.is_none() {
                return Err(Refusal::NoSuchException.into());
            }
            writer.write(key::<T>(&name), None, None, Deed::Delete, by).await?;
            // It may have run out while the disk was asked: that is the same end.
            let ended = writer.desk.ask(move |desk, now| T::end(&mut desk.core, &name, now)).await?;
            ended.or_else(|why| if why == Refusal::NoSuchException { Ok(()) } else { Err(why.into()) })
        })
        .await
    }
}

/// Reads what is kept in `body`, with how long it still lasts; `None` when it is over.
///
/// # Errors
/// An older version kept what this one does not understand.
pub(crate) fn read<T: Exception>(body: &str) -> Result<Option<(T, Duration)>, api::Problem> {
    let kept: Kept<T> = serde_json::from_str(body).map_err(|why| not_json(&why))?;
    let left = kept.until.saturating_sub(wall_millis());
    // A wall clock that went backwards must not make it last longer than was said.
    let left = Duration::from_millis(left).min(kept.said.ttl());
    Ok((!left.is_zero()).then_some((kept.said, left)))
}

/// Exceptions speak of services of any namespace; in the store they stand in the default one.
fn key<T: Exception>(name: &Label) -> DocumentKey {
    DocumentKey { kind: T::KIND, namespace: Namespace::default(), name: name.clone() }
}
