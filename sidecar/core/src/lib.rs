//! Every choice about a request, and every state machine of the sidecar.
//!
//! Nothing here opens a socket or a file, sleeps, reads a clock, rolls dice or takes a lock: the moment and
//! the dice come in as values, a decision goes out as a value that can be printed, compared and replayed.
//! What acts lives in the crate `sidecar`; what is simulated is this very code.
//!
//! **The stages of the line that decide**, in order; each needs the value that the one before it made:
//!
//! | stage | takes | gives |
//! |---|---|---|
//! | [`admit`] | the host's cell | [`flight::InFlight`] |
//! | [`route`] | the plan, the request | [`route::Route`] |
//! | [`limit`] | the route | [`limit::Admission`] |
//! | [`choose`] | the admission, the list | [`attempt::Attempt`] |
//! | [`classify`], [`also`] | the attempt, its outcome | [`classify::Next`], or another attempt beside it |
//!
//! **What they stand on.** [`exchange`] is the request; [`plan`] the compiled policies; [`endpoint`] the list
//! and the cells; [`scratch`] what one request notes on its way, and [`record`] what is kept of it; [`outcome`]
//! what the acting half saw; [`refusal`] our "no"; [`deadline`] the time there is; [`head`] the head of a message; [`shelf`] the
//! memory that is lent to it, and to what is read and written.
//!
//! **How one is chosen.** [`parts`] says whom a request may meet, `weigh` who of them is looked at and what speaks
//! against each, `pick` who is taken, [`hash`] where a key leads, [`cost`] what one more request would cost, [`aperture`] whom a caller prefers that cannot see others.
//!
//! **Machines**, each asked and told, shared by all workers as atomic words with a pure rule: [`ewma`],
//! [`window`], [`turn`], [`health`], [`breaker`], [`route_breaker`], [`flight`], [`budget`], [`bucket`], [`rate`], [`bulkhead`], [`keyed`], [`latency`],
//! [`probe`], [`speed`]; put together per endpoint in [`endpoint::EndpointCell`] and per service in [`service::ServiceCell`]. [`cost`],
//! [`judge`], `another` and [`evidence`] are the rules between them; [`limits`] are what a plan counts by. [`queue`] is each worker's own, [`conduct`] each
//! connection's; [`check`], [`directory`] and [`heart`] belong to whoever
//! speaks to the control plane.

pub mod abandoned;
pub mod admit;
pub mod ahead;
pub mod also;
mod another;
pub mod aperture;
pub mod attempt;
pub mod breaker;
pub mod bucket;
pub mod budget;
pub mod bulkhead;
pub mod check;
pub mod choose;
pub mod classify;
pub mod clusters;
pub mod conduct;
pub mod cost;
pub mod crowd;
pub mod deadline;
mod decay;
pub mod dice;
pub mod directory;
pub mod endpoint;
pub mod evidence;
pub mod ewma;
pub mod exchange;
pub mod fate;
pub mod flight;
pub mod grant;
pub mod guard;
pub mod hash;
pub mod head;
pub mod health;
pub mod heart;
pub mod idle;
pub mod judge;
pub mod keyed;
pub mod knee;
pub mod latency;
pub mod left;
pub mod level;
pub mod limit;
pub mod limits;
pub mod looks;
pub mod names;
mod nobody;
pub mod orders;
pub mod outcome;
pub mod pace;
pub mod parts;
mod pick;
pub mod plan;
pub mod probe;
pub mod queue;
pub mod rate;
pub mod record;
pub mod refusal;
pub mod report;
pub mod resend;
pub mod route;
pub mod route_breaker;
pub mod scratch;
pub mod service;
pub mod shadow;
pub mod share;
pub mod shed;
pub mod shelf;
pub mod side;
pub mod speed;
mod stay;
mod suspect;
pub mod told;
pub mod traffic;
mod trial;
pub mod turn;
mod weigh;
pub mod window;

#[cfg(test)]
mod bench;
