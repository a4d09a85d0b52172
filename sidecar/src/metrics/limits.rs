//! Every limit of the process has a name, a value and a count of how often it acted.

use api::Reason;
use api::choice::choice;

choice! {
    /// A limit.
    #[derive(PartialOrd, Ord)]
    pub enum Limit {
        /// `limits.requests`: requests in flight on this host.
        Requests = "requests",
        /// `limits.connections`: connections from apps and callers.
        Connections = "connections",
        /// Open files of the process: the system's own limit.
        Descriptors = "descriptors",
        /// Bytes and fields of a message's head.
        Head = "head",
        /// Bytes of a request's target.
        Target = "target",
        /// `limits.head`: how long a head may take.
        HeadTime = "head-time",
        /// `timeout.tunnel`: how long a tunnel may be quiet.
        TunnelIdle = "tunnel-idle",
        /// Streams of a connection that a client may cancel within 10 s whatever else it does.
        Cancelled = "cancelled-streams",
        /// Frames of a connection that may move nothing within 10 s whatever else comes.
        IdleFrames = "idle-frames",
        /// `limits.pool`: idle connections to an endpoint, per worker.
        Pool = "pool",
        /// `limits.pool_all`: idle connections to all endpoints, per worker.
        PoolAll = "pool-all",
        /// `concurrency`: requests in flight to a service or an endpoint.
        Concurrency = "concurrency",
        /// `concurrency.bulkheads`: requests in flight of one kind.
        Bulkhead = "bulkhead",
        /// `concurrency.longest_wait`: how long a request waits for room.
        Queue = "queue",
        /// `concurrency.guard`: requests that are awaited while a service's guard acts, and resends then.
        Guard = "guard",
        /// `limits` of policies: requests over time.
        Bucket = "bucket",
        /// Callers, or values of a header or a label, that a limit or a bulkhead counts apart.
        Callers = "callers",
        /// `retry.budget`: load that resends add.
        Budget = "budget",
        /// `hedge.share`, and the load budget for hedges.
        Hedges = "hedges",
        /// Free resends of one request.
        FreeResends = "free-resends",
        /// Load probes that are out, per worker; `balance.probes` is how many a second.
        Probes = "probes",
        /// Load probes answered in a second, per worker.
        ProbesAnswered = "probes-answered",
        /// Subsets of one list that are told apart.
        Subsets = "subsets",
        /// `retry.keep_body`: bytes of a body kept for another try.
        KeptBody = "kept-body",
        /// `limits.queued`: bytes that wait to be written to slow readers, per worker.
        Queued = "queued",
        /// `body_at_most`: bytes of a request's body.
        Body = "body",
        /// Health checks of endpoints under way at a time.
        Checks = "checks",
        /// Values of a metric's label.
        Labels = "labels",
        /// Log lines that wait to be written.
        LogLines = "log-lines",
        /// Connections to the admin listeners.
        Admin = "admin",
    }
}

impl Limit {
    /// The limit that `reason` tells of, when it tells of one.
    pub fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::HostFull => Some(Self::Requests),
            Reason::NoSocket => Some(Self::Descriptors),
            Reason::HeadTooLarge => Some(Self::Head),
            Reason::BodyTooLarge => Some(Self::Body),
            Reason::TargetTooLong => Some(Self::Target),
            Reason::HeadTimeout => Some(Self::HeadTime),
            Reason::IdleTimeout => Some(Self::TunnelIdle),
            Reason::StreamsCancelled => Some(Self::Cancelled),
            Reason::FrameFlood => Some(Self::IdleFrames),
            Reason::ConcurrencyLimited => Some(Self::Concurrency),
            Reason::BulkheadFull => Some(Self::Bulkhead),
            Reason::QueueTimeout | Reason::LevelTooLow => Some(Self::Queue),
            Reason::Overloaded => Some(Self::Guard),
            Reason::RateLimited => Some(Self::Bucket),
            Reason::ProbeLimited => Some(Self::ProbesAnswered),
            _ => None,
        }
    }
}

/// The reasons by which we refuse what others would have taken; the rest are failures.
pub(super) const SHED: &[Reason] = &[
    Reason::HostFull,
    Reason::RateLimited,
    Reason::ConcurrencyLimited,
    Reason::BulkheadFull,
    Reason::QueueTimeout,
    Reason::LevelTooLow,
    Reason::Overloaded,
    Reason::BreakerOpen,
    Reason::Degraded,
    Reason::Draining,
];

/// The reasons an attempt may die of: what failures and retries are counted by from the start.
pub(super) const OF_ATTEMPTS: &[Reason] = &[
    Reason::ConnectRefused,
    Reason::ConnectTimeout,
    Reason::ConnectFailed,
    Reason::NoSocket,
    Reason::TlsFailed,
    Reason::AttemptTimeout,
    Reason::ResetBeforeHead,
    Reason::StaleConnection,
    Reason::BadAnswer,
];
