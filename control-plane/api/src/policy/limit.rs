//! How often requests may come: limits, what each counts apart and together, and what a request costs.

use serde_json::{Map, Value, json};

use crate::choice::choice;
use crate::name::Label;
use crate::problem::Problem;
use crate::schema::{Field, Fields, Kind, Node, Problems, Schema, Shape, choice_shape};
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

impl Shape for LimitKey {
    fn schema() -> Schema {
        let words = Schema::Choice(vec!["service", "route", "endpoint", "caller"]);
        let header = Field::new(
            "header",
            "Each value of this header; requests without it together.",
            String::schema(),
            None,
        );
        Schema::Either(Box::new(words), Box::new(Schema::Record(vec![header])))
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        if matches!(node, Node::Map(_)) {
            let mut fields = Fields::of(node, path, problems)?;
            let name: Option<String> = fields.required("header", problems);
            fields.finish(problems);
            return name.filter(|name| !name.is_empty()).map(|name| Self::Header(name.to_lowercase()));
        }
        match node {
            Node::Scalar(_, word) if word == "service" => Some(Self::Service),
            Node::Scalar(_, word) if word == "route" => Some(Self::Route),
            Node::Scalar(_, word) if word == "endpoint" => Some(Self::Endpoint),
            Node::Scalar(_, word) if word == "caller" => Some(Self::Caller),
            other => {
                let what = format!("{} is nothing to count by", other.what());
                let hint = "write service, route, endpoint, caller or { header: NAME }";
                problems.push(Problem::at(path, what).hint(hint));
                None
            }
        }
    }

    fn write(&self) -> Value {
        match self {
            Self::Service => "service".into(),
            Self::Route => "route".into(),
            Self::Endpoint => "endpoint".into(),
            Self::Caller => "caller".into(),
            Self::Header(name) => json!({ "header": name }),
        }
    }
}

impl Shape for Limit {
    fn schema() -> Schema {
        Schema::Record(vec![
            Field::new("name", "Its name, in answers and metrics; must be written.", Label::schema(), None),
            Field::new("kind", "How it counts.", LimitKind::schema(), Some("token-bucket".into())),
            Field::new("key", "What it counts apart.", LimitKey::schema(), Some("service".into())),
            Field::new(
                "scope",
                "Whose requests it counts together.",
                LimitScope::schema(),
                Some("host".into()),
            ),
            Field::new("rate", "The long-run rate; must be written.", Rate::schema(), None),
            Field::new(
                "burst",
                "`token-bucket`: how many may come at once; one second's worth by default.",
                u32::schema(),
                None,
            ),
            Field::new(
                "longest_wait",
                "`leaky-bucket`: how long a request may wait for its turn.",
                Span::schema(),
                Some("20ms".into()),
            ),
            Field::new(
                "window",
                "`fixed-window` and `sliding-window`: its length; must be written there.",
                Span::schema(),
                None,
            ),
        ])
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::of(node, path, problems)?;
        let name = fields.required("name", problems);
        let kind: LimitKind = fields.optional("kind", problems).unwrap_or_default();
        let key = fields.optional("key", problems).unwrap_or_default();
        let scope = fields.optional("scope", problems).unwrap_or_default();
        let rate: Option<Rate> = fields.required("rate", problems);
        let (burst, longest_wait, window) = match kind {
            LimitKind::TokenBucket => (fields.optional::<u32>("burst", problems), None, None),
            LimitKind::LeakyBucket => (None, fields.optional("longest_wait", problems), None),
            LimitKind::FixedWindow | LimitKind::SlidingWindow => {
                (None, None, Some(fields.required::<Span>("window", problems)))
            }
        };
        fields.finish(problems);
        let mut limit = Self { key, scope, ..Self::bucket(name?, rate?) };
        limit.rule = match (kind, window) {
            (LimitKind::FixedWindow, Some(window)) => LimitRule::FixedWindow { window: window? },
            (LimitKind::SlidingWindow, Some(window)) => LimitRule::SlidingWindow { window: window? },
            (LimitKind::LeakyBucket, _) => {
                // As long as for room, and for the same reason: a longer queue is overload, not a burst.
                LimitRule::LeakyBucket { longest_wait: longest_wait.unwrap_or(Span::millis(20)) }
            }
            _ => burst.map_or(limit.rule, |burst| LimitRule::TokenBucket { burst: burst.max(1) }),
        };
        if let Some((what, hint)) = limit.wrong() {
            problems.push(Problem::at(path, what).hint(hint));
            return None;
        }
        Some(limit)
    }

    fn write(&self) -> Value {
        let mut map = Map::new();
        map.insert("name".into(), self.name.write());
        // The first kind is left out, so that a sidecar that knows no other can read it.
        if self.rule.kind() != LimitKind::TokenBucket {
            map.insert("kind".into(), self.rule.kind().write());
        }
        map.insert("key".into(), self.key.write());
        map.insert("scope".into(), self.scope.write());
        map.insert("rate".into(), self.rate.write());
        let (word, value) = match self.rule {
            LimitRule::TokenBucket { burst } => ("burst", burst.into()),
            LimitRule::LeakyBucket { longest_wait } => ("longest_wait", longest_wait.write()),
            LimitRule::FixedWindow { window } | LimitRule::SlidingWindow { window } => {
                ("window", window.write())
            }
        };
        map.insert(word.into(), value);
        Value::Object(map)
    }
}

/// How much a request takes from each limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cost {
    /// So much.
    Units(u32),
    /// What this header says, by its lower-case name; 1 without it.
    Header {
        /// The header.
        header: String,
        /// Never more than this, whatever it says.
        at_most: u32,
    },
}

impl Cost {
    /// What a request costs where nobody says otherwise.
    pub const ONE: Self = Self::Units(1);

    /// What a request costs; `header` gives a header's value by its lower-case name.
    pub fn of<'h>(&self, header: impl Fn(&str) -> Option<&'h str>) -> u32 {
        match self {
            Self::Units(units) => *units,
            Self::Header { header: name, at_most } => header(name)
                .and_then(|value| value.trim().parse().ok())
                .map_or(1, |units: u32| units.clamp(1, *at_most)),
        }
    }
}

impl Shape for Cost {
    fn schema() -> Schema {
        let by_header = Schema::Record(vec![
            Field::new(
                "header",
                "What this header says; 1 without it. Only where callers are trusted with it.",
                String::schema(),
                None,
            ),
            Field::new(
                "at_most",
                "Never more than this, whatever it says; must be written.",
                u32::schema(),
                None,
            ),
        ]);
        Schema::Either(Box::new(u32::schema()), Box::new(by_header))
    }

    fn read(node: &Node, path: &str, problems: &mut Problems) -> Option<Self> {
        let cost = if matches!(node, Node::Scalar(Kind::Number, _)) {
            Self::Units(u32::read(node, path, problems)?)
        } else {
            let mut fields = Fields::of(node, path, problems)?;
            let header: Option<String> = fields.required("header", problems);
            let at_most = fields.required("at_most", problems);
            fields.finish(problems);
            Self::Header { header: header?.to_lowercase(), at_most: at_most? }
        };
        if let Self::Units(0) | Self::Header { at_most: 0, .. } = cost {
            problems.push(
                Problem::at(path, "a request costs something").hint("write limits: [] where nothing counts"),
            );
            return None;
        }
        Some(cost)
    }

    fn write(&self) -> Value {
        match self {
            Self::Units(units) => (*units).into(),
            Self::Header { header, at_most } => json!({ "header": header, "at_most": at_most }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::policy::Policy;
    use crate::schema::Words;
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
