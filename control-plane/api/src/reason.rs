//! Every "no" says why: the closed table of reasons.
//!
//! One enum feeds the HTTP status, the gRPC status, `Proxy-Status` (RFC 9209), the metric label, the log,
//! the record and `docs/reasons.md`. A reason means one thing; two causes in one code is the classic fault
//! (envoyproxy/envoy#9644, haproxy/haproxy#2844).

use crate::choice::choice;

/// Everything we may answer for a reason, in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The reason.
    pub reason: Reason,
    /// The HTTP status when we make the answer.
    pub status: u16,
    /// The gRPC status when the caller speaks gRPC.
    pub grpc: u8,
    /// The error token of RFC 9209 §2.3.
    pub proxy_status: &'static str,
    /// The problem's title.
    pub title: &'static str,
    /// What happened, for the operator.
    pub meaning: &'static str,
    /// What to do about it.
    pub todo: &'static str,
}

macro_rules! reasons {
    ($($Variant:ident = $word:literal, $status:literal, $grpc:literal, $ps:literal, $title:literal,
        $meaning:literal, $todo:literal;)+) => {
        choice! {
            /// Why a request was refused or failed. Stable words: dashboards and scripts lean on them.
            #[derive(PartialOrd, Ord)]
            pub enum Reason { $(#[doc = $meaning] $Variant = $word,)+ }
        }

        /// The table, in the order of the documentation.
        pub const TABLE: &[Row] = &[$(Row {
            reason: Reason::$Variant,
            status: $status,
            grpc: $grpc,
            proxy_status: $ps,
            title: $title,
            meaning: $meaning,
            todo: $todo,
        },)+];
    };
}

reasons! {
    // What we refuse before any attempt.
    BadRequest = "bad_request", 400, 3, "http_request_error", "malformed request",
        "The request breaks RFC 9110 or RFC 9112.", "Mend the client; the detail names the rule.";
    BodyTooLarge = "body_too_large", 413, 3, "http_request_error", "body too large",
        "The request's body is over its limit.", "Send less, or raise the limit.";
    TargetTooLong = "target_too_long", 414, 3, "http_request_error", "target too long",
        "The request's target is over 16 KiB.", "Shorten the URL.";
    HeadTooLarge = "head_too_large", 431, 3, "http_request_error", "head too large",
        "The request's head is over 64 KiB or has over 100 fields.", "Send fewer or shorter fields.";
    HeadTimeout = "head_timeout", 408, 4, "http_request_error", "head not complete in time",
        "The client did not finish the request's head in time.", "Look for a stalled client.";
    BodyTimeout = "body_timeout", 408, 4, "http_request_error", "body not complete in time",
        "The client did not go on with the request's body in time.", "Look for a stalled client.";
    ExpectationFailed = "expectation_failed", 417, 3, "http_request_error", "unknown expectation",
        "The request expects something other than `100-continue`.", "Send no other `Expect`.";
    NotImplemented = "not_implemented", 501, 12, "http_request_error", "not implemented",
        "The request uses a transfer coding or method that is not supported.", "Use chunked or a length.";
    VersionNotSupported = "version_not_supported", 505, 12, "http_request_error", "version not supported",
        "The request is not HTTP/1.0 or HTTP/1.1.", "Speak HTTP/1.1 to this port.";
    UnknownHost = "unknown_host", 421, 5, "destination_not_found", "host is no service",
        "The host names nothing in any configured domain; unknown hosts are never dialled.",
        "Use a service's name, or add the domain to the sidecar's `domains`.";
    NoSuchService = "no_such_service", 500, 5, "destination_not_found", "no such service",
        "The control plane says that nobody registered or declared this service.",
        "Check the name; `outrigger get services` lists the known ones.";
    NoSnapshot = "no_snapshot", 503, 14, "destination_unavailable", "nothing known of the service yet",
        "The service was never seen on this host and no control plane answers.",
        "Restore a control plane; services seen before go on working.";
    NoEndpoint = "no_endpoint", 503, 14, "destination_unavailable", "no endpoint",
        "The service's list is empty or nobody in it wants traffic.",
        "Look at the providers: `outrigger explain` lists who is unready or draining.";
    LoopDetected = "loop_detected", 502, 14, "proxy_loop_detected", "loop",
        "The request came back to the sidecar that sent it.", "Take this sidecar's own address out of the list.";
    Draining = "draining", 503, 14, "destination_unavailable", "shutting down",
        "This sidecar is draining and takes nothing new.", "Try another; callers do so by themselves.";
    // What a limit of ours refuses.
    HostFull = "host_full", 503, 8, "connection_limit_reached", "this host is at its limit",
        "The host-wide number of requests in flight is at its limit.", "Raise `limits.requests` or add hosts.";
    RateLimited = "rate_limited", 429, 8, "http_request_denied", "rate limit",
        "A limit of the policy is used up.", "Slow down; `Retry-After` says for how long, `RateLimit-Policy` which limit it is.";
    ProbeLimited = "probe_limited", 429, 8, "http_request_denied", "too many load probes",
        "This sidecar is asked for its load more often than it answers; no request of an app is refused.",
        "Nothing; lower `balance.probes` where there are hundreds of callers.";
    ConcurrencyLimited = "concurrency_limited", 503, 8, "connection_limit_reached", "too many at once",
        "A cap on requests in flight is reached and waiting did not help.",
        "Raise `concurrency`, or make the service faster.";
    BulkheadFull = "bulkhead_full", 503, 8, "connection_limit_reached", "a bulkhead is full",
        "As many requests as a bulkhead of the policy may hold were in flight for longer than `concurrency.longest_wait`; the \
         detail names it.",
        "Look at what holds it: other requests of the service are not touched. `outrigger_bulkhead_in_flight` shows each.";
    QueueTimeout = "queue_timeout", 503, 8, "connection_limit_reached", "waited too long for room",
        "Every endpoint was full for longer than `concurrency.longest_wait`: at the cap written in the policy, or at the one \
         that was found because more in flight only waited; there it waits longer until it is sure that this is overload.",
        "Add instances; waiting longer only moves the queue. `outrigger_endpoint_cap` and `explain` show the caps.";
    LevelTooLow = "level_too_low", 503, 8, "connection_limit_reached", "others go first",
        "There is not room for all before the app, and the request's class and user are below what is worth a wait there: \
         refused by the app's sidecar, or by its caller's, which was told.",
        "Add instances, or give the route a higher `priority`; `shed_by` says whose requests live or die together.";
    Overloaded = "overloaded", 503, 14, "destination_unavailable", "the service is overloaded",
        "The service's guard holds requests back: most were waited for in vain, at nearly every instance. It lets in what \
         instances finish, and more as answers come in time.",
        "Find what made the service slow, or add instances; it reopens by itself. `outrigger top` shows what it does.";
    BreakerOpen = "breaker_open", 503, 14, "destination_unavailable", "breaker open",
        "The breaker of the route is open, or that of every endpoint.", "Look at the failures before it opened; it tries again by itself.";
    Degraded = "degraded", 503, 14, "http_request_denied", "degraded by command",
        "An operator ordered that callers do without this part of the service for now.",
        "Do without it; `outrigger command list` says who ordered it, why and until when.";
    DeadlineExceeded = "deadline_exceeded", 504, 4, "http_response_timeout", "deadline exceeded",
        "The total time of the request ran out.", "Look at the attempts; raise `timeout.total` if it is too short.";
    DeniedByPolicy = "denied_by_policy", 403, 7, "http_request_denied", "denied by policy",
        "The caller may not call this service.", "Ask the service's owner.";
    StreamsCancelled = "streams_cancelled", 429, 8, "http_request_denied", "too many cancelled streams",
        "The client cancelled over 100 streams of an HTTP/2 connection within 10 s, most of what it started; the \
         connection was ended.",
        "Look at who connects: a client that means well asks less, or waits longer.";
    FrameFlood = "frame_flood", 429, 8, "http_request_denied", "too many frames that move nothing",
        "An HTTP/2 connection carried more control, empty or continued frames than its requests pay for; it was ended.",
        "Look at who connects: no library sends so many.";
    // What an attempt died of; the last one names the answer.
    ConnectRefused = "connect_refused", 502, 14, "connection_refused", "connection refused",
        "The endpoint refused the connection; nothing was sent.", "The instance is down: see its own log.";
    ConnectTimeout = "connect_timeout", 504, 14, "connection_timeout", "connection timed out",
        "No connection within `timeout.connect`; nothing was sent.", "Host down or network cut.";
    ConnectFailed = "connect_failed", 502, 14, "destination_ip_unroutable", "connection failed",
        "The endpoint could not be reached; nothing was sent.", "Look at routes and firewalls.";
    NoSocket = "no_socket", 503, 8, "connection_limit_reached", "no socket to be had",
        "The kernel gave this process no socket (descriptors or memory are used up); nothing was sent.",
        "Raise the limit on open files, or lower `limits.connections` and `limits.requests`.";
    TlsFailed = "tls_failed", 502, 14, "tls_protocol_error", "no TLS with the endpoint",
        "The endpoint speaks no TLS, or its certificate is not trusted; nothing was sent.",
        "Compare the endpoint's certificate with the service's `tls`; the sidecar's log says what was wrong.";
    AttemptTimeout = "attempt_timeout", 504, 4, "http_response_timeout", "attempt timed out",
        "No answer within `timeout.per_try`.", "The instance is slow: see its latency.";
    ResetBeforeHead = "reset_before_head", 502, 14, "connection_terminated", "connection lost before the answer",
        "A fresh connection was lost after the request was sent and before any answer byte.",
        "The instance died or dropped the request.";
    StaleConnection = "stale_connection", 502, 14, "connection_terminated", "pooled connection was closed",
        "A reused connection was closed at the moment of reuse; idempotent requests are sent again, free.",
        "Nothing, unless it is frequent: then the server's keep-alive is very short.";
    OutcomeUnknown = "outcome_unknown", 502, 14, "connection_terminated", "outcome unknown",
        "A request that must not run twice was sent and its answer lost: it may or may not have run.",
        "Ask the service whether it ran, or send an Idempotency-Key and let the policy trust it.";
    BadAnswer = "bad_answer", 502, 13, "http_protocol_error", "malformed answer",
        "The endpoint's answer breaks RFC 9112.", "The instance is not speaking HTTP/1.1.";
    AnswerCut = "answer_cut", 502, 13, "http_response_incomplete", "answer cut short",
        "The endpoint's answer ended before its announced end.", "The instance died while answering.";
    IdleTimeout = "idle_timeout", 504, 4, "connection_read_timeout", "nothing moved",
        "Nothing moved in a tunnel (an upgraded connection, a raw stream) for `timeout.tunnel`; both sides were reset.",
        "Raise `timeout.tunnel`, or let the peers say something now and then.";
    TooManyAttempts = "too_many_attempts", 502, 14, "destination_unavailable", "gave up",
        "Every attempt the policy allows failed and none says more.", "`outrigger explain` lists them.";
    // What the client did.
    ClientGone = "client_gone", 499, 1, "http_request_error", "client gone",
        "The client left before its answer was whole; the upstream was told.", "Nothing.";
    ClientCut = "client_cut", 400, 1, "http_request_error", "request cut short",
        "The client's body ended before its announced end.", "Look at the client.";
    // Ours.
    Internal = "internal", 500, 13, "proxy_internal_error", "our own fault",
        "A bug in the sidecar.", "Report it with the request's id.";
}

impl Reason {
    /// This reason's row of the table.
    pub fn row(self) -> &'static Row {
        // The table is declared from the same list as the enum, in the same order.
        &TABLE[self as usize]
    }

    /// The HTTP status when we make the answer.
    pub fn status(self) -> u16 {
        self.row().status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_stands_in_its_own_row() {
        for reason in Reason::ALL {
            assert_eq!(reason.row().reason, *reason);
        }
    }
}
