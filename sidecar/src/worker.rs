//! One worker: a thread, a runtime ([`start`]), and everything its requests share ([`World`]). Nothing here is locked.

mod door;
mod handshake;
mod run;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};

use api::config::LimitsConfig;
use api::{Caller, Moment, Reason, ServiceKey, Span};
use sidecar_core::bucket::Bucket;
use sidecar_core::exchange::RequestId;
use sidecar_core::flight::HostCell;
use sidecar_core::looks::Looks;
use sidecar_core::names::Names;
use sidecar_core::record::Rings;
use tokio::sync::Notify;
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender};
use tokio::task::{spawn_local, yield_now};

use crate::accept::{Listening, Way};
use crate::admin::records::WorkerAsk;
use crate::clock::{Clock, Dice, TaskClock};
use crate::crowd::Crowd;
use crate::gate::Gate;
use crate::log::AccessLog;
use crate::memory::Memory;
use crate::metrics::WorkerMeters;
use crate::pool::Pool;
use crate::proxy::Asked;
use crate::publish::{Ask, SERVICES_MAX, ServiceView, Update};
use crate::rounds::{Rounds, Sleeps};
use crate::served::Served;
use crate::shared::{SharedConns, Times};
use crate::tls::{TlsMeters, Trusts};
use crate::wheel::Wheel;

pub use run::start;

/// Records kept of requests that failed, were retried or shed, per worker: minutes of an incident.
const FAILURES_KEPT: usize = 4096;
/// Records kept of a sample of the rest, per worker.
const SAMPLES_KEPT: usize = 1024;
/// Idle connections that are closed before others have their turn: a tenth of a millisecond's work.
const CLOSED_AT_ONCE: usize = 16;

/// What is the same for every worker.
#[derive(Clone)]
pub struct Shared {
    /// The process's clock.
    pub clock: Clock,
    /// Requests in flight on this host.
    pub host: Arc<HostCell>,
    /// Whether new requests are taken.
    pub gate: Gate,
    /// Open connections of all workers.
    pub crowd: Arc<Crowd>,
    /// What the process may take.
    pub limits: LimitsConfig,
    /// How long the first call of an unknown service waits.
    pub first_call: Span,
    /// Which service a host names.
    pub names: Names,
    /// The name under which the local app calls.
    pub caller: Caller,
    /// The local apps, each as a service of one endpoint.
    pub inbound: HashMap<ServiceKey, ServiceView>,
    /// Where unknown services are asked for.
    pub asks: UnboundedSender<Ask>,
    /// The access log.
    pub log: AccessLog,
    /// Whom we trust behind endpoints with TLS.
    pub trusts: Arc<Trusts>,
    /// What is counted of handshakes.
    pub tls: Arc<TlsMeters>,
}

/// What one worker is given.
pub struct Parts {
    /// Which worker it is, from zero.
    pub index: usize,
    /// What all workers share.
    pub shared: Shared,
    /// Its own meters.
    pub meters: WorkerMeters,
    /// Its ways in.
    pub doors: Vec<Listening>,
    /// Changes of lists and plans.
    pub updates: UnboundedReceiver<Update>,
    /// Questions about its records.
    pub questions: UnboundedReceiver<WorkerAsk>,
}

/// What the requests of one worker share.
pub struct World {
    pub(crate) clock: TaskClock,
    pub(crate) dice: Dice,
    pub(crate) wheel: Rc<Wheel>,
    pub(crate) pool: Pool,
    pub(crate) shared: Rc<SharedConns>,
    pub(crate) host: Arc<HostCell>,
    pub(crate) gate: Gate,
    pub(crate) limits: LimitsConfig,
    pub(crate) first_call: Span,
    pub(crate) names: Names,
    /// The authority that was read last, and the service it names: most requests name the same one.
    named: RefCell<(String, Option<ServiceKey>)>,
    pub(crate) caller: Caller,
    /// Stands where a request named no service.
    pub(crate) nobody: ServiceKey,
    pub(crate) memory: Rc<Memory>,
    pub(crate) rounds: Rounds,
    pub(crate) looks: Looks,
    /// Nothing lies idle, and whoever looks through that waits for the next use.
    unused: Cell<bool>,
    in_use: Notify,
    pub(crate) meters: WorkerMeters,
    pub(crate) rings: RefCell<Rings>,
    pub(crate) log: AccessLog,
    pub(crate) trusts: Arc<Trusts>,
    tls: Arc<TlsMeters>,
    crowd: Arc<Crowd>,
    services: RefCell<HashMap<ServiceKey, Heard>>,
    /// The view that was asked for last, by the key that asked: a connection, and mostly a whole app, asks by the same one
    /// again.
    recent: RefCell<Option<(ServiceKey, Rc<Served>)>>,
    inbound: RefCell<HashMap<ServiceKey, Rc<Served>>>,
    asks: UnboundedSender<Ask>,
    /// Load probes that others sent here.
    pub(crate) probed: Bucket,
    /// Whom to send some.
    pub(crate) probes: Sender<Asked>,
}

