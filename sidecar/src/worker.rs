//! One worker: a thread, a runtime, and everything its requests share. Nothing here is locked.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use api::config::LimitsConfig;
use api::{Caller, Reason, ServiceKey, Span};
use rustls::ProtocolVersion;
use sidecar_core::bucket::Bucket;
use sidecar_core::flight::HostCell;
use sidecar_core::names::Names;
use sidecar_core::record::Rings;
use sidecar_core::scratch::Scratch;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::mpsc::{Sender, UnboundedReceiver, UnboundedSender, channel};
use tokio::task::{spawn_local, yield_now};

use crate::accept::{ACCEPT_REST, Door, Listening, Way};
use crate::admin::records::WorkerAsk;
use crate::clock::{Clock, Dice, TaskClock};
use crate::crowd::Crowd;
use crate::gate::Gate;
use crate::log::AccessLog;
use crate::memory::Memory;
use crate::metrics::WorkerMeters;
use crate::pool::Pool;
use crate::proxy::{self, Asked, Lines, Work};
use crate::publish::{Ask, SERVICES_MAX, ServiceView, Update};
use crate::rooms::Rooms;
use crate::rounds::{Rounds, Sleeps};
use crate::served::Served;
use crate::shared::{SharedConns, Times};
use crate::tls::{Shown, TlsMeters, Trusts};
use crate::wheel::Wheel;
use crate::wire::{Flight, Secured, h1};

/// Records kept of requests that failed, were retried or shed, per worker: minutes of an incident.
const FAILURES_KEPT: usize = 4096;
/// Records kept of a sample of the rest, per worker.
const SAMPLES_KEPT: usize = 1024;
/// How often idle connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);
/// Idle connections that are closed before others have their turn: a tenth of a millisecond's work.
const CLOSED_AT_ONCE: usize = 16;
/// Scratch records kept for reuse.
const SCRATCHES_KEPT: usize = 256;

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
    rooms: Rooms,
    /// Where requests wait for a place at a local app: who waits for other hosts of its service does not stand before them.
    rooms_before_apps: Rooms,
    pub(crate) rounds: Rounds,
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
    #[expect(
        clippy::vec_box,
        reason = "a scratch record is lent by its box; moving one would copy a kilobyte"
    )]
    scratches: RefCell<Vec<Box<Scratch>>>,
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
            rooms: Rooms::default(),
            rooms_before_apps: Rooms::default(),
            rounds: Rounds::new(sleeps),
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
            scratches: RefCell::default(),
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

    /// Where those wait who came this way.
    pub(crate) fn rooms(&self, way: &Way) -> &Rooms {
        if let Way::Inbound(_) = way { &self.rooms_before_apps } else { &self.rooms }
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

    /// An empty scratch record.
    pub(crate) fn scratch(&self) -> Box<Scratch> {
        let mut scratch = self.scratches.borrow_mut().pop().unwrap_or_default();
        scratch.begin();
        scratch
    }

    /// Takes a scratch record back.
    pub(crate) fn give_back(&self, scratch: Box<Scratch>) {
        let mut scratches = self.scratches.borrow_mut();
        if scratches.len() < SCRATCHES_KEPT {
            scratches.push(scratch);
        }
    }

    fn sweep(&self) {
        let now = self.clock.now();
        self.pool.sweep(now);
        self.shared.sweep(now);
        self.meters.idle_connections(self.pool.idle());
        self.meters.memory(&self.memory);
    }
}

/// Runs a worker on its own thread until the process ends.
///
/// # Errors
/// When the thread or its runtime cannot be made.
pub fn start(parts: Parts) -> io::Result<std::thread::JoinHandle<()>> {
    let (made, heard) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{}", parts.index)).spawn(move || {
        // Made where it stays: its tasks are this thread's, and no set of local ones stands between.
        let sleeps = Sleeps::default();
        let counted = Arc::clone(&sleeps);
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(move || _ = counted.fetch_add(1, Relaxed))
            .build_local(LocalOptions::default());
        match runtime {
            Ok(runtime) => {
                _ = made.send(Ok(()));
                runtime.block_on(run(parts, sleeps));
            }
            Err(error) => _ = made.send(Err(error)),
        }
    })?;
    heard.recv().map_err(io::Error::other)??;
    Ok(thread)
}

async fn run(parts: Parts, sleeps: Sleeps) {
    let Parts { index, shared, meters, doors, mut updates, mut questions } = parts;
    let (probes, asked) = channel(proxy::PROBES_MAX);
    let world = World::new(shared, meters, probes, sleeps);
    spawn_local(proxy::ask_loads(Rc::clone(&world), asked));
    spawn_local(Rc::clone(&world.wheel).drive());
    for door in doors {
        spawn_local(accept(Rc::clone(&world), index, door));
    }
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        tokio::select! {
            update = updates.recv() => match update {
                Some(update) => {
                    let began = world.clock.fresh();
                    world.hear(update);
                    world.meters.news_taken(world.clock.fresh().since(began));
                }
                None => return,
            },
            Some(question) = questions.recv() => question.answer(&world.rings.borrow()),
            _ = sweep.tick() => world.sweep(),
        }
    }
}

