//! The catalogue: every metric family of a sidecar, once. `docs/metrics.md` is printed from it, and nothing
//! can be counted that does not stand here.
//!
//! Names follow Prometheus' rules (prometheus.io/docs/practices/naming): place, noun, unit, `total`; base
//! units; no path, host, client address or request id ever becomes a label.

use std::fmt::Write;

use api::choice::choice;

choice! {
    /// How a family's numbers behave.
    pub enum Kind {
        /// Only rises.
        Counter = "counter",
        /// Goes both ways.
        Gauge = "gauge",
        /// Observations by size.
        Histogram = "histogram",
    }
}

/// One metric family.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Its name as scraped.
    pub name: &'static str,
    /// How its numbers behave.
    pub kind: Kind,
    /// What it is measured in; empty for plain counts.
    pub unit: &'static str,
    /// Its labels, in the order their values are given.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

macro_rules! families {
    ($($NAME:ident = $name:literal, $kind:ident, $unit:literal, [$($label:literal),*], $help:literal;)+) => {
        $(#[doc = $help]
        pub const $NAME: Family = Family {
            name: $name,
            kind: Kind::$kind,
            unit: $unit,
            labels: &[$($label),*],
            help: $help,
        };)+

        /// Every family, in the order of the documentation.
        pub const CATALOGUE: &[&Family] = &[$(&$NAME,)+];
    };
}