/// What a worker heard of a service.
enum Heard {
    View(Rc<Served>),
    Missing(Reason),
    /// Asked for; these wait to hear.
    Asked(Vec<Waker>),
}

/// What is known of a service at this moment.
pub(crate) enum Known {
    Service(Rc<Served>),
    Missing(Reason),
    NotYet,
}

impl World {
    fn new(shared: Shared, meters: WorkerMeters, probes: Sender<Asked>, sleeps: Sleeps) -> Rc<Self> {
        let limits = shared.limits;
        let wheel = Wheel::new(shared.clock);
        let memory = Memory::new(limits.queued.as_usize());
        let served = |(service, view)| (service, Rc::new(Served::new(view, &meters)));
        let inbound = shared.inbound.into_iter().map(served).collect();
        Rc::new(Self {
            clock: TaskClock::new(shared.clock),
            dice: Dice::seeded(shared.clock),
            pool: Pool::new(&limits),
            shared: SharedConns::new(
                Rc::clone(&wheel),
                shared.clock,
                limits.pool as usize,
                Times::of(limits.pool_idle.duration()),
            ),
            wheel,
            host: shared.host,
            gate: shared.gate,
            limits,
            first_call: shared.first_call,
            names: shared.names,
            named: RefCell::default(),
            caller: shared.caller,
            nobody: ServiceKey::unnamed(),
            memory,
            rounds: Rounds::new(sleeps),
            looks: Looks::default(),
            unused: Cell::new(false),
            in_use: Notify::new(),
            meters,
            rings: RefCell::new(Rings::new(FAILURES_KEPT, SAMPLES_KEPT)),
            log: shared.log,
            trusts: shared.trusts,
            tls: shared.tls,
            crowd: shared.crowd,
            services: RefCell::default(),
            recent: RefCell::default(),
            inbound: RefCell::new(inbound),
            asks: shared.asks,
            probed: Bucket::default(),
            probes,
        })
    }

    /// Whether connections should end after their current request.
    pub(crate) fn closing(&self) -> bool {
        self.gate.closing()
    }

    /// The service that `authority` names; see [`Names::service`].
    pub(crate) fn service_of(&self, authority: &str) -> Option<ServiceKey> {
        let mut named = self.named.borrow_mut();
        if named.0 != authority || named.1.is_none() {
            let service = self.names.service(authority)?;
            // What names a service is short: nothing a client makes up is kept.
            named.0.clear();
            named.0.push_str(authority);
            named.1 = Some(service);
        }
        named.1.clone()
    }

    /// An id for a request that arrives now and brings none.
    pub(crate) fn new_id(&self, arrived: Moment) -> RequestId {
        // Two of one millisecond are told apart by 62 bits: one throw is enough for all of them.
        let dice = u128::from(self.dice.draw());
        RequestId::mint(self.clock.wall(arrived), dice << 64 | dice)
    }

    /// The view of `service` when it is at hand.
    pub(crate) fn at_hand(&self, way: &Way, service: &ServiceKey) -> Option<Rc<Served>> {
        if let Way::Inbound(_) = way {
            return self.inbound.borrow().get(service).cloned();
        }
        let mut recent = self.recent.borrow_mut();
        if let Some((_, view)) = recent.as_ref().filter(|(key, _)| key == service) {
            return Some(Rc::clone(view));
        }
        match self.services.borrow().get(service) {
            Some(Heard::View(view)) => {
                *recent = Some((service.clone(), Rc::clone(view)));
                Some(Rc::clone(view))
            }
            _ => None,
        }
    }