async fn accept(world: Rc<World>, worker: usize, listening: Listening) {
    let way = Rc::new(listening.way);
    let (shown, raw) = (listening.shown, listening.raw);
    let opened = match listening.door {
        Door::Tcp(socket, _) => TcpListener::from_std(socket).map(Opened::Tcp),
        Door::Unix(socket, _) => UnixListener::from_std(socket).map(Opened::Unix),
    };
    let door = match opened {
        Ok(door) => door,
        Err(error) => {
            tracing::error!(%way, %error, "a listener could not join its worker's runtime");
            return;
        }
    };
    world.gate.opened().await;
    let lines = DoorLines {
        plain: proxy::lines(&world, &way),
        tls: proxy::lines(&world, &way),
        unix: proxy::lines(&world, &way),
    };
    let accepting = async {
        loop {
            if world.crowd.open() >= world.limits.connections as usize {
                world.meters.connections_full();
                tokio::time::sleep(ACCEPT_REST).await;
                continue;
            }
            world.crowd.turn(worker).await;
            if let Err(error) = door.accept(&world, worker, &way, (shown.as_ref(), raw), &lines).await {
                world.meters.accept_failed();
                tracing::warn!(%way, %error, "cannot accept; resting");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    };
    tokio::select! {
        biased;
        () = world.gate.handed_over() => {}
        () = accepting => {}
    }
}

/// The lines on which the requests of a door's clients run, by what carries those.
struct DoorLines<P, T, U>
where
    P: Work<h1::Server<TcpStream>>,
    T: Work<h1::Server<Box<Secured>>>,
    U: Work<h1::Server<UnixStream>>,
{
    plain: Rc<Lines<h1::Server<TcpStream>, P>>,
    tls: Rc<Lines<h1::Server<Box<Secured>>, T>>,
    unix: Rc<Lines<h1::Server<UnixStream>, U>>,
}

enum Opened {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Opened {
    async fn accept(
        &self,
        world: &Rc<World>,
        worker: usize,
        way: &Rc<Way>,
        (shown, raw): (Option<&Arc<Shown>>, bool),
        lines: &DoorLines<
            impl Work<h1::Server<TcpStream>> + 'static,
            impl Work<h1::Server<Box<Secured>>> + 'static,
            impl Work<h1::Server<UnixStream>> + 'static,
        >,
    ) -> io::Result<()> {
        match self {
            Self::Tcp(door) => {
                let (stream, _) = door.accept().await?;
                let open = world.crowd.enter(worker);
                let (world, way) = (Rc::clone(world), Rc::clone(way));
                // Each a task of its own kind, as small as it can be.
                match (shown.cloned(), raw) {
                    (None, false) => spawn_local(proxy::greet(stream, open, Rc::clone(&lines.plain))),
                    (None, true) => spawn_local(proxy::carry(world, way, stream, open)),
                    (Some(shown), raw) => {
                        let lines = Rc::clone(&lines.tls);
                        spawn_local(async move {
                            match secured(&world, &way, (&shown, raw), stream).await {
                                Some(stream) if raw => {
                                    _ = spawn_local(proxy::carry(world, way, stream, open))
                                }
                                Some(stream) => _ = spawn_local(proxy::greet(stream, open, lines)),
                                None => drop(open),
                            }
                        })
                    }
                };
            }
            Self::Unix(door) => {
                let (stream, _) = door.accept().await?;
                let open = world.crowd.enter(worker);
                spawn_local(proxy::greet(stream, open, Rc::clone(&lines.unix)));
            }
        }
        Ok(())
    }
}

/// Ends TLS on `stream`, which may take as long as a head may. Who fails is not answered: there is no channel
/// that both could read.
async fn secured(
    world: &World,
    way: &Way,
    (shown, raw): (&Shown, bool),
    stream: TcpStream,
) -> Option<Box<Secured>> {
    let mut handshake = pin!(shake_hands(shown, raw, stream));
    let mut timer = pin!(world.wheel.at(world.clock.now() + world.limits.head.duration()));
    let ended = poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(ended),
        Poll::Pending => timer.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into())),
    });
    let ended = ended.await;
    world.tls.accepted(ended.is_ok());
    ended.map(Box::new).inspect_err(|error| tracing::info!(%way, %error, "a TLS handshake failed")).ok()
}

/// A handshake, to its end. What it says last is held for the first answer where nobody waits for it: only tickets are
/// said then, since TLS 1.3. Raw bytes have no first answer.
async fn shake_hands(shown: &Shown, raw: bool, stream: TcpStream) -> io::Result<Secured> {
    match shown.acceptor().accept(Flight::new(stream)).into_fallible().await {
        Ok(mut stream) => {
            let (flight, session) = stream.get_mut();
            flight.flows();
            if raw || session.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
                stream.flush().await?;
            }
            Ok(stream)
        }
        Err((error, mut flight)) => {
            // The alert that says why; whoever broke the handshake may not hear it.
            flight.flows();
            _ = flight.flush().await;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crowd::Member;
    use crate::wire::Socket;

    /// With what the runtime keeps beside it (96 bytes), such a task is one of 384, which it aligns to 128.
    const SMALL: usize = 288;

    fn size<S: Socket + 'static, F: Future>(
        _serves: impl FnOnce(Rc<World>, Rc<Way>, S, Member) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// With the lines that it lends from.
    fn greet<S: Socket + 'static>(
        world: Rc<World>,
        way: Rc<Way>,
        io: S,
        open: Member,
    ) -> impl Future<Output = ()> {
        proxy::greet(io, open, proxy::lines(&world, &way))
    }

    #[test]
    fn a_silent_connection_is_a_small_task() {
        assert!(size(greet::<TcpStream>) <= SMALL, "{}", size(greet::<TcpStream>));
        assert!(size(greet::<Box<Secured>>) <= SMALL);
    }
}
