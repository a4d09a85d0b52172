//! Held watches: who follows what, and what each heard of which change, and when.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::wire::{Answer, Client, request};

/// Services that one host calls, the hot one among them.
pub const FOLLOWS: usize = 20;

/// Services of ten: who follows which of them is spread over all.
const OTHERS: usize = 9_900;

/// What everybody follows besides.
pub const PROBES: [&str; 2] = ["probe-removed", "probe-added"];

/// Bytes are counted in slots of this length.
pub const SLOT: Duration = Duration::from_millis(100);

/// What one watcher holds of one service.
#[derive(Clone, Debug, Default)]
pub struct Copy {
    pub(crate) digest: String,
    pub(crate) revision: u64,
}

/// What all watchers heard.
#[derive(Debug, Default)]
pub struct Board {
    /// When each service changed, the change to revision `first + n` at `n`.
    pub(crate) changes: BTreeMap<String, (u64, Vec<Instant>)>,
    /// What each watcher holds.
    pub(crate) holds: Vec<BTreeMap<String, Copy>>,
    /// How old the oldest change was when a watcher heard of it, by service.
    pub(crate) ages: BTreeMap<String, Vec<Duration>>,
    pub(crate) lines: u64,
    /// Lists that came whole.
    pub(crate) whole: u64,
    pub(crate) bytes: Vec<u64>,
    pub(crate) connected: usize,
    /// Told to come back: how often in which words, and how often without saying when.
    pub(crate) refused: BTreeMap<String, u64>,
    pub(crate) refused_without_time: u64,
    /// Connections that broke before an answer.
    pub(crate) cut: u64,
    /// Watches that ended while they were held.
    pub(crate) ended: u64,
    began: Option<Instant>,
}

impl Board {
    /// A board for `watchers`.
    pub fn new(watchers: usize) -> Self {
        let holds = (0..watchers).map(|id| follows(id).map(|s| (s, Copy::default())).collect()).collect();
        Self { holds, began: Some(Instant::now()), ..Self::default() }
    }

    /// Forgets what was counted, not what is held.
    pub fn clear(&mut self) {
        let holds = std::mem::take(&mut self.holds);
        *self = Self { holds, connected: self.connected, began: Some(Instant::now()), ..Self::default() };
    }

    /// `service`, at `revision` until now, changes from now on.
    pub fn will_change(&mut self, service: &str, revision: u64) {
        self.changes.entry(service.to_owned()).or_insert((revision + 1, Vec::new()));
    }

    /// The next change of `service` is made now. Who listens may hear of it before its maker is answered.
    pub fn changed(&mut self, service: &str) {
        if let Some((_, at)) = self.changes.get_mut(service) {
            at.push(Instant::now());
        }
    }

    fn took(&mut self, bytes: usize) {
        let Some(began) = self.began else { return };
        let slot = (began.elapsed().as_millis() / SLOT.as_millis()) as usize;
        if self.bytes.len() <= slot {
            self.bytes.resize(slot + 1, 0);
        }
        self.bytes[slot] += bytes as u64;
    }

