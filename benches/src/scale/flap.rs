//! Instances that leave and come back, so many a second.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use api::message::{Deregister, OpenSession, SessionOpened};
use api::{Cause, Instance, List};

use super::fleet::{HOT, PER_HOST, instance, refused};
use super::forecast::Push;
use super::watchers::{Board, PROBES};
use super::wire::{Answer, Client, request};

/// An instance that left comes back after this long.
const AWAY: Duration = Duration::from_secs(1);

/// Connections over which changes are made: while one waits for its answer, the others go on.
const LANES: usize = 32;

/// One of so many changes is of the hot service.
const HOT_ONE_IN: u64 = 2;

/// Removes and adds, over one connection.
pub struct Changer {
    to: SocketAddr,
    lane: usize,
    client: Client,
    board: Rc<RefCell<Board>>,
    known: BTreeSet<String>,
}

impl Changer {
    /// Changes that `board` is told of.
    ///
    /// # Errors
    /// When the control plane takes no connection.
    pub async fn new(to: SocketAddr, lane: usize, board: Rc<RefCell<Board>>) -> std::io::Result<Self> {
        Ok(Self { to, lane, client: Client::connect(to, lane).await?, board, known: BTreeSet::new() })
    }

    /// Asks, over a new connection when the control plane closed the one that lay idle.
    async fn ask(&mut self, asked: &[u8]) -> std::io::Result<Answer> {
        if let Ok(answer) = self.client.ask(asked).await {
            return Ok(answer);
        }
        self.client = Client::connect(self.to, self.lane).await?;
        self.client.ask(asked).await
    }

    /// Takes `instance` out, or puts it in.
    ///
    /// # Errors
    /// When that is refused.
    pub async fn change(&mut self, session: &str, instance: &Instance, there: bool) -> std::io::Result<()> {
        let service = instance.key.service.to_string();
        if self.known.insert(service.clone()) {
            let list = self.list(&service).await?;
            self.board.borrow_mut().will_change(&service, list.revision);
        }
        let path = format!("/v1/sessions/{session}/instances");
        let (method, body) = match there {
            true => ("PUT", serde_json::to_string(instance)?),
            false => {
                let out = Deregister { key: instance.key.clone(), cause: Cause::Deregistered };
                ("DELETE", serde_json::to_string(&out)?)
            }
        };
        self.board.borrow_mut().changed(&service);
        let answer = self.ask(&request(method, &path, &body)).await?;
        match answer.status {
            200..=299 => Ok(()),
            _ => Err(refused(method, &answer)),
        }
    }

    /// What the control plane lists of `service`.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn list(&mut self, service: &str) -> std::io::Result<List> {
        let asked = request("GET", &format!("/v1/namespaces/default/services/{service}/instances"), "");
        let answer = self.ask(&asked).await?;
        match answer.status {
            200 => Ok(serde_json::from_slice(&answer.body)?),
            404 => Ok(List::empty(service.parse().map_err(std::io::Error::other)?)),
            _ => Err(refused("query", &answer)),
        }
    }

    /// Pushes to many watchers, the latest first.
    ///
    /// # Errors
    /// When the control plane does not say.
    pub(crate) async fn pushes(&mut self) -> std::io::Result<Vec<Push>> {
        let answer = self.ask(&request("GET", "/v1/pushes", "")).await?;
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Whether answers may still be incomplete: lists only grow until a control plane has heard from everybody.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn warming(&mut self) -> std::io::Result<bool> {
        let answer = self.ask(&request("GET", "/readyz?verbose", "")).await?;
        Ok(!String::from_utf8_lossy(&answer.body).contains("warming false"))
    }

    /// What the control plane says of `services`.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn digests(&mut self, services: &[String]) -> std::io::Result<BTreeMap<String, String>> {
        let asked = serde_json::json!({ "lists": services }).to_string();
        let answer = self.ask(&request("POST", "/v1/digests", &asked)).await?;
        let told: serde_json::Value = serde_json::from_slice(&answer.body)?;
        let words = told["lists"].as_object().into_iter().flatten();
        Ok(words.filter_map(|(key, digest)| Some((key.clone(), digest.as_str()?.to_owned()))).collect())
    }

    /// Opens the session that the probes' instances belong to.
    ///
    /// # Errors
    /// When it is not opened.
    pub async fn open_probes(&mut self, probes: u16) -> std::io::Result<String> {
        let instances = (0..probes).map(|number| probe(PROBES[0], number)).collect::<Result<Vec<_>, _>>()?;
        let node = "probes".parse().map_err(std::io::Error::other)?;
        let (boot, capabilities) = ("probes".into(), api::Policy::capabilities());
        let open = OpenSession { node, boot, epoch: 1, capabilities, instances };
        let answer =
            self.client.ask(&request("POST", "/v1/sessions", &serde_json::to_string(&open)?)).await?;
        match answer.status {
            200 | 201 => Ok(serde_json::from_slice::<SessionOpened>(&answer.body)?.session),
            _ => Err(refused("open the probes' session", &answer)),
        }
    }
}

/// Probe `number` of `service`.
///
/// # Errors
/// When a name of ours is none.
pub fn probe(service: &str, number: u16) -> std::io::Result<Instance> {
    let service = service.parse().map_err(std::io::Error::other)?;
    Ok(Instance::at(service, ([10, 255, 0, 1], 1_000 + number).into()))
}

/// `rate` changes a second for `span`, half of them departures; returns how many were made.
///
/// # Errors
/// When one is refused.
pub async fn storm(
    to: SocketAddr,
    sessions: &Rc<Vec<String>>,
    board: &Rc<RefCell<Board>>,
    rate: u64,
    span: Duration,
) -> std::io::Result<u64> {
    let began = Instant::now();
    let all = sessions.len() * PER_HOST;
    let every = Duration::from_secs_f64(2.0 * LANES as f64 / rate as f64);
    let mut lanes = Vec::new();
    for lane in 0..LANES {
        let (sessions, board) = (Rc::clone(sessions), Rc::clone(board));
        lanes.push(tokio::task::spawn_local(async move {
            let mut changer = Changer::new(to, lane, board).await?;
            let (mut away, mut made, mut dice) = (VecDeque::new(), 0, lane as u64);
            let mut tick = tokio::time::interval(every);
            // What an instance says must come in order: each lane has instances of its own.
            while began.elapsed() < span || !away.is_empty() {
                tick.tick().await;
                if began.elapsed() < span {
                    dice =
                        dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let roll = dice >> 33;
                    let within = if roll.is_multiple_of(HOT_ONE_IN) { HOT } else { all };
                    let number = (roll / HOT_ONE_IN) as usize % (within / LANES) * LANES + lane;
                    if away.iter().all(|(_, gone)| *gone != number) {
                        changer.change(&sessions[number / PER_HOST], &instance(number)?, false).await?;
                        away.push_back((Instant::now() + AWAY, number));
                        made += 1;
                    }
                }
                while away.front().is_some_and(|(back, _)| *back <= Instant::now() || began.elapsed() >= span)
                {
                    let Some((_, number)) = away.pop_front() else { break };
                    changer.change(&sessions[number / PER_HOST], &instance(number)?, true).await?;
                    made += 1;
                }
            }
            Ok::<u64, std::io::Error>(made)
        }));
    }
    let mut made = 0;
    for lane in lanes {
        made += lane.await??;
    }
    Ok(made)
}
