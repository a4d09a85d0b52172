//! How often requests may come: limits, and what each counts apart and together.

mod shape;

use crate::choice::choice;
use crate::name::Label;
use crate::schema::choice_shape;
use crate::unit::{Rate, Span};

/// A sliding window counts in twenty bits.
pub(crate) const SLIDING_MAX: u64 = 1_000_000;
/// Windows shorter than this are spacing, which buckets do better, and longer ones are quotas, which outlive processes.
const WINDOWS: (Span, Span) = (Span::millis(100), Span::secs(86_400));

choice! {
    /// How a limit counts.
    #[derive(Default, PartialOrd, Ord)]
    pub enum LimitKind {
        /// `rate` over time, `burst` at once: the generic cell rate algorithm.
        #[default]
        TokenBucket = "token-bucket",
        /// Requests go on one by one at `rate`; who would wait for its turn longer than `longest_wait` is refused.
        LeakyBucket = "leaky-bucket",
        /// What `rate` makes within `window`, counted anew in each: twice as much may come around its end.
        FixedWindow = "fixed-window",
        /// Never more than that in any stretch of time as long as `window`; counted in sixteenths of it, so that a steady
        /// flow gets sixteen seventeenths of `rate`.
        SlidingWindow = "sliding-window",
    }
}

choice! {
    /// Whose requests a limit counts together.
    #[derive(Default, PartialOrd, Ord)]
    pub enum LimitScope {
        /// Those that one host sends, at that host.
        #[default]
        Host = "host",
        /// Those that reach one instance, from all hosts, before its app.
        Instance = "instance",
        /// Those that all hosts send: each spends its part, which follows what it would like to send.
        Fleet = "fleet",
    }
}

choice_shape!(LimitKind, LimitScope);

/// What a limit counts apart.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LimitKey {
    /// Nothing: everyone together.
    #[default]
    Service,
    /// Each route.
    Route,
    /// Each endpoint: a full one is passed over for another.
    Endpoint,
    /// Each caller.
    Caller,
    /// Each value of this header, by its lower-case name; requests without it together.
    Header(String),
}

/// How a limit counts, with what that takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitRule {
    /// A token bucket.
    TokenBucket {
        /// How many may come at once.
        burst: u32,
    },
    /// A leaky bucket.
    LeakyBucket {
        /// How long a request may wait for its turn.
        longest_wait: Span,
    },
    /// A fixed window.
    FixedWindow {
        /// Its length.
        window: Span,
    },
    /// A sliding window.
    SlidingWindow {
        /// Its length.
        window: Span,
    },
}

impl LimitRule {
    /// The word for it.
    pub const fn kind(self) -> LimitKind {
        match self {
            Self::TokenBucket { .. } => LimitKind::TokenBucket,
            Self::LeakyBucket { .. } => LimitKind::LeakyBucket,
            Self::FixedWindow { .. } => LimitKind::FixedWindow,
            Self::SlidingWindow { .. } => LimitKind::SlidingWindow,
        }
    }
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name, in answers and metrics.
    pub name: Label,
    /// What it counts apart.
    pub key: LimitKey,
    /// Whose requests it counts together.
    pub scope: LimitScope,
    /// The long-run rate.
    pub rate: Rate,
    /// How it counts.
    pub rule: LimitRule,
}

impl Limit {
    /// A token bucket for everyone, counted at each host; `burst` is one second's worth: what a steady caller sends
    /// when it was held up for a moment.
    pub fn bucket(name: Label, rate: Rate) -> Self {
        let burst = rate.as_per_second().ceil().clamp(1.0, f64::from(u32::MAX)) as u32;
        let (key, scope) = (LimitKey::Service, LimitScope::Host);
        Self { name, key, scope, rate, rule: LimitRule::TokenBucket { burst } }
    }

    /// What it allows and within how many whole seconds, as a caller is told.
    pub fn quota(&self) -> (u64, u64) {
        let span = match self.rule {
            LimitRule::TokenBucket { burst } => {
                Span::millis((f64::from(burst) / self.rate.as_per_second() * 1e3) as u64)
            }
            LimitRule::LeakyBucket { .. } => Span::millis((1e3 / self.rate.as_per_second()) as u64),
            LimitRule::FixedWindow { window } | LimitRule::SlidingWindow { window } => window,
        };
        let seconds = span.as_micros().div_ceil(1_000_000).max(1);
        (self.rate.within(Span::secs(seconds)).max(1), seconds)
    }

