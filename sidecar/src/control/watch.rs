//! The watch: news as they happen, applied before they are acknowledged.
//!
//! Opened with the digests of what is held, so that only what differs travels. When it breaks, what is known
//! stays in use and the next one continues from there.

use std::time::Duration;

use api::Span;
use api::message::{News, Watch, WatchMode};
use sidecar_core::heart::Reconnect;

use super::cluster::Cluster;
use super::hub::Hub;
use super::lines::Lines;
use super::way::Way;
use super::wire::Trouble;

/// The control plane pings every 10 s; three missed and the stream is dead, whatever TCP says.
const SILENCE: Duration = Duration::from_secs(30);
/// Changes of what is watched are gathered for this long, so that a burst of first calls opens one watch.
const GATHER: Duration = Duration::from_millis(100);
/// Polls that bring nothing new are this far apart at least.
const POLL_REST: Duration = Duration::from_millis(500);

/// A poll that asks whether somebody is there again is held for this, a control plane's least: the session waits to hear.
const BACK: Span = Span::secs(1);

/// Watches for as long as the process lives.
pub(crate) async fn run(hub: &Hub, cluster: &Cluster) {
    let client = &cluster.client;
    let (mut way, mut reconnect) = (Way::default(), client.reconnect());
    loop {
        let mode = way.ask(hub.clock.now());
        let trouble = match mode {
            WatchMode::Stream => stream(hub, cluster, &mut way, &mut reconnect).await,
            WatchMode::Poll => poll(hub, cluster, &mut reconnect).await,
        };
        match trouble {
            Ok(()) => tokio::time::sleep(GATHER).await,
            Err(why) => {
                hub.connected(cluster, false, word(mode), &why.to_string());
                hub.sleep_until(client.failed(&mut reconnect, &why)).await;
            }
        }
    }
}

/// One held stream; `Ok` when it must be opened anew.
async fn stream(
    hub: &Hub,
    cluster: &Cluster,
    way: &mut Way,
    reconnect: &mut Reconnect,
) -> Result<(), Trouble> {
    let client = &cluster.client;
    let mut lines = match client.watch(&hub.watch(cluster, WatchMode::Stream)).await {
        Ok(lines) => lines,
        Err(why) => {
            if why.is_final() {
                way.tell_ended(hub.clock.now(), 0);
            }
            return Err(why);
        }
    };
    let url = client.url().authority.clone();
    hub.connected(cluster, true, word(WatchMode::Stream), "");
    let mut count = 0;
    let ended = loop {
        tokio::select! {
            () = cluster.rewatch.notified() => return Ok(()),
            line = next(&mut lines) => match line {
                Ok(news) => {
                    count += 1;
                    // Only what says something has opened: a gateway may answer and stay dumb.
                    reconnect.tell_opened();
                    heard(hub, cluster, news);
                }
                Err(why) => break why,
            },
        }
    };
    way.tell_ended(hub.clock.now(), count);
    Err(Trouble::Foreign { url, why: ended })
}

async fn next(lines: &mut Lines) -> Result<Result<News, String>, String> {
    match tokio::time::timeout(SILENCE, lines.next()).await {
        Ok(line) => line.map_err(|cut| cut.to_string()),
        Err(_) => Err(format!("the held stream was silent for {SILENCE:?}")),
    }
}

fn heard(hub: &Hub, cluster: &Cluster, news: Result<News, String>) {
    match news {
        Ok(news) => hub.hear(cluster, &news),
        Err(why) => {
            tracing::warn!(why, "a piece of news cannot be read; the digest check will find what it said");
            cluster.control.borrow_mut().unreadable += 1;
        }
    }
}

/// One long poll.
async fn poll(hub: &Hub, cluster: &Cluster, reconnect: &mut Reconnect) -> Result<(), Trouble> {
    let watch = hub.watch(cluster, WatchMode::Poll);
    let hold = if cluster.control.borrow().connected { watch.hold } else { BACK };
    let asked = Watch { hold, ..watch.clone() };
    let news = tokio::select! {
        () = cluster.rewatch.notified() => return Ok(()),
        news = cluster.client.poll(&asked) => news?,
    };
    reconnect.tell_opened();
    hub.connected(cluster, true, word(WatchMode::Poll), "");
    news.iter().for_each(|news| hub.hear(cluster, news));
    if hub.watch(cluster, WatchMode::Poll) == watch {
        tokio::time::sleep(POLL_REST).await;
    }
    Ok(())
}

fn word(mode: WatchMode) -> &'static str {
    match mode {
        WatchMode::Stream => "stream",
        WatchMode::Poll => "poll",
    }
}
