//! The settings of a policy, each default once with its reason.

use crate::choice::choice;
use crate::policy::{Bulkhead, Cap, Cost, HashKey, Limit, Outside, Subset};
use crate::schema::{Switch, settings};
use crate::unit::{Percentile, Rate, Share, Size, Span};

settings! {
    /// Everything a policy may set, at any scope.
    pub struct Settings, SettingsWords {
        /// How long things may take.
        part timeout: Timeout, words TimeoutWords;
        /// How an endpoint is chosen.
        part balance: Balance, words BalanceWords;
        /// How an ill endpoint is noticed, left out and taken back.
        part health: Health, words HealthWords;
        /// A check of each endpoint beside what traffic shows; for a whole service.
        part check: HealthCheck, words HealthCheckWords;
        /// When a failed request is tried again.
        part retry: Retry, words RetryWords;
        /// When a second attempt is begun beside one whose answer is late.
        part hedge: Hedge, words HedgeWords;
        /// How many requests may be in flight.
        part concurrency: Concurrency, words ConcurrencyWords;
        /// When to stop asking an endpoint that fails, whatever its peers do; for a whole service.
        part breaker: Breaker, words BreakerWords;
        /// When to stop asking a route whose requests fail, wherever they go; each route has its own.
        part route_breaker: Breaker, words BreakerWords;
        /// How the attempts of one request are run.
        part strategy: Strategy, words StrategyWords;
        /// Who goes first where there is not room for all.
        leaf priority: Class = Class::Ordinary, because "only the service's owner knows which of its routes matter more";
        /// Whose requests live or die together where not all of a class can be served: one of path, source, header, cookie,
        /// query. Who comes first changes every hour.
        leaf shed_by: Switch<HashKey> = Switch::Off, because "only the service's owner knows what names a user; without it each request stands for itself";
        /// Whether the sidecar before an app takes a request's class and user from what its caller's sidecar says, in the
        /// place of this policy.
        leaf trust_priority: bool = false, because "whoever reaches the port can write the field: only who keeps others away can believe it";
        /// The longest body that a request may have; a longer one is answered 413.
        leaf body_at_most: Switch<Size> = Switch::Off, because "bodies pass through without being held: a long one costs its service alone, and only that knows which is too long";
        /// How much a request takes from each limit: a number, or what a header says.
        leaf cost: Cost = Cost::ONE, because "requests are alike unless said otherwise";
        /// How often requests may come. A list written at a narrower scope replaces a wider one.
        leaf limits: Vec<Limit> = Vec::new(), because "a limit nobody asked for is an outage nobody expects";
    }
}

choice! {
    /// The rank of a request among others.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Class {
        /// Done when there is room to spare.
        Background = "background",
        /// Like most.
        #[default]
        Ordinary = "ordinary",
        /// Goes before all others, and waits for room five times longer.
        Critical = "critical",
    }
}

settings! {
    /// How long things may take.
    pub struct Timeout, TimeoutWords {
        /// From a request's arrival until the head of its answer, all attempts and waits together.
        leaf total: Span = Span::secs(15), because "long enough for slow reports, short enough that callers still wait";
        /// One attempt, until the head of its answer.
        leaf per_try: Switch<Span> = Switch::Off, because "a guess below the service's own latency turns slowness into load";
        /// Opening a connection.
        leaf connect: Span = Span::secs(1), because "one lost SYN is sent again after 1 s; a second one means trouble";
        /// How long a body may stand still once the head of the answer is there.
        leaf idle: Span = Span::secs(300), because "streams and long polls are quiet for minutes and healthy";
        /// How long a tunnel (an upgraded connection, a raw stream) may be quiet.
        leaf tunnel: Span = Span::secs(3_600), because "Envoy's value for TCP: chats and database pools rest for half an hour and are healthy";
    }
}

choice! {
    /// How an endpoint is chosen.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Choosing {
        /// The smallest of (load + 1) × latency of good answers ÷ success^k, over all of a small set, over two
        /// draws of a large one.
        #[default]
        LeastLoaded = "least-loaded",
        /// Any endpoint, by weight.
        Random = "random",
        /// One after the other, by weight, each host's turns spread evenly (nginx's smooth weighted round robin).
        RoundRobin = "round-robin",
        /// The fewest requests in flight for its weight, over all.
        LeastActive = "least-active",
        /// The fewer requests in flight of two drawn by weight (Mitzenmacher 2001).
        P2c = "p2c",
        /// The smaller (load + 1) × peak EWMA of two drawn by weight (Finagle).
        Latency = "latency",
        /// By load reports of the sidecars before the hosts: of those with few requests in flight the fastest, else
        /// the one with the fewest (Prequal, NSDI 2024). Without reports, of two drawn by weight.
        Prequal = "prequal",
        /// The host that the request's key leads to on a hash ring (Karger 1997, ketama), its load bounded.
        Ring = "ring",
        /// The host that the request's key leads to in a Maglev table (Eisenbud, NSDI 2016), its load bounded.
        Maglev = "maglev",
    }
}

