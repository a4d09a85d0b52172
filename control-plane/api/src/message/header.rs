//! Headers of ours.

/// The request's id, kept or minted, in the request and its answer.
pub const REQUEST_ID: &str = "x-request-id";
/// Names the service where the host cannot.
pub const SERVICE: &str = "x-outrigger-service";
/// Between sidecars, with the request: `attempt=<n>;deadline=<ms left>;level=<class>-<user>`, the level where the route
/// has a class or names users.
pub const CALL: &str = "x-outrigger-call";
/// Between sidecars, with the answer: `inflight=<n>;latency=<µs>;level=<class>-<user>`, the level while less urgent
/// requests are refused.
pub const LOAD: &str = "x-outrigger-load";
/// What remains of the caller's patience in milliseconds; relative, so that no clocks must agree.
pub const TIMEOUT: &str = "x-request-timeout-ms";
/// Why we answered in an endpoint's place.
pub const REASON: &str = "x-outrigger-reason";
/// The version of the messages of this module.
pub const API: &str = "x-outrigger-api";
