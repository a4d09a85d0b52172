//! Ten thousand held watches: what they weigh, how soon a change is everywhere, what a storm of changes does to them.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinHandle;

use super::flap::{Changer, probe, storm};
use super::fleet::{PER_HOST, instance};
use super::forecast::{Forecast, spread};
use super::process::{processor, resident};
use super::watchers::{Board, PROBES, follow, percentile};

/// Nobody waits longer for watchers to come, to hear, to agree.
const PATIENCE: Duration = Duration::from_secs(120);

/// Digests asked for in one request.
const DIGESTS_AT_ONCE: usize = 1_000;

/// Changes of the hot service that are timed, one at a time.
const CHANGES: usize = 5;

/// A pair of probes, one that leaves and one that comes, is sent this often during a storm.
const PROBE_EVERY: Duration = Duration::from_millis(2_500);

/// What a held watch weighs, and how soon it hears.
#[derive(Debug, Serialize)]
pub struct Held {
    watches: usize,
    /// Bytes resident for each.
    each: u64,
    /// How long it took until all were held.
    seconds: f64,
    refused: BTreeMap<String, u64>,
    refused_without_time: u64,
    /// Connections that broke before an answer.
    cut: u64,
    /// For each of some changes of the hot service: until half and 99 % of the watchers heard of it.
    changes: Vec<(f64, f64)>,
    forecasts: Vec<Forecast>,
    /// Lists that came whole where a difference would do.
    whole: u64,
    bytes_each: u64,
}

/// What a storm did.
#[derive(Debug, Serialize)]
pub struct Storm {
    changes: u64,
    seconds: f64,
    lines: u64,
    whole: u64,
    bytes: u64,
    busiest_second: u64,
    ended: u64,
    /// Watchers that heard nothing of the hot service for the worst time, and that time; then its 99th percentile.
    oldest: (f64, f64),
    /// Until half and 99 % heard of a removal, of an addition made at the same time; worst pair.
    removals: Vec<(f64, f64)>,
    additions: Vec<(f64, f64)>,
    /// From the last change until every watcher held what the control plane says.
    settled: Option<f64>,
    processor: f64,
}