impl Choosing {
    /// Whether a request's key says which endpoint it meets.
    pub const fn hashes(self) -> bool {
        matches!(self, Self::Ring | Self::Maglev)
    }
}

choice! {
    /// Whether hosts of the own zone come first.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Zones {
        /// As far as the own zone's part of the hosts carries its part of the callers; the rest is spread over
        /// zones that have more hosts than callers. Acts once the own zone is known and the control plane told
        /// where callers are.
        #[default]
        OwnFirst = "own-first",
        /// Zones do not matter.
        Ignore = "ignore",
    }
}

settings! {
    /// How an endpoint is chosen.
    pub struct Balance, BalanceWords {
        /// The rule.
        leaf by: Choosing = Choosing::LeastLoaded, because "it shuns slow and failing hosts without a setting";
        /// What `ring` and `maglev` hash a request by: one of path, source, header, cookie, query.
        leaf key: HashKey = HashKey::Path, because "every request has one, and equal ones meet one cache";
        /// How far above its mean share of what is in flight `ring` and `maglev` may load an endpoint before
        /// keys go elsewhere.
        leaf headroom: Switch<Share> = Switch::On(Share::percent(25)), because "the low end of what HAProxy advises: a hot key spreads early, and most keys stay";
        /// How long a latency is remembered (the time constant of its average).
        leaf memory: Span = Span::secs(10), because "Finagle's and Linkerd's value: rides out a pause, forgets an incident";
        /// Up to this many endpoints are all looked at; of more, eight are drawn.
        leaf scan: u32 = 32, because "a full scan halves p99 on small sets, and eight draws cost the same on any size";
        /// How long a host that joins a warm set takes to its full share.
        leaf slow_start: Span = Span::secs(30), because "caches and compilers warm in about that time";
        /// Load probes that `prequal` and, while others are busy there, `least-loaded` may send to a service from this host; each
        /// answer carries a report too.
        leaf probes: Rate = Rate::per_second(100), because "two for each request of a quiet service; a busy one hears enough from its answers";
        /// Which instances a request may meet, by one label. Those of a lane are met only by requests that ask
        /// for it, as long as there are others.
        leaf subset: Switch<Subset> = Switch::Off, because "instances of one service are alike unless said otherwise";
        /// Whom a request meets when nobody in its subset is well.
        leaf outside: Outside = Outside::Base, because "who tests one service of a chain needs no copy of all others";
        /// Whether hosts of the own zone come first.
        leaf zones: Zones = Zones::OwnFirst, because "a zone's network is faster and cheaper, and no zone is loaded above its share";
        /// How much of a tier may be lost before the next one joins. An instance's tier is its label `tier`, 0
        /// without one; lower goes first.
        leaf spare: Share = Share::percent(30), because "hosts that are left take over so much; Envoy's value";
    }
}

choice! {
    /// Whose a failed attempt is.
    #[derive(PartialOrd, Ord)]
    pub enum Failing {
        /// The way there or the endpoint's process: connecting, time-outs, resets, answers that are none.
        Network = "network",
        /// What stands before the app: 502, 503, 504 and the statuses of `retry.statuses`.
        Gateway = "gateway",
        /// The app: any other 5xx.
        App = "app",
        /// The app, by its gRPC status: UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE, DATA_LOSS.
        Grpc = "grpc",
        /// An answer whose body ended before its end.
        Cut = "cut",
    }
}