    /// What is wrong with it although each of its words is right, and what to do instead.
    fn wrong(&self) -> Option<(String, &'static str)> {
        let wrong = |what: &str, hint: &'static str| Some((what.to_owned(), hint));
        let counts_whole = matches!(self.rule.kind(), LimitKind::FixedWindow | LimitKind::SlidingWindow);
        if self.rate.interval_nanos().is_none() {
            return wrong("rate 0 lets nothing through", "take the policy out instead");
        }
        if let LimitRule::FixedWindow { window } | LimitRule::SlidingWindow { window } = self.rule {
            let most = self.rate.within(window);
            if window < WINDOWS.0 || window > WINDOWS.1 {
                let what = format!("window {window} is not between {} and {}", WINDOWS.0, WINDOWS.1);
                return Some((what, "shorter ones are what kind: token-bucket is for"));
            }
            if most == 0 {
                return Some((format!("{} is not one within {window}", self.rate), "write a longer window"));
            }
            if self.rule.kind() == LimitKind::SlidingWindow && most > SLIDING_MAX {
                let what =
                    format!("{most} within {window} are more than the {SLIDING_MAX} that it can count");
                return Some((what, "write a shorter window, or kind: token-bucket"));
            }
            if most > u64::from(u32::MAX) {
                return wrong("it is more than can be counted", "write a shorter window");
            }
        }
        match (self.scope, &self.key) {
            (LimitScope::Fleet, LimitKey::Service) if counts_whole => wrong(
                "what one host spent of a window cannot go to another within it",
                "write kind: token-bucket or leaky-bucket, or scope: host",
            ),
            (LimitScope::Fleet, LimitKey::Service) => None,
            (LimitScope::Fleet, _) => {
                wrong("a fleet-wide limit counts everyone together", "write key: service, or scope: host")
            }
            (LimitScope::Instance, LimitKey::Endpoint) => {
                wrong("an instance counts apart by itself", "write key: service")
            }
            (_, LimitKey::Endpoint)
                if !matches!(self.rule.kind(), LimitKind::TokenBucket | LimitKind::FixedWindow) =>
            {
                wrong(
                    "an endpoint at its limit is passed over, not waited for",
                    "write kind: token-bucket or fixed-window",
                )
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use crate::policy::Policy;
    use crate::problem::Problem;
    use crate::schema::{Shape as _, Words};
    use crate::yaml;

    fn read(words: &str) -> Result<crate::policy::Settings, String> {
        let read = yaml::read_one::<Policy>(&format!("name: a\n{words}\n"));
        let told = |problems: Vec<Problem>| {
            problems.iter().map(|p| format!("{}: {}", p.path, p.what)).collect::<Vec<_>>().join("; ")
        };
        read.map(|policy| {
            assert_eq!(yaml::read_one::<Policy>(&yaml::write(&policy)).unwrap(), policy, "it reads back");
            policy.words.settle()
        })
        .map_err(told)
    }

    /// What stands for a limit: its rule and key, or why it is none.
    fn check(limit: &str, wanted: &str) {
        let told = read(&format!("limits: [{{ name: x, {limit} }}]"));
        let told = told
            .map(|settings| format!("{:?} by {}", settings.limits[0].rule, settings.limits[0].key.write()));
        assert_eq!(told.unwrap_or_else(|why| why), wanted, "{limit}");
    }

    #[test]
    fn each_kind_takes_its_own_words_and_no_others() {
        check("rate: 5/s", "TokenBucket { burst: 5 } by \"service\"");
        check("rate: 5/s, key: { header: X-User }", "TokenBucket { burst: 5 } by {\"header\":\"x-user\"}");
        check(
            "kind: leaky-bucket, rate: 5/s, key: caller",
            "LeakyBucket { longest_wait: 20ms } by \"caller\"",
        );
        check("kind: fixed-window, rate: 5/m, window: 1m", "FixedWindow { window: 1m } by \"service\"");
        check(
            "kind: sliding-window, rate: 5/s, window: 1s, key: route",
            "SlidingWindow { window: 1s } by \"route\"",
        );
        check("kind: fixed-window, rate: 5/m", "limits[0].window: window is missing");
    }

    #[test]
    fn what_cannot_be_counted_so_is_told() {
        for (limit, wanted) in [
            ("rate: 0/s", "lets nothing through"),
            ("kind: fixed-window, rate: 5/m, window: 1s", "not one within"),
            ("kind: fixed-window, rate: 5/s, window: 5ms", "not between"),
            ("kind: sliding-window, rate: 1000/s, window: 1h", "more than the 1000000"),
            ("kind: sliding-window, rate: 5/s, window: 1s, scope: fleet", "cannot go to another"),
            ("rate: 5/s, scope: fleet, key: route", "counts everyone together"),
            ("kind: leaky-bucket, rate: 5/s, key: endpoint", "passed over"),
            ("rate: 5/s, key: endpoint, scope: instance", "counts apart by itself"),
            ("rate: 5/s, key: nobody", "nothing to count by"),
        ] {
            let told = read(&format!("limits: [{{ name: x, {limit} }}]")).unwrap_err();
            assert!(told.contains(wanted), "{limit}: {told}");
        }
        assert!(read("limits: [{ name: x, kind: leaky-bucket, rate: 5/s, scope: fleet }]").is_ok());
    }

    #[test]
    fn a_cost_is_a_number_or_what_a_header_says_within_bounds() {
        let cost = |words: &str, says: &'static str| read(words).unwrap().cost.of(|_| Some(says));
        assert_eq!([cost("cost: 7", "3"), cost("body_at_most: off", "3")], [7, 1]);
        let by_header = "cost: { header: X-Units, at_most: 50 }";
        assert_eq!(["3", "0", "99", "many", "-1"].map(|says| cost(by_header, says)), [3, 1, 50, 1, 1]);
        assert!(read("cost: 0").unwrap_err().contains("costs something"));
    }

    #[test]
    fn a_caller_is_told_how_much_in_how_many_seconds() {
        let quota =
            |limit: &str| read(&format!("limits: [{{ name: x, {limit} }}]")).unwrap().limits[0].quota();
        assert_eq!(quota("rate: 1000/s, burst: 2000"), (2_000, 2));
        assert_eq!(quota("kind: leaky-bucket, rate: 10/m"), (1, 6));
        assert_eq!(quota("kind: fixed-window, rate: 10/m, window: 1m"), (10, 60));
    }
}