families! {
    // Requests.
    REQUESTS = "outrigger_requests_total", Counter, "", ["service", "route", "code"],
        "Requests that ended, by the class of the status their caller saw; `none` for raw streams.";
    REQUEST_DURATION = "outrigger_request_duration_seconds", Histogram, "seconds", ["service", "route"],
        "From a request's head to the end of its answer's body.";
    OVERHEAD = "outrigger_proxy_overhead_seconds", Histogram, "seconds", ["service"],
        "The part of a request's time that was ours: until the answer's head, less attempts and queue.";
    QUEUE_WAIT = "outrigger_queue_wait_seconds", Histogram, "seconds", ["service"],
        "How long requests that had to wait for room waited.";
    FIRST_BYTE = "outrigger_upstream_first_byte_seconds", Histogram, "seconds", ["service"],
        "From the choice of an endpoint to the head of its answer, for attempts that got one.";
    REQUEST_BYTES = "outrigger_request_bytes_total", Counter, "bytes", ["service"],
        "Bytes of request bodies read from callers.";
    RESPONSE_BYTES = "outrigger_response_bytes_total", Counter, "bytes", ["service"],
        "Bytes of answer bodies written to callers.";
    ACTIVE_REQUESTS = "outrigger_active_requests", Gauge, "", [],
        "Requests in flight on this host.";
    IN_FLIGHT = "outrigger_requests_in_flight", Gauge, "", ["service"],
        "Requests in flight to a service, until their answers' bodies end.";
    WAITING = "outrigger_requests_waiting", Gauge, "", ["service"],
        "Requests to a service that wait for room: at its endpoints, within its caps and bulkheads, or among those that its guard lets in.";
    APP_IN_FLIGHT = "outrigger_app_requests_in_flight", Gauge, "", ["service"],
        "Requests in flight to a local app, from everybody who calls it through its own listener.";
    APP_WAITING = "outrigger_app_requests_waiting", Gauge, "", ["service"],
        "Requests that wait for a place at a local app, where `concurrency.before_app` bounds it.";
    APP_CAP = "outrigger_app_cap", Gauge, "", ["service"],
        "Requests that may be in flight to a local app; no series where nothing bounds it, or no cap was found yet.";
    APP_WAIT = "outrigger_app_wait_seconds", Gauge, "seconds", ["service"],
        "How long requests waited for a place at a local app, in the mean of the last half second or 2,000 requests; only where it is bounded.";
    APP_LEVEL = "outrigger_app_level", Gauge, "", ["service"],
        "How urgent a request must be to be worth a wait for a place at a local app: 128 times its class (background 0, ordinary 1, critical 2) and its user's turn; zero where there is room for all.";
    ARRIVED = "outrigger_requests_arrived_total", Counter, "", [],
        "Requests whose head was read; those that have not ended are in flight.";
    MALFORMED = "outrigger_malformed_requests_total", Counter, "", ["reason"],
        "Messages that were no requests; they are not among the requests.";
    // What went wrong, and what was done about it.
    FAILURES = "outrigger_failures_total", Counter, "", ["service", "reason"],
        "Requests that ended with a reason other than a limit of ours.";
    SHED = "outrigger_shed_total", Counter, "", ["service", "reason"],
        "Requests that a limit of ours refused.";
    ATTEMPTS = "outrigger_attempts_total", Counter, "", ["service", "endpoint", "outcome"],
        "Attempts by endpoint; outcome is ok, failed or cancelled.";
    RETRIES = "outrigger_retries_total", Counter, "", ["service", "reason"],
        "Resends on the load budget, by the reason of the attempt before; `status` where it was its status.";
    FREE_RESENDS = "outrigger_free_resends_total", Counter, "", ["service"],
        "Resends that were provably safe and cost no budget.";
    HEDGES = "outrigger_hedges_total", Counter, "", ["service", "result"],
        "Second attempts beside a late one: won, lost (the first one answered), failed, or refused by their share or the load budget.";
    BUDGET_REFUSALS = "outrigger_retry_budget_refusals_total", Counter, "", ["service"],
        "Resends that the load budget refused.";
    BUDGET_RATIO = "outrigger_retry_budget_ratio", Gauge, "ratio", ["service"],
        "The share of the load budget that the last 10 s spent.";
    // Endpoints and connections.
    ENDPOINTS = "outrigger_endpoints", Gauge, "", ["service", "state"],
        "Endpoints by state: ready, unready, draining, check-fails, ejected, held.";
    EJECTIONS = "outrigger_ejections_total", Counter, "", ["service", "sign"],
        "Endpoints that traffic found ill and left out, by what spoke against them: refused, in-a-row, share, slow, or a failed trial.";
    ENDPOINT_CAP = "outrigger_endpoint_cap", Gauge, "", ["service", "endpoint"],
        "Requests that may be in flight to an endpoint, where overload had a cap found; no series for the others.";
    ENDPOINT_FAILURES = "outrigger_endpoint_failures_total", Counter, "", ["service", "failing"],
        "Attempts that failed, by whose failure it was: network, gateway, app, grpc or cut.";
    SPARED = "outrigger_ejections_spared_total", Counter, "", ["service"],
        "Endpoints that would have been ejected but for the cap, or as the last usable one.";
    BREAKERS_OPENED = "outrigger_breakers_opened_total", Counter, "", ["service"],
        "Times that a breaker of an endpoint opened.";
    BREAKERS = "outrigger_breakers", Gauge, "", ["service", "state"],
        "Endpoints by the state of their breaker: closed, open or half-open; all closed where nothing opens them.";
    ROUTE_BREAKERS = "outrigger_route_breakers", Gauge, "", ["service", "route", "state"],
        "1 for the state that a route's breaker is in: closed, open or half-open; only where something opens it.";
    ROUTE_BREAKERS_OPENED = "outrigger_route_breakers_opened_total", Counter, "", ["service", "route"],
        "Times that a route's breaker opened.";
    CHECKS = "outrigger_checks_total", Counter, "", ["service", "result"],
        "Health checks of endpoints that a policy asks for: good or bad. They have a limit of their own and take nothing from the load budget.";
    CONNECTIONS = "outrigger_connections", Gauge, "", ["state"],
        "Connections: client (from apps and callers) and idle (pooled, to endpoints).";
    WORKER_CONNECTIONS = "outrigger_worker_connections", Gauge, "", ["worker"],
        "Connections from apps and callers, by the worker that serves them.";
    CONNECTIONS_CUT = "outrigger_connections_cut_total", Counter, "", ["reason"],
        "Connections of clients on HTTP/2 that were ended for what came on them, or did not.";
    CONNECTIONS_OPENED = "outrigger_connections_opened_total", Counter, "", ["result"],
        "Connections dialled to endpoints; result is ok or failed.";
    CONNECTIONS_REUSED = "outrigger_connections_reused_total", Counter, "", [],
        "Attempts that rode on a pooled connection.";
    LOAD_PROBES = "outrigger_load_probes_total", Counter, "", ["result"],
        "Load probes sent to the sidecars before endpoints; result is ok or failed.";
    ACCEPT_FAILURES = "outrigger_accept_failures_total", Counter, "", [],
        "Connections that the kernel did not hand over, most often for want of descriptors.";
    TLS_HANDSHAKES = "outrigger_tls_handshakes_total", Counter, "", ["result"],
        "TLS handshakes on the ways in; result is ok or failed.";
    TLS_RELOADS = "outrigger_tls_reloads_total", Counter, "", ["result"],
        "Times that certificate files changed; failed ones left the old certificate in use.";
    TLS_UNTIL = "outrigger_tls_certificate_expiry_timestamp_seconds", Gauge, "seconds", ["way"],
        "When the certificate of a way in expires, as a Unix time.";
    // The guard of a whole service.
    GUARD = "outrigger_guard", Gauge, "", ["service", "state"],
        "1 for the state that a service's guard is in: calm, draining (most was waited for in vain, at nearly every endpoint) or reopening.";
    GUARD_LASTED = "outrigger_guard_state_seconds", Gauge, "seconds", ["service"],
        "For how long a guard that is not calm has been in its state.";
    GUARD_BOUND = "outrigger_guard_bound", Gauge, "", ["service"],
        "Requests that may await an answer; only while the guard is not calm.";
    GUARD_WINDOW = "outrigger_guard_window", Gauge, "", ["service", "what"],
        "What the guard saw in the window that it judged last: requests offered, attempts answered well in time (good), attempts waited for in vain (lost).";
    GUARD_ACTED = "outrigger_guard_acted_total", Counter, "", ["service"],
        "Times that a service's guard began to drain.";
    // Limits.
    LIMIT = "outrigger_limit", Gauge, "", ["limit"],
        "What a limit is set to, in its own unit; see the list of limits.";
    LIMIT_HITS = "outrigger_limit_hits_total", Counter, "", ["limit"],
        "How often a limit acted.";
    RATE_LIMIT_TAKEN = "outrigger_rate_limit_taken_ratio", Gauge, "ratio", ["service", "limit"],
        "How much of a policy's limit is taken: by whoever took most, where it counts callers, routes, endpoints or a header apart.";
    RATE_LIMIT_KEYS = "outrigger_rate_limit_keys", Gauge, "", ["service", "limit"],
        "Callers or header values that a limit has in mind now; those beyond `callers` share one level.";
    RATE_LIMIT_REFUSALS = "outrigger_rate_limit_refusals_total", Counter, "", ["service", "limit"],
        "Requests that a policy's limit refused.";
    BULKHEAD_IN_FLIGHT = "outrigger_bulkhead_in_flight", Gauge, "", ["service", "bulkhead"],
        "Requests in flight that hold a place in a bulkhead, all that it counts apart together.";
    BULKHEAD_TAKEN = "outrigger_bulkhead_taken_ratio", Gauge, "ratio", ["service", "bulkhead"],
        "How much of a bulkhead is taken: by whoever holds most, where it counts routes, callers, a header or a label apart.";
    BULKHEAD_REFUSALS = "outrigger_bulkhead_refusals_total", Counter, "", ["service", "bulkhead"],
        "Requests that found a bulkhead full for as long as they could wait.";
    KEPT_BODY = "outrigger_kept_body_bytes", Gauge, "bytes", [],
        "Bytes of request bodies kept for another try.";
    QUEUED = "outrigger_queued_bytes", Gauge, "bytes", [],
        "Bytes of bodies that wait to be written to slow readers.";
    // Policies in shadow.
    SHADOW_REQUESTS = "outrigger_shadow_requests_total", Counter, "", ["service"],
        "Requests that policies in shadow were held against, since the words are what they are.";
    SHADOW_WOULD = "outrigger_shadow_would_total", Counter, "", ["service", "leaf"],
        "Requests that a leaf in shadow would have refused, cut, tried again or not, hedged, or had on another route or endpoint; and endpoints that it would have ejected or whose breaker it would have opened.";
    // The control plane, as this sidecar sees it.
    CONTROL_CONNECTED = "outrigger_control_connected", Gauge, "", ["cluster"],
        "1 while a session with a control plane of the cluster is open.";
    CONTROL_LOST = "outrigger_control_lost", Gauge, "", ["cluster"],
        "1 while the cluster has been silent for longer than control.alert_after: what it told stays in use.";
    CONTROL_SYNC = "outrigger_control_last_sync_timestamp_seconds", Gauge, "seconds", ["cluster"],
        "When the control plane was last heard, as a Unix time.";
    CONTROL_RESYNCS = "outrigger_control_resyncs_total", Counter, "", ["cluster"],
        "Times that a digest check found a difference and everything was fetched anew.";
    BEATS_MISSED = "outrigger_control_beats_missed_total", Counter, "", ["cluster"],
        "Heartbeats and sessions that were not answered.";
    NEWS_UNREADABLE = "outrigger_control_news_unreadable_total", Counter, "", ["cluster"],
        "News from the control plane that nobody could read.";
    POLICIES_REJECTED = "outrigger_control_policies_rejected", Gauge, "", [],
        "Namespaces whose newest policies cannot be run; the ones before are in force.";
    LIST_AGE = "outrigger_list_age_seconds", Gauge, "seconds", ["service"],
        "How long ago the control plane last spoke of a service's list or confirmed it.";
    REGISTERED = "outrigger_registered_instances", Gauge, "", [],
        "Local instances that are registered.";
    // The sidecar itself.
    NEWS_TAKEN = "outrigger_worker_news_seconds", Histogram, "seconds", [],
        "How long a worker took to take a list or plan that changed: its requests wait meanwhile.";
    LOG_DROPPED = "outrigger_log_lines_dropped_total", Counter, "", [],
        "Log lines dropped because the writer could not keep up.";
    LABEL_OVERFLOW = "outrigger_label_overflow_total", Counter, "", ["metric"],
        "Label values counted as `other` because a family has as many as it may.";
    BUILD_INFO = "outrigger_build_info", Gauge, "", ["version"],
        "1; its label says which version runs.";
    PROCESS_CPU = "process_cpu_seconds_total", Counter, "seconds", [],
        "Processor time, user and system.";
    PROCESS_OPEN_FDS = "process_open_fds", Gauge, "", [],
        "Open file descriptors.";
    PROCESS_MAX_FDS = "process_max_fds", Gauge, "", [],
        "File descriptors that may be open.";
    PROCESS_VIRTUAL = "process_virtual_memory_bytes", Gauge, "bytes", [],
        "Virtual memory.";
    PROCESS_RESIDENT = "process_resident_memory_bytes", Gauge, "bytes", [],
        "Resident memory.";
    PROCESS_START = "process_start_time_seconds", Gauge, "seconds", [],
        "When the process started, as a Unix time.";
    PROCESS_THREADS = "process_threads", Gauge, "", [],
        "Threads.";
}

/// The catalogue as the rows of a Markdown table.
pub fn markdown() -> String {
    let mut page = String::from("| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n");
    for family in CATALOGUE {
        let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
        let Family { name, kind, unit, help, .. } = family;
        // Writing to a String cannot fail.
        let _infallible = writeln!(page, "| `{name}` | {kind} | {unit} | {} | {help} |", labels.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_follow_the_rules() {
        let mut seen = HashSet::new();
        for family in CATALOGUE {
            let Family { name, kind, unit, help, .. } = family;
            assert!(seen.insert(name), "{name} stands twice");
            assert!(name.starts_with("outrigger_") || name.starts_with("process_"), "{name} has no place");
            assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
            let bare = name.trim_end_matches("_total");
            assert!(unit.is_empty() || bare.ends_with(unit), "{name} is in {unit}");
            assert!(help.ends_with('.'), "{name}: help is a sentence");
            for banned in ["path", "host", "ip", "id", "authority"] {
                assert!(!family.labels.contains(&banned), "{name} has a label that a client could mint");
            }
        }
    }
}