settings! {
    /// How an ill endpoint is noticed, left out and taken back.
    pub struct Health, HealthWords {
        /// At most this share of a service is out on soft evidence; one always may be, the last one never.
        leaf eject_share: Share = Share::percent(50), because "safe for three hosts, and half a service still carries load";
        /// Out after this many failures in a row.
        leaf consecutive: u32 = 3, because "two may be chance, five of five users noticed";
        /// Out when fewer than this share of answers are good while the peers' median is above it.
        leaf success_floor: Share = Share::percent(80), because "Finagle's and Linkerd's value";
        /// The window of that share.
        leaf window: Span = Span::secs(10), because "long enough for a rate, short enough to act";
        /// That share is judged from this many answers on.
        leaf minimum: u32 = 10, because "one of three failing says nothing";
        /// The failures that count against an endpoint.
        leaf counts: Vec<Failing> = Failing::ALL.to_vec(), because "each says that this host does not do its work; who calls badly sees 4xx";
        /// Out when this share of its answers is slow.
        leaf slow_share: Switch<Share> = Switch::Off, because "the choice shuns a slow host already and keeps what it can carry";
        /// Slow is an answer that took longer than this many times the peers' median.
        leaf slow_factor: u32 = 10, because "slower than any request mix makes one of equal hosts";
        /// The first trial request comes after this, and again as often in the first minute.
        leaf trial_every: Span = Span::secs(4), because "a restart takes about that long";
        /// Later trial requests come ever more rarely, up to this.
        leaf trial_at_most: Span = Span::secs(60), because "a host that returns after an hour is used within a minute";
        /// A host that passed its trial takes this long to its full share.
        leaf ramp: Span = Span::secs(2), because "it was warm a moment ago; what it may lack is connections";
    }
}

choice! {
    /// How an endpoint is checked.
    #[derive(PartialOrd, Ord)]
    pub enum Asking {
        /// `GET` of `check.path` answers 200 to 399.
        Http = "http",
        /// Its port takes a connection.
        Tcp = "tcp",
        /// `grpc.health.v1.Health/Check` answers SERVING.
        Grpc = "grpc",
    }
}

settings! {
    /// A check of each endpoint beside what traffic shows. An endpoint that traffic has just found well is not asked; one
    /// whose check fails stands behind all that pass; a passing check takes back nobody whom traffic ejected.
    pub struct HealthCheck, HealthCheckWords {
        /// How; behind TLS only the port is asked for.
        leaf by: Switch<Asking> = Switch::Off, because "traffic tells first and truest; a check costs each endpoint requests";
        /// What `http` asks for.
        leaf path: String = "/healthz".to_owned(), because "the common name of that page";
        /// How often each endpoint is checked, a tenth more or less.
        leaf every: Span = Span::secs(10), because "traffic finds failures sooner; this is for endpoints without any";
        /// A check that takes longer has failed.
        leaf within: Span = Span::secs(1), because "whoever needs longer to say that it is well is not";
        /// So many good checks in a row make a failing endpoint pass.
        leaf rise: u32 = 2, because "one may be a lull in its trouble";
        /// So many bad ones in a row make a passing endpoint fail.
        leaf fall: u32 = 3, because "one may be a pause, two a long one";
    }
}

settings! {
    /// When a failed request is tried again.
    pub struct Retry, RetryWords {
        /// How often a request may be tried in all; what was provably never sent comes on top, at most twice.
        leaf attempts: u32 = 3, because "two hosts may die together; a fourth try only feeds an outage";
        /// Retries, hedges and replays together may add this share of a service's requests over 10 s.
        leaf budget: Share = Share::percent(20), because "SRE practice: more turns an overload into an outage";
        /// And this much on top, so that a quiet service may retry at all.
        leaf floor: Rate = Rate::per_second(3), because "ten per second and caller is a storm with many callers";
        /// How much of a request's body is kept for another try.
        leaf keep_body: Size = Size::kib(64), because "Linkerd's and Pingora's value; JSON calls fit";
        /// Answers that count as failures and may be tried again when the request is idempotent.
        leaf statuses: Vec<u16> = vec![502, 503, 504], because "these say: not me, not now";
        /// Whether a request with an Idempotency-Key may be tried again whatever its method.
        leaf trust_idempotency_key: bool = false, because "only the service's owner knows whether it honours the key";
    }
}

settings! {
    /// When a second attempt is begun beside one whose answer is late; the first good answer is taken. At most once a
    /// request, and not while all answers take longer than usual.
    pub struct Hedge, HedgeWords {
        /// An answer is late once this percentile of the route's own answers would have come.
        leaf after: Switch<Percentile> = Switch::On(Percentile::of(95)), because "Dean and Barroso's value: a twentieth more load takes most of what a slow host adds to the tail";
        /// Which requests are.
        leaf of: Hedging = Hedging::Safe, because "a write that comes late may undo one that came after it";
        /// Hedges may be this share of the requests of any 5 s; `retry.budget` bounds them together with retries.
        leaf share: Share = Share::percent(10), because "twice what lies beyond p95: room for a slow host, none for a storm";
        /// No answer is late before this.
        leaf at_least: Span = Span::millis(4), because "a tick of the timer wheel; below it a hedge wins nothing";
    }
}

