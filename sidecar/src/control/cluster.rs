//! One cluster of control planes as this host knows it: how it is spoken to, and what was said.

use std::cell::{Cell, RefCell};

use api::{Moment, Span};
use sidecar_core::directory::Teller;
use tokio::sync::{Notify, watch};

use super::client::Client;
use super::status::ControlStatus;
use crate::local::asserted::Asserted;

/// One of the clusters that the file names.
pub(crate) struct Cluster {
    pub(crate) teller: Teller,
    pub(crate) name: String,
    pub(crate) client: Client,
    /// The instances it is to list.
    pub(crate) asserted: RefCell<Asserted>,
    pub(crate) control: RefCell<ControlStatus>,
    /// When it was last heard, be it a ping; the start where it never was.
    heard: Cell<Moment>,
    /// There is something to say about this host's instances.
    pub(crate) say: Notify,
    /// Who answers may not know the session: the control plane came back, or is of another store.
    pub(crate) doubted: Notify,
    /// Something that was said was confirmed.
    pub(crate) confirmed: watch::Sender<()>,
    /// The watch must be opened anew: its set changed, or what is held is not what there is.
    pub(crate) rewatch: Notify,
}

impl Cluster {
    pub(crate) fn new(teller: Teller, name: String, client: Client, now: Moment) -> Self {
        let control = ControlStatus { cluster: name.clone(), ..ControlStatus::default() };
        Self {
            teller,
            name,
            client,
            asserted: RefCell::default(),
            control: RefCell::new(control),
            heard: Cell::new(now),
            say: Notify::new(),
            doubted: Notify::new(),
            confirmed: watch::Sender::new(()),
            rewatch: Notify::new(),
        }
    }

    /// It was heard at `now`, which is `wall` in milliseconds since 1970.
    pub(crate) fn tell_heard(&self, now: Moment, wall: u64) {
        self.heard.set(now);
        self.control.borrow_mut().heard_at = Some(wall);
    }

    /// Whether it is lost: without a connection, and silent for `after`. Told once when that changes.
    pub(crate) fn judge(&self, now: Moment, after: Span) -> bool {
        let silent = now.since(self.heard.get());
        let mut control = self.control.borrow_mut();
        let lost = !control.connected && silent >= after.duration();
        if std::mem::replace(&mut control.lost, lost) != lost {
            let (cluster, trouble) = (&self.name, &control.trouble);
            match lost {
                true => tracing::error!(
                    cluster,
                    ?silent,
                    trouble,
                    "a cluster of control planes is lost; what it told stays in use and this sidecar serves on"
                ),
                false => tracing::info!(cluster, "a cluster of control planes that was lost is heard again"),
            }
        }
        lost
    }

    /// News came of `store`; of another one than the session is, they doubt it.
    pub(crate) fn tell_store(&self, store: &str) {
        let mut control = self.control.borrow_mut();
        if !control.store.is_empty() && control.store != store {
            self.doubted.notify_one();
        }
        store.clone_into(&mut control.store);
    }

    /// What the status page says of it.
    pub(crate) fn status(&self) -> ControlStatus {
        ControlStatus { url: self.client.url().authority.clone(), ..self.control.borrow().clone() }
    }
}
