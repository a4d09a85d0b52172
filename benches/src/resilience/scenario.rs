//! What happens in a run: who serves, who calls, and what goes wrong when. Times are milliseconds from the first
//! request.

use std::ops::Range;
use std::time::Duration;

use serde::Deserialize;
use sidecar_core::dice;

/// One run.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Where its dice begin.
    pub seed: u64,
    /// For how long requests come.
    pub millis: u64,
    /// After how long a caller leaves.
    pub patience_ms: u64,
    /// Who serves.
    pub hosts: Vec<Host>,
    /// Who calls.
    pub callers: Vec<Caller>,
    /// Simulated only: the policy of every sidecar; none for the defaults.
    #[serde(default)]
    pub policy: String,
    /// Simulated only: for how many microseconds in the mean an answer waits for its worker to have the processor, which
    /// it shares with other workers.
    #[serde(default)]
    pub lag_us: f64,
    /// Simulated only: sidecars stand before the hosts and say how much is in flight there.
    #[serde(default)]
    pub reports: bool,
    /// Simulated only: who serves by the control plane's word, in the order of time; all that have joined, without.
    #[serde(default)]
    pub pushes: Vec<Push>,
}

/// The control plane says who serves, true or not; nobody said that the others left.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Push {
    /// When.
    pub at_ms: u64,
    /// Whom it lists.
    pub hosts: Vec<usize>,
}

/// A host: slots that work side by side, and a queue before them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Where it listens.
    pub port: u16,
    /// How many requests it works on at a time.
    pub slots: usize,
    /// How long one takes in the mean.
    pub work_ms: f64,
    /// Whether each takes as long as chance has it (exponentially), or all equally long.
    #[serde(default)]
    pub exponential: bool,
    /// Some of its requests take longer than the others.
    #[serde(default)]
    pub long: Option<Long>,
    /// Whether it drops what its caller no longer waits for.
    #[serde(default)]
    pub honours_cancel: bool,
    /// Where it stands; empty for nowhere.
    #[serde(default)]
    pub zone: String,
    /// Simulated only: when it joins the list.
    #[serde(default)]
    pub joins_ms: u64,
    /// What changes, in the order of time.
    #[serde(default)]
    pub turns: Vec<Turn>,
}

/// A route among others whose work is another one.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Long {
    /// The share of requests that are for it.
    pub share: f64,
    /// How many times longer its work takes.
    pub times: f64,
}

/// What changes at a host at a moment; what is left out stays.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// When.
    pub at_ms: u64,
    /// The share of requests that it answers with 500 after a millisecond, without working.
    #[serde(default)]
    pub fail: Option<f64>,
    /// How many times longer its work takes.
    #[serde(default)]
    pub slow: Option<f64>,
    /// How many slots it has.
    #[serde(default)]
    pub slots: Option<usize>,
    /// Its process ends: connections break and nobody listens any more.
    #[serde(default)]
    pub dies: bool,
}

/// A stream of requests that come at random (Poisson), whether or not earlier ones were answered.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// Its sidecar's port; callers with one port share that sidecar.
    pub port: u16,
    /// Requests per second.
    pub rate: f64,
    /// Where it stands; empty for nowhere.
    #[serde(default)]
    pub zone: String,
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// Header lines besides `host`.
    #[serde(default)]
    pub headers: Vec<String>,
    /// How often each request is tried by the caller itself, at once after a failure.
    #[serde(default = "once")]
    pub tries: u8,
    /// When its first request may come.
    #[serde(default)]
    pub from_ms: u64,
    /// When its last one does; at the end of the run, without.
    #[serde(default)]
    pub until_ms: Option<u64>,
    /// How long one of its tries is waited for; as long as the caller's patience, without.
    #[serde(default)]
    pub try_ms: Option<u64>,
    /// Simulated only: so many workers in the place of the rate; each sends its next request when the last one ended.
    #[serde(default)]
    pub workers: usize,
}

fn get() -> String {
    "GET".into()
}

fn once() -> u8 {
    1
}