    /// Watcher `id` heard `line`. Returns whether it is a list.
    fn hear(&mut self, id: usize, line: &str) -> bool {
        let Some(service) = word(line, r#""kind":"list","service":""#) else { return false };
        let Some(copy) = self.holds[id].get_mut(service) else { return false };
        self.lines += 1;
        // What names no base is whole, unless it says that it only adds.
        let based = word(line, r#""base":""#).is_some_and(|base| !base.trim_matches('0').is_empty());
        self.whole += u64::from(!based && line.contains(r#""complete":true"#));
        let number = line.split_once(r#""revision":"#).and_then(|(_, rest)| rest.split(',').next());
        let revision = number.and_then(|number| number.parse().ok()).unwrap_or(0);
        if let Some((first, at)) = self.changes.get(service) {
            let oldest = (copy.revision + 1).saturating_sub(*first) as usize;
            if revision > copy.revision
                && let Some(at) = at.get(oldest)
            {
                let age = at.elapsed();
                match self.ages.get_mut(service) {
                    Some(ages) => ages.push(age),
                    None => drop(self.ages.insert(service.to_owned(), vec![age])),
                }
            }
        }
        copy.revision = revision;
        word(line, r#""digest":""#).unwrap_or_default().clone_into(&mut copy.digest);
        true
    }

    /// The busiest second's bytes.
    pub fn busiest_second(&self) -> u64 {
        let second = (1_000 / SLOT.as_millis()) as usize;
        self.bytes.windows(second).map(|slots| slots.iter().sum()).max().unwrap_or(self.bytes.iter().sum())
    }

    /// How many watchers hold `digest` of `service`.
    pub fn holding(&self, service: &str, digest: &str) -> usize {
        self.holds.iter().filter(|held| held.get(service).is_some_and(|copy| copy.digest == digest)).count()
    }
}

/// The text behind `before` up to the next quote.
fn word<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    line.split_once(before)?.1.split('"').next()
}

/// What watcher `id` follows.
fn follows(id: usize) -> impl Iterator<Item = String> {
    let others = (0..FOLLOWS - 1).map(move |n| format!("service-{}", (id * 7 + n * 521) % OTHERS));
    others.chain(["hot".to_owned()]).chain(PROBES.map(str::to_owned))
}

/// The percentile of `ages`.
pub fn percentile(ages: &mut [Duration], share: f64) -> f64 {
    ages.sort_unstable();
    let at = (ages.len() as f64 * share).ceil() as usize;
    ages.get(at.saturating_sub(1)).map_or(0.0, Duration::as_secs_f64)
}

/// Watcher `id` comes, and again while it is told to come later; then it listens until its watch ends.
///
/// # Errors
/// When the control plane answers what nobody may answer.
pub async fn follow(to: SocketAddr, id: usize, board: Rc<RefCell<Board>>) -> std::io::Result<()> {
    loop {
        let Ok((client, answer)) = knock(to, id, &board).await else {
            board.borrow_mut().cut += 1;
            tokio::time::sleep(Duration::from_secs(1)).await;
            continue;
        };
        match (answer.status, answer.retry_after) {
            (200, _) => {
                listen(client, id, &board).await;
                return Ok(());
            }
            (503, after) => {
                let mut board = board.borrow_mut();
                let why = String::from_utf8_lossy(&answer.body);
                let title = word(&why, r#""title":""#).unwrap_or("no title").to_owned();
                *board.refused.entry(title).or_default() += 1;
                board.refused_without_time += u64::from(after.is_none());
            }
            _ => return Err(super::fleet::refused("watch", &answer)),
        }
        drop(client);
        tokio::time::sleep(answer.retry_after.unwrap_or(Duration::from_secs(1))).await;
    }
}

async fn knock(to: SocketAddr, id: usize, board: &RefCell<Board>) -> std::io::Result<(Client, Answer)> {
    let mut client = Client::connect(to, id).await?;
    let asked = asks(&board.borrow(), id);
    client.socket.write_all(&asked).await?;
    let (mut answer, length) = client.head().await?;
    if answer.status != 200 {
        client.body(&mut answer, length).await?;
    }
    Ok((client, answer))
}

fn asks(board: &Board, id: usize) -> Vec<u8> {
    let empty = "0".repeat(32);
    let held = board.holds[id].iter().map(|(service, copy)| {
        let digest = if copy.digest.is_empty() { &empty } else { &copy.digest };
        format!(r#""{service}":"{digest}""#)
    });
    let lists = held.collect::<Vec<_>>().join(",");
    request("POST", "/v1/watch", &format!(r#"{{"node":"node-{id}","lists":{{{lists}}},"mode":"stream"}}"#))
}

async fn listen(mut client: Client, id: usize, board: &RefCell<Board>) {
    board.borrow_mut().connected += 1;
    loop {
        let mut used = 0;
        while let Some(end) = client.rest[used..].iter().position(|byte| *byte == b'\n') {
            let line = &client.rest[used..used + end];
            used += end + 1;
            // Lines that begin otherwise are the framing of chunks (RFC 9112 §7.1).
            if line.first() == Some(&b'{') {
                board.borrow_mut().hear(id, &String::from_utf8_lossy(line));
            }
        }
        client.rest.drain(..used);
        if client.rest.is_empty() {
            // Ten thousand buffers of what once was a long list would be the bench's own memory.
            client.rest = Vec::new();
        }
        // A connection that breaks is a watch that ended, and is counted as one.
        let read = client.socket.read_buf(&mut client.rest).await.unwrap_or(0);
        let mut board = board.borrow_mut();
        board.took(read);
        if read == 0 {
            board.connected -= 1;
            board.ended += 1;
            return;
        }
    }
}