choice! {
    /// Which requests may run beside themselves.
    #[derive(Default, PartialOrd, Ord)]
    pub enum Hedging {
        /// Those that ask for nothing to be changed: GET, HEAD, OPTIONS, TRACE (RFC 9110 §9.2.1).
        #[default]
        Safe = "safe",
        /// All that may run twice: also PUT, DELETE, and with a key where `retry.trust_idempotency_key` says so.
        Repeatable = "repeatable",
    }
}

settings! {
    /// How many requests may be in flight.
    pub struct Concurrency, ConcurrencyWords {
        /// In flight to one endpoint from this host; where it is found (`auto`), only what the endpoint has whole and has not begun to
        /// answer: what comes or is read slowly is no queue.
        leaf per_endpoint: Cap = Cap::Auto, because "nobody knows the number, and without one an outage outlives its cause; whoever meets a cap that may be wrong waits instead of being refused";
        /// In flight to the app of one instance from everybody, counted by its own sidecar, or where it is found awaited from it: a
        /// request that finds no place waits there, by priority, at most `longest_wait`; for a whole service.
        leaf before_app: Cap = Cap::Off, because "what is refused there goes nowhere else where its caller has no sidecar, and slower work looks like a queue for a while";
        /// In flight to the whole service from this host.
        leaf per_service: Switch<u32> = Switch::Off, because "no number fits all services";
        /// Caps by name on a part of them: of some routes together, of each route, each caller, each value of a header, or each
        /// value of a label of the endpoints. A list written at a narrower scope replaces a wider one.
        leaf bulkheads: Vec<Bulkhead> = Vec::new(), because "only the service's owner knows which of its requests may hold up the others";
        /// Whether requests are held back where most are waited for in vain at nearly every endpoint, until answers come
        /// in time again; for a whole service.
        leaf guard: bool = true, because "an outage that callers' own retries keep up does not end by itself";
        /// How long a request may wait for room.
        leaf longest_wait: Span = Span::millis(20), because "DAGOR's threshold: a longer queue is overload, not a burst";
    }
}

settings! {
    /// When to stop asking who fails, whatever others do.
    pub struct Breaker, BreakerWords {
        /// Opens when this share of answers within the window failed.
        leaf failure_share: Switch<Share> = Switch::Off, because "ejection judges against peers; a breaker does not and must be asked for";
        /// Opens when this share of answers within the window was slow.
        leaf slow_share: Switch<Share> = Switch::Off, because "only the owner knows what slow is";
        /// Slow is what took longer than this: an attempt's answer, for a route the whole request.
        leaf slow_after: Span = Span::secs(1), because "a second is what people notice";
        /// Opens when so many answers within the window failed, whatever their share.
        leaf failures: Switch<u32> = Switch::Off, because "a number of failures says nothing without the number of answers, except to who knows their number";
        /// The window of all that.
        leaf window: Span = Span::secs(10), because "Hystrix's value";
        /// Shares are judged from this many answers on.
        leaf minimum: u32 = 20, because "Hystrix's value";
        /// How long it stays open before it tries again; up to a fifth longer, so that hosts do not try together.
        leaf open_for: Span = Span::secs(5), because "Hystrix's value";
        /// How many requests may try while it is half-open, at most 31; all of them must succeed to close it.
        leaf trials: u32 = 1, because "one answer tells; more are hurt when it is too soon";
        /// A try that has said nothing for so long is lost, and it opens again.
        leaf trial_within: Span = Span::secs(30), because "twice the longest that a request takes by default";
    }
}

impl Breaker {
    /// Tries are counted in five bits.
    pub const TRIALS_MAX: u32 = 31;

    /// Whether anything opens it.
    pub fn is_on(&self) -> bool {
        self.failure_share.on().is_some() || self.slow_share.on().is_some() || self.failures.on().is_some()
    }

    /// Nothing opens it, and it is as if it were closed.
    pub fn switch_off(&mut self) {
        (self.failure_share, self.slow_share, self.failures) = (Switch::Off, Switch::Off, Switch::Off);
    }
}

choice! {
    /// How the attempts of one request are run.
    #[derive(Default, PartialOrd, Ord)]
    pub enum StrategyKind {
        /// Another host after a failure, within `retry`.
        #[default]
        Failover = "failover",
        /// One attempt; only what was provably never sent goes elsewhere.
        Failfast = "failfast",
    }
}

settings! {
    /// How the attempts of one request are run.
    pub struct Strategy, StrategyWords {
        /// The strategy, after Dubbo's words.
        leaf kind: StrategyKind = StrategyKind::Failover, because "most calls are reads and survive a dead host so";
    }
}

crate::schema::choice_shape!(Asking, Choosing, Class, Failing, Hedging, StrategyKind, Zones);