/// How a host is at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mood {
    /// The share that fails.
    pub fail: f64,
    /// How many times longer work takes.
    pub slow: f64,
    /// Its slots.
    pub slots: usize,
    /// Whether its process is gone.
    pub dead: bool,
}

impl Host {
    /// How it is `at` after the first request.
    pub fn mood(&self, at: Duration) -> Mood {
        let mut mood = Mood { fail: 0.0, slow: 1.0, slots: self.slots, dead: false };
        for turn in self.turns.iter().filter(|turn| Duration::from_millis(turn.at_ms) <= at) {
            mood.fail = turn.fail.unwrap_or(mood.fail);
            mood.slow = turn.slow.unwrap_or(mood.slow);
            mood.slots = turn.slots.unwrap_or(mood.slots);
            mood.dead |= turn.dies;
        }
        mood
    }

    /// How long one request's work takes in `mood`.
    pub fn work(&self, mood: Mood, dice: &mut u64) -> Duration {
        let long = self.long.filter(|long| dice::unit(dice::next(dice)) < long.share);
        let mean = self.work_ms / 1e3 * mood.slow * long.map_or(1.0, |long| long.times);
        Duration::from_secs_f64(if self.exponential { mean * exponential(dice) } else { mean })
    }
}

impl Scenario {
    /// The ports of the sidecars, each once, in the order of their callers.
    pub fn sidecars(&self) -> Vec<u16> {
        let mut ports = Vec::new();
        for caller in &self.callers {
            if !ports.contains(&caller.port) {
                ports.push(caller.port);
            }
        }
        ports
    }

    /// Whom the control plane lists `at` after the first request.
    pub fn listed(&self, at: Duration) -> impl Iterator<Item = &Host> {
        let past = move |millis: u64| Duration::from_millis(millis) <= at;
        let said = self.pushes.iter().rfind(|push| past(push.at_ms));
        let all = self.hosts.iter().enumerate().filter(move |(_, host)| past(host.joins_ms));
        all.filter(move |(place, _)| said.is_none_or(|push| push.hosts.contains(place))).map(|(_, host)| host)
    }

    /// Between which moments `caller` sends.
    pub fn span(&self, caller: usize) -> Range<Duration> {
        let Caller { from_ms, until_ms, .. } = self.callers[caller];
        Duration::from_millis(from_ms)..Duration::from_millis(until_ms.unwrap_or(u64::MAX).min(self.millis))
    }

    /// How long one try of `caller` is waited for that begins `after` its request was due.
    pub fn waits(&self, caller: usize, after: Duration) -> Duration {
        let left = Duration::from_millis(self.patience_ms).saturating_sub(after);
        self.callers[caller].try_ms.map_or(left, |one| left.min(Duration::from_millis(one)))
    }

    /// Which of the sidecars `caller` uses.
    pub fn sidecar_of(&self, caller: usize) -> usize {
        let port = self.callers[caller].port;
        self.sidecars().iter().position(|own| *own == port).unwrap_or(0)
    }
}

/// A draw from the exponential distribution of mean one.
pub fn exponential(dice: &mut u64) -> f64 {
    -(1.0 - dice::unit(dice::next(dice))).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_turn_leaves_out_stays() {
        let turn = |at_ms, fail, slots| Turn { at_ms, fail, slow: None, slots, dies: false };
        let host = Host {
            port: 0,
            slots: 2,
            work_ms: 1.0,
            exponential: false,
            long: None,
            honours_cancel: false,
            zone: String::new(),
            joins_ms: 0,
            turns: vec![turn(10, Some(1.0), None), turn(20, None, Some(5))],
        };
        let mood = |at| host.mood(Duration::from_millis(at));
        assert_eq!(mood(9), Mood { fail: 0.0, slow: 1.0, slots: 2, dead: false });
        assert_eq!(mood(10), Mood { fail: 1.0, slow: 1.0, slots: 2, dead: false });
        assert_eq!(mood(20), Mood { fail: 1.0, slow: 1.0, slots: 5, dead: false });
    }
}