    /// What is known of `service`; asks for it when it is nothing, and then wakes `cx` once it is something.
    pub(crate) fn known(&self, way: &Way, service: &ServiceKey, cx: &Context<'_>) -> Known {
        if let Way::Inbound(_) = way {
            let view = self.inbound.borrow().get(service).cloned();
            return view.map_or(Known::Missing(Reason::NoEndpoint), Known::Service);
        }
        let mut services = self.services.borrow_mut();
        let full = services.len() >= SERVICES_MAX;
        match services.get_mut(service) {
            Some(Heard::View(view)) => Known::Service(Rc::clone(view)),
            Some(Heard::Missing(reason)) => Known::Missing(*reason),
            Some(Heard::Asked(waiting)) => {
                waiting.push(cx.waker().clone());
                Known::NotYet
            }
            // Whoever sends may invent names; only so many are asked for.
            None if full => Known::Missing(Reason::NoSuchService),
            None => {
                services.insert(service.clone(), Heard::Asked(vec![cx.waker().clone()]));
                // The control thread outlives the workers; at the very end nobody needs the answer.
                _ = self.asks.send(Ask::Service(service.clone()));
                Known::NotYet
            }
        }
    }

    /// The newest view of the service that `view` shows: a retry should not choose from an old list.
    pub(crate) fn latest(&self, way: &Way, view: &Rc<Served>) -> Rc<Served> {
        if self.recent.borrow().as_ref().is_some_and(|(_, recent)| Rc::ptr_eq(recent, view)) {
            return Rc::clone(view);
        }
        self.at_hand(way, &view.key).unwrap_or_else(|| Rc::clone(view))
    }

    fn hear(self: &Rc<Self>, update: Update) {
        let (service, heard) = match update {
            Update::Service(view) => {
                (view.key.clone(), Heard::View(Rc::new(Served::new(view, &self.meters))))
            }
            Update::Inbound(view) => {
                let served = Served::new(view, &self.meters);
                self.inbound.borrow_mut().insert(served.key.clone(), Rc::new(served));
                return;
            }
            Update::Gone(gone) => {
                spawn_local(Rc::clone(self).let_go(gone));
                return;
            }
            Update::Missing { service, reason } => (service, Heard::Missing(reason)),
        };
        self.recent.take();
        if let Some(Heard::Asked(waiting)) = self.services.borrow_mut().insert(service, heard) {
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Closes what is idle towards `gone`, a few at a time: to close a thousand takes milliseconds. A host that another
    /// service still lists is dialled again: rarer than changes, which must not cost a look at every list.
    async fn let_go(self: Rc<Self>, gone: Arc<[SocketAddr]>) {
        let is_gone = |address: &SocketAddr| gone.binary_search(address).is_ok();
        self.shared.let_go(is_gone);
        let mut idle = self.pool.let_go(is_gone);
        while !idle.is_empty() {
            idle.truncate(idle.len().saturating_sub(CLOSED_AT_ONCE));
            yield_now().await;
        }
    }

    /// Closes what has been idle for too long; whether there may be something to close the next time.
    fn sweep(&self) -> bool {
        let now = self.clock.now();
        self.pool.sweep(now);
        self.shared.sweep(now);
        self.meters.idle_connections(self.pool.idle());
        self.meters.memory(&self.memory);
        self.pool.idle() > 0 || !self.shared.is_empty() || self.host.in_flight() > 0
    }

    /// Ready once something may lie idle again.
    async fn used(&self) {
        self.unused.set(true);
        self.in_use.notified().await;
    }

    /// Something may lie idle from now on.
    pub(crate) fn in_use(&self) {
        if self.unused.take() {
            self.in_use.notify_one();
        }
    }

    /// A client's task has its turn, as the first of its round: who would wake for nobody sleeps on.
    pub(crate) fn pass_by(&self) {
        self.wheel.pass_by(self.clock.now());
        self.in_use();
    }
}
