//! Overrides, planned drains and notify shares on their way to the store and into force.
//!
//! What is kept says until when by the wall clock, so that a restart neither shortens nor lengthens it.

use std::collections::BTreeSet;
use std::time::Duration;

use api::{Label, Namespace, NotifyShare, Override, PlannedDrain, ServiceKey};
use control_core::{ControlCore, Exception, Refusal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{NotKept, Writer, not_json};
use crate::clock::wall_millis;
use crate::store::{By, Deed, DocumentKey, DocumentKind};

/// What is kept of something said for a time.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Until<T> {
    /// Milliseconds since 1970.
    until: u64,
    said: T,
}

/// A kind of exception as the store keeps it and as editors are asked for it.
pub(crate) trait Kept: Exception + Serialize + DeserializeOwned + Send + 'static {
    /// What the store calls it.
    const KIND: DocumentKind;
    /// The services whose lists it may change: who edits them may say it.
    fn concerns(&self, core: &ControlCore) -> BTreeSet<ServiceKey>;
}

impl Kept for Override {
    const KIND: DocumentKind = DocumentKind::Override;
    fn concerns(&self, core: &ControlCore) -> BTreeSet<ServiceKey> {
        let of_node = self.node.iter().flat_map(|node| core.services_of(node));
        of_node.chain(self.instance.iter().map(|key| key.service.clone())).collect()
    }
}

impl Kept for PlannedDrain {
    const KIND: DocumentKind = DocumentKind::Drain;
    fn concerns(&self, core: &ControlCore) -> BTreeSet<ServiceKey> {
        let of_nodes = self.nodes.iter().flat_map(|node| core.services_of(node));
        of_nodes.chain(self.services.iter().cloned()).collect()
    }
}

impl Kept for NotifyShare {
    const KIND: DocumentKind = DocumentKind::Notify;
    /// It slows news down and changes none.
    fn concerns(&self, _: &ControlCore) -> BTreeSet<ServiceKey> {
        BTreeSet::new()
    }
}

/// What is in force under `name`.
pub(crate) fn in_force<T: Kept>(core: &ControlCore, name: &Label, now: api::Moment) -> Option<T> {
    core.exceptions(now).ok()?.into_iter().find(|said| said.name == *name).map(|there| there.said)
}

impl Writer {
    /// Keeps `said` and puts it in force under `name`.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn put_exception<T: Kept>(&self, name: Label, said: T, by: By) -> Result<(), NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let (about, asked) = (name.clone(), said.clone());
            writer.desk.ask(move |desk, now| desk.core.check_exception(&about, &asked, now)).await??;
            let lasts = u64::try_from(said.ttl().duration().as_millis()).unwrap_or(u64::MAX);
            let kept = Until { until: wall_millis().saturating_add(lasts), said: said.clone() };
            let body = serde_json::to_string(&kept).map_err(|why| not_json(&why))?;
            writer.write(key::<T>(&name), Some(body), None, Deed::Put, by).await?;
            Ok(writer.desk.ask(move |desk, now| desk.core.put_exception(name, said, now)).await??)
        })
        .await
    }

    /// Ends what is in force under `name`.
    ///
    /// # Errors
    /// See [`NotKept`]; nothing changed then.
    pub(crate) async fn end_exception<T: Kept>(&self, name: Label, by: By) -> Result<(), NotKept> {
        let writer = self.clone();
        self.in_turn(async move {
            let about = name.clone();
            let said = writer.desk.ask(move |desk, now| in_force::<T>(&desk.core, &about, now)).await?;
            if said.is_none() {
                return Err(Refusal::NoSuchException.into());
            }
            writer.write(key::<T>(&name), None, None, Deed::Delete, by).await?;
            // It may have run out while the disk was asked: that is the same end.
            let ended = writer.desk.ask(move |desk, now| desk.core.end_exception::<T>(name, now)).await?;
            ended.or_else(|why| if why == Refusal::NoSuchException { Ok(()) } else { Err(why.into()) })
        })
        .await
    }
}

/// Reads what is kept in `body`, with how long it still lasts; `None` when it is over.
///
/// # Errors
/// An older version kept what this one does not understand.
pub(crate) fn read<T: Kept>(body: &str) -> Result<Option<(T, Duration)>, api::Problem> {
    let kept: Until<T> = serde_json::from_str(body).map_err(|why| not_json(&why))?;
    let left = kept.until.saturating_sub(wall_millis());
    // A wall clock that went backwards must not make it last longer than was said.
    let left = Duration::from_millis(left).min(kept.said.ttl().duration());
    Ok((!left.is_zero()).then_some((kept.said, left)))
}

/// Exceptions speak of services of any namespace; in the store they stand in the default one.
fn key<T: Kept>(name: &Label) -> DocumentKey {
    DocumentKey { kind: T::KIND, namespace: Namespace::default(), name: name.clone() }
}
