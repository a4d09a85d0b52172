//! How urgent a request is: its class first, then its user's turn.
//!
//! DAGOR's compound level (Zhou et al., "Overload Control for Scaling WeChat Microservices", SoCC 2018, §4.2.3): where not
//! all requests of a class can be served, users are told apart by a hash that changes every hour. All requests of one user
//! live or die together, so that a page made of ten calls is not lost to each tenth, and nobody is last for long.

use std::fmt;
use std::str::FromStr;

use api::policy::{Class, Settings};
use api::schema::Switch;

use crate::deadline::digits;
use crate::exchange::RequestId;
use crate::hash;
use crate::head::path_and_query;
use crate::route::Route;

/// Users told apart within a class (DAGOR's value).
const USERS: u16 = 128;

/// A level; a higher one goes before a lower one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u16);

impl Level {
    /// How many there are.
    pub const COUNT: usize = Class::ALL.len() * USERS as usize;
    /// Below it there is none: as a bound it holds nobody back.
    pub const LOWEST: Self = Self(0);
    /// That of a request before its route is known.
    pub const ORDINARY: Self = Self::new(Class::Ordinary, 0);

    /// The level of a `user` of a class; of the user's hash the last bits count.
    pub const fn new(class: Class, user: u64) -> Self {
        Self(class as u16 * USERS + (user % USERS as u64) as u16)
    }

    /// Its class.
    pub fn class(self) -> Class {
        Class::ALL.get(usize::from(self.0 / USERS)).copied().unwrap_or_default()
    }

    /// Its user's turn within the class.
    pub fn user(self) -> u16 {
        self.0 % USERS
    }

    /// Its place among all, from the lowest.
    pub fn place(self) -> usize {
        self.0.into()
    }

    /// The level at a place; the highest, where there is none so high.
    pub(crate) fn at(place: usize) -> Self {
        Self(place.min(Self::COUNT - 1) as u16)
    }
}

/// Written between sidecars: `critical-57`.
impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.class(), self.user())
    }
}

impl FromStr for Level {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (class, user) = text.split_once('-').ok_or(())?;
        let user = digits(user).filter(|number| *number < USERS.into() && user.len() <= 3).ok_or(())?;
        Ok(Self::new(class.parse().map_err(|_| ())?, user))
    }
}

/// What there is to see of a request whose level is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Its id: it stands for a user where the policy names none, so that a part of a class can be dropped.
    pub id: RequestId,
    /// Its target.
    pub target: &'a str,
    /// Where it comes from.
    pub peer: Option<std::net::IpAddr>,
    /// What its caller's sidecar said.
    pub told: Option<Level>,
}

/// The level of a request on `route`, in the `hour` since 1970. What a caller's sidecar said counts where the policy
/// trusts it.
pub fn level<'h>(
    route: &Route,
    seen: Seen<'_>,
    header: impl Fn(&str) -> Option<&'h str>,
    hour: impl FnOnce() -> u64,
) -> Level {
    let settings = route.settings();
    if let Some(told) = seen.told.filter(|_| settings.trust_priority) {
        return told;
    }
    let user = match &settings.shed_by {
        Switch::Off => None,
        Switch::On(key) => {
            let asked = path_and_query(seen.target);
            hash::key_of(key, asked, seen.peer, header).map(|user| hash::both(user, hour()))
        }
    };
    // The last bits of an id are random.
    Level::new(settings.priority, user.unwrap_or(seen.id.bits() as u64))
}

/// Whether requests under these settings are other than most, so that the next sidecar is told their level.
pub fn is_told(settings: &Settings) -> bool {
    settings.priority != Class::Ordinary || settings.shed_by != Switch::Off
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use proptest::prelude::*;

    use super::*;
    use crate::bench::{Bench, exchange};
    use crate::route::route;

    proptest! {
        #[test]
        fn a_level_reads_back_and_keeps_the_order_of_classes(class in 0_usize..3, user: u64) {
            let level = Level::new(Class::ALL[class], user);
            prop_assert_eq!(level.to_string().parse::<Level>(), Ok(level));
            prop_assert_eq!((level.class(), u64::from(level.user())), (Class::ALL[class], user % 128));
            prop_assert_eq!(Level::at(level.place()), level);
            prop_assert!(class == 0 || level > Level::new(Class::ALL[class - 1], u64::MAX));
        }

        #[test]
        fn what_is_no_level_is_none(text in "\\PC{0,20}") {
            let read = text.parse::<Level>();
            let written = |level: Level| {
                let (class, user) = text.split_once('-').unwrap();
                class == level.class().as_str() && user.parse::<u16>() == Ok(level.user())
            };
            prop_assert!(read.is_err() || read.is_ok_and(written), "{}", text);
        }
    }

    #[test]
    fn signs_long_numbers_and_unknown_classes_are_none() {
        for wrong in
            ["", "critical", "critical-", "critical-128", "critical-+5", "critical-0005", "urgent-5", "-5"]
        {
            assert!(wrong.parse::<Level>().is_err(), "{wrong}");
        }
    }

    /// The level of a request by `policy` that says `user`, was told `critical-5` and comes in that `hour`.
    fn of(policy: &str, user: Option<&'static str>, id: u128, hour: u64) -> Level {
        let mut bench = Bench::new(1, policy);
        bench.headers.extend(user.map(|user| ("x-user", user)));
        let header = |name: &str| bench.headers.iter().find(|(own, _)| *own == name).map(|(_, value)| *value);
        let route = route(&bench.plan, &exchange(true), "GET", "/", header);
        let told = Some(Level::new(Class::Critical, 5));
        let seen = Seen { id: RequestId::mint(1, id), target: "/", peer: None, told };
        level(&route, seen, header, || hour)
    }

    #[test]
    fn a_users_requests_stand_together_for_an_hour_and_the_caller_is_believed_where_it_is_trusted() {
        let by_user = "shed_by: { header: x-user }\n";
        assert_eq!(of(by_user, Some("ann"), 1, 7), of(by_user, Some("ann"), 2, 7));
        let hours: std::collections::BTreeSet<_> =
            (0..24).map(|hour| of(by_user, Some("ann"), 1, hour)).collect();
        assert!(hours.len() > 12, "{hours:?}");
        assert_ne!(of(by_user, None, 1, 7), of(by_user, None, 2, 7), "without a user each stands for itself");
        assert_eq!(of("", None, 5, 7).class(), Class::Ordinary);
        assert_eq!(of("trust_priority: true\n", None, 5, 7), Level::new(Class::Critical, 5));
    }
}