/// The watchers of one bench and where they come from.
pub struct Watching {
    pub(super) to: SocketAddr,
    pid: u32,
    pub(super) sessions: Rc<Vec<String>>,
    /// What they heard.
    pub board: Rc<RefCell<Board>>,
    probes: String,
    changer: Changer,
    removed: u16,
    following: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Watching {
    /// Nobody watches yet.
    ///
    /// # Errors
    /// When the control plane does not answer.
    pub async fn new(
        to: SocketAddr,
        pid: u32,
        sessions: Vec<String>,
        watchers: usize,
    ) -> std::io::Result<Self> {
        let board = Rc::new(RefCell::new(Board::new(watchers)));
        let mut changer = Changer::new(to, 0, Rc::clone(&board)).await?;
        let probes = changer.open_probes(200).await?;
        Ok(Self {
            to,
            pid,
            sessions: Rc::new(sessions),
            board,
            probes,
            changer,
            removed: 0,
            following: Vec::new(),
        })
    }

    /// What the control plane says is what every watcher holds.
    async fn learn(&mut self) -> std::io::Result<()> {
        let followed: BTreeSet<String> =
            self.board.borrow().holds.iter().flat_map(|held| held.keys().cloned()).collect();
        let mut said = BTreeMap::new();
        for some in followed.into_iter().collect::<Vec<_>>().chunks(DIGESTS_AT_ONCE) {
            said.append(&mut self.changer.digests(some).await?);
        }
        for held in &mut self.board.borrow_mut().holds {
            for (service, copy) in held {
                said.get(service).cloned().unwrap_or_default().clone_into(&mut copy.digest);
            }
        }
        Ok(())
    }

    /// Everybody comes within `span`, each with what it holds.
    ///
    /// # Errors
    /// When not all are held in time.
    pub async fn come(&mut self, span: Duration) -> std::io::Result<f64> {
        let (began, watchers) = (Instant::now(), self.board.borrow().holds.len());
        for id in 0..watchers {
            let due = span.mul_f64(id as f64 / watchers as f64);
            tokio::time::sleep_until((began + due).into()).await;
            let following = follow(self.to, id, Rc::clone(&self.board));
            // A watch that cannot be held is missing when they are counted.
            self.following.push(tokio::task::spawn_local(following));
        }
        self.until("every watch is held", |board| board.connected == watchers).await?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// Everybody's connection ends at once.
    pub fn leave(&mut self) {
        self.following.drain(..).for_each(|following| following.abort());
        self.board.borrow_mut().connected = 0;
    }

    async fn until(&self, what: &str, so: impl Fn(&Board) -> bool) -> std::io::Result<f64> {
        let began = Instant::now();
        while !so(&self.board.borrow()) {
            if began.elapsed() > PATIENCE {
                let Board { connected, ended, .. } = &*self.board.borrow();
                let why = format!("in vain: {what}; {connected} are held, {ended} ended");
                return Err(std::io::Error::other(why));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(began.elapsed().as_secs_f64())
    }

    /// Waits until so many heard of a change of the hot service; how old the oldest was that each heard of.
    pub(super) async fn all_heard_of_hot(&mut self, watches: usize) -> std::io::Result<Vec<Duration>> {
        let heard = |board: &Board| board.ages.get("hot").map_or(0, Vec::len) >= watches;
        self.until("everybody hears of a change", heard).await?;
        Ok(self.board.borrow_mut().ages.remove("hot").unwrap_or_default())
    }

    /// Holds all watches and times changes of the hot service.
    ///
    /// # Errors
    /// When the control plane refuses what it may not.
    pub async fn hold(&mut self) -> std::io::Result<Held> {
        while self.changer.warming().await? {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        self.learn().await?;
        let before = resident(self.pid)?;
        let seconds = self.come(Duration::from_secs(5)).await?;
        let watches = self.board.borrow().connected;
        self.agree(&["hot".into(), PROBES[0].into()]).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let each = resident(self.pid)?.saturating_sub(before) / watches as u64;
        let (refused, refused_without_time, cut) = {
            let board = self.board.borrow();
            (board.refused.clone(), board.refused_without_time, board.cut)
        };
        self.board.borrow_mut().clear();
        let (mut changes, mut forecasts) = (Vec::new(), Vec::new());
        for number in 0..CHANGES {
            let session = self.sessions[number / PER_HOST].clone();
            let mut changed = instance(number)?;
            changed.weight = 50;
            self.changer.change(&session, &changed, true).await?;
            let mut ages = self.all_heard_of_hot(watches).await?;
            changes.push((percentile(&mut ages, 0.5), percentile(&mut ages, 0.99)));
            forecasts.push(Forecast::of(&mut self.changer, "hot", spread(&mut ages)).await?);
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        let board = self.board.borrow();
        let bytes_each = board.bytes.iter().sum::<u64>() / (watches * CHANGES) as u64;
        Ok(Held {
            watches,
            each,
            seconds,
            refused,
            refused_without_time,
            cut,
            changes,
            forecasts,
            whole: board.whole,
            bytes_each,
        })
    }

    /// `rate` changes a second for `span` while everybody listens.
    ///
    /// # Errors
    /// When a change is refused.
    pub async fn storm(&mut self, rate: u64, span: Duration) -> std::io::Result<Storm> {
        self.board.borrow_mut().clear();
        let (began, before) = (Instant::now(), processor(self.pid)?);
        let (to, sessions, board) = (self.to, Rc::clone(&self.sessions), Rc::clone(&self.board));
        let blowing = tokio::task::spawn_local(async move { storm(to, &sessions, &board, rate, span).await });
        while began.elapsed() + PROBE_EVERY < span {
            tokio::time::sleep(PROBE_EVERY).await;
            self.probe().await?;
        }
        let changes = blowing.await??;
        let seconds = began.elapsed().as_secs_f64();
        let settled = self.agree(&["hot".into(), PROBES[0].into(), PROBES[1].into()]).await.ok();
        let used = processor(self.pid)?.saturating_sub(before);
        let mut board = self.board.borrow_mut();
        let mut hot = board.ages.remove("hot").unwrap_or_default();
        let of = |service: &str| {
            let mut ages = board.ages.remove(service).unwrap_or_default();
            let each = ages.chunks_mut(board.holds.len());
            each.map(|ages| (percentile(ages, 0.5), percentile(ages, 0.99))).collect()
        };
        let [removals, additions] = PROBES.map(of);
        Ok(Storm {
            changes,
            seconds,
            lines: board.lines,
            whole: board.whole,
            bytes: board.bytes.iter().sum(),
            busiest_second: board.busiest_second(),
            ended: board.ended,
            oldest: (percentile(&mut hot, 1.0), percentile(&mut hot, 0.99)),
            removals,
            additions,
            settled,
            processor: used.as_secs_f64(),
        })
    }

    /// One probe comes, and then one leaves: the one that came later may be told first.
    async fn probe(&mut self) -> std::io::Result<()> {
        let number = self.removed;
        self.removed += 1;
        let comes = probe(PROBES[1], number)?;
        self.changer.change(&self.probes, &comes, true).await?;
        let leaves = probe(PROBES[0], number)?;
        self.changer.change(&self.probes, &leaves, false).await
    }

    /// Waits until every watcher holds what the control plane lists of `services`.
    ///
    /// # Errors
    /// When they do not agree in time.
    pub async fn agree(&mut self, services: &[String]) -> std::io::Result<f64> {
        let began = Instant::now();
        for service in services {
            let digest = self.changer.list(service).await?.digest.to_string();
            let empty = digest.trim_matches('0').is_empty();
            let all = self.board.borrow().holds.len();
            let agree = |board: &Board| empty || board.holding(service, &digest) == all;
            self.until(&format!("all hold {service} at {digest}"), agree).await?;
        }
        Ok(began.elapsed().as_secs_f64())
    }
}
