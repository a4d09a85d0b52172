//! The life of the control thread: its tasks side by side, and its last words.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch as signal;
use tokio::task::JoinSet;

use super::begin::Prepared;
use super::digests::{self, Pace};
use super::hub::Hub;
use super::session::{self, Boot};
use super::{Ended, checks, first, keep, lost, quotas, show, watch};
use crate::local::register::CannotRegister;
use crate::local::{drain, register};
use crate::snapshot::SnapshotFile;
use crate::tls;

/// How long the session's end may take at the very end.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);
/// And the last snapshot after it: a disk that others keep busy takes seconds to make a file durable.
const SAVE_WITHIN: Duration = Duration::from_secs(5);

/// Runs until the drain is over, an app cannot be registered, or somebody says stop.
pub(crate) async fn run(
    prepared: Prepared,
    pace: Pace,
    told: signal::Sender<Option<Ended>>,
    mut stopped: signal::Receiver<bool>,
) {
    let Prepared { hub, boot, file, in_flight, open, tls, asks } = prepared;
    let mut tasks = JoinSet::new();
    tasks.spawn_local(tend(hub.clone()));
    tasks.spawn_local(first::run(hub.clone(), asks));
    tasks.spawn_local(checks::run(hub.clone()));
    tasks.spawn_local(tls::reload(tls, hub.clock));
    for index in 0..hub.clusters.len() {
        tasks.spawn_local(with_cluster(hub.clone(), index, boot.clone(), pace));
    }
    if let Some(file) = file.clone() {
        let hub = hub.clone();
        tasks.spawn_local(async move { keep::run(&hub, &file).await });
    }
    let mut apps = JoinSet::new();
    for index in 0..hub.apps.len() {
        // Without a control plane there is nobody to register with.
        if !hub.clusters.is_empty() {
            apps.spawn_local(register::run(hub.clone(), index));
        }
    }
    let end = async {
        let ended = tokio::select! {
            forced = drain::run(&hub, &hub.drain, &*in_flight) => Some(Ended::Drained { forced }),
            Some(Ok(CannotRegister(why))) = apps.join_next() => Some(Ended::CannotRegister(why)),
            () = hub.drain.handed_over() => None,
        };
        apps.shutdown().await;
        // Nobody may open a new session behind the last words.
        tasks.shutdown().await;
        let ended = match ended {
            Some(ended) => {
                finish(&hub, file.as_ref()).await;
                ended
            }
            // Another process speaks for this host and owns its files: no last words, and the lease runs out unused.
            None => Ended::Drained { forced: drain::outlast(&hub, &hub.drain, &*open).await },
        };
        told.send_replace(Some(ended));
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = end => {}
        // Also when the handle was dropped.
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

/// The last words, each for a bounded time.
async fn finish(hub: &Rc<Hub>, file: Option<&SnapshotFile>) {
    let mut closing = JoinSet::new();
    for index in 0..hub.clusters.len() {
        let hub = hub.clone();
        closing.spawn_local(async move { session::close(&hub.clusters[index]).await });
    }
    let closed = async { while closing.join_next().await.is_some() {} };
    if tokio::time::timeout(CLOSE_WITHIN, closed).await.is_err() {
        tracing::info!("a session could not be closed in time; its lease will run out");
    }
    if let Some(file) = file
        && tokio::time::timeout(SAVE_WITHIN, keep::save(hub, file)).await.is_err()
    {
        tracing::warn!("the last snapshot could not be saved in time");
    }
    show::write(hub);
}

/// What is done with each cluster of control planes, side by side.
async fn with_cluster(hub: Rc<Hub>, index: usize, boot: Boot, pace: Pace) {
    let cluster = &hub.clusters[index];
    tokio::join!(
        session::run(&hub, cluster, &boot),
        watch::run(&hub, cluster),
        digests::run(&hub, cluster, pace),
        quotas::run(&hub, cluster)
    );
}

/// What is done anyway: the status, and held endpoints.
async fn tend(hub: Rc<Hub>) {
    let review = async {
        loop {
            let at = hub.state.borrow().wake_at();
            match at {
                Some(at) => hub.sleep_until(at).await,
                None => hub.beat(REVIEW).await,
            }
            let now = hub.clock.now();
            let ended = hub.state.borrow_mut().end_orders(now);
            if !ended.is_empty() {
                hub.publish(&ended);
            }
            hub.obey();
            let updates = hub.state.borrow_mut().review(now);
            if !updates.is_empty() {
                hub.dirty.notify_one();
            }
            hub.publish(&updates);
        }
    };
    tokio::join!(show::run(&hub), review, lost::run(&hub));
}

/// How often it is looked whether endpoints are held at all.
const REVIEW: Duration = Duration::from_secs(1);
