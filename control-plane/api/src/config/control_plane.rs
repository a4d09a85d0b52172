//! The control plane's file.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::schema::{Switch, settings};
use crate::unit::{Rate, Share, Size, Span};

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

settings! {
    /// A control plane.
    pub struct ControlPlaneConfig, ControlPlaneConfigWords {
        /// Where sidecars and readers connect: sessions, queries, watches, metrics.
        leaf listen: SocketAddr = loopback(7400), because "nothing is open to a network that nobody named";
        /// Where operators connect: policies and service edits.
        leaf admin: SocketAddr = loopback(7401), because "whoever may read may not thereby write";
        /// Where policies and the registry's snapshot are kept; when empty, the system's place for root and
        /// `$XDG_STATE_HOME/outrigger` for others.
        leaf data: PathBuf = PathBuf::new(), because "the right place depends on who runs it";
        /// Leases.
        part lease: LeaseConfig, words LeaseConfigWords;
        /// What keeps mistakes and outages from emptying lists.
        part protection: ProtectionConfig, words ProtectionConfigWords;
        /// How changes travel.
        part push: PushConfig, words PushConfigWords;
    }
}

settings! {
    /// Leases: what keeps an instance listed.
    pub struct LeaseConfig, LeaseConfigWords {
        /// An instance is gone when its session was silent for this long.
        leaf expiry: Span = Span::secs(90), because "three missed beats of 30 s: one may be lost, two may be a pause";
        /// All sidecars together beat at most this often; beyond, the interval is lengthened.
        leaf beats_at_most: Rate = Rate::per_second(20_000), because "half of what one core renews";
    }
}

settings! {
    /// What keeps mistakes and outages from emptying lists.
    pub struct ProtectionConfig, ProtectionConfigWords {
        /// Nobody expires while fewer than this share of the expected heartbeats arrive.
        leaf beats: Share = Share::percent(85), because "Eureka's value: when many fall silent together, the fault is nearer to us";
        /// The protection ends after this long, whatever is missing.
        leaf ceiling: Span = Span::secs(3600), because "Bilibili's value; Eureka has none and can stay protected for ever";
        /// One sweep takes at most this share of a service, and always may take one.
        leaf sweep_share: Share = Share::percent(15), because "what Eureka's and Bilibili's code take, whatever their pages say";
        /// How often expired instances are swept.
        leaf sweep_every: Span = Span::secs(60), because "Eureka's value";
    }
}

settings! {
    /// How changes travel.
    pub struct PushConfig, PushConfigWords {
        /// After a push, the next removal of the same service waits this long.
        leaf removal_gap: Span = Span::millis(100), because "dead endpoints cost calls";
        /// After a push, the next addition of the same service waits this long.
        leaf addition_gap: Span = Span::secs(1), because "a new endpoint can wait while others join it";
        /// Pushes together send at most this many bytes a second; removals go first.
        leaf budget: Switch<Size> = Switch::On(Size::mib(32)), because "a quarter of a gigabit: what shares a host with the control plane goes on";
        /// New watches a second; beyond, they get 503 with Retry-After, spread over the time that all will take.
        leaf admissions: Rate = Rate::per_second(2_000), because "10,000 sidecars that all reconnect are back within five seconds";
        /// How often a held stream carries a sign of life.
        leaf ping: Span = Span::secs(10), because "a third of the shortest idle limit that stands between";
        /// Held watches at most; beyond, new ones get 503 with Retry-After.
        leaf watches: Switch<u32> = Switch::On(60_000), because "50,000 sidecars at 15 KB each, and a fifth more: who comes again does so before its old connection is found broken";
    }
}
