//! What the client counted, and the promises that an unattended run is judged by.
//!
//! Plain values: nothing here sends, reads a file or ends a process.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// POSTs remembered one by one, to compare with the kills: 8 min at the default rate.
const POSTS_KEPT: usize = 20_000;

/// Microseconds since 1970: two processes of one host must agree on it.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A kill: from just before the signal until the process was reaped. In between its sockets still take bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kill {
    pub(super) before: u64,
    pub(super) after: u64,
}

/// How requests of one method went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) good: u64,
    /// By reason.
    pub(super) failed: BTreeMap<String, u64>,
}

impl Tally {
    fn count(&mut self, failure: Option<String>) {
        match failure {
            None => self.good += 1,
            Some(reason) => *self.failed.entry(reason).or_default() += 1,
        }
    }

    /// How many failed, for any reason.
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// One POST, from when it was begun to when its end was known, in microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Post {
    pub(super) id: String,
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) good: bool,
}

/// The client's counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) gets: Tally,
    pub(super) posts: Tally,
    /// POSTs in flight now.
    pub(super) posts_in_flight: u64,
    /// The longest latency in microseconds, from when the request was due.
    pub(super) worst: u64,
    /// The longest since the counts were told last.
    pub(super) worst_lately: u64,
    /// The last POSTs, one by one; left out while counts are only told on the way.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    each_post: VecDeque<Post>,
}

impl Report {
    pub(super) fn post_begins(&mut self) {
        self.posts_in_flight += 1;
    }

    pub(super) fn post_ends(&mut self, post: Post, failure: Option<String>, latency: Duration) {
        self.posts_in_flight -= 1;
        self.posts.count(failure);
        self.waited(latency);
        if self.each_post.len() == POSTS_KEPT {
            self.each_post.pop_front();
        }
        self.each_post.push_back(post);
    }

    pub(super) fn get_ends(&mut self, failure: Option<String>, latency: Duration) {
        self.gets.count(failure);
        self.waited(latency);
    }

    fn waited(&mut self, latency: Duration) {
        let latency = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.worst = self.worst.max(latency);
        self.worst_lately = self.worst_lately.max(latency);
    }

    /// The counts without the single POSTs; begins a new `worst_lately`.
    pub(super) fn so_far(&mut self) -> Self {
        let each_post = std::mem::take(&mut self.each_post);
        let told = self.clone();
        self.each_post = each_post;
        self.worst_lately = 0;
        told
    }

    /// Requests that ended.
    pub(super) fn ended(&self) -> u64 {
        self.gets.good + self.gets.failures() + self.posts.good + self.posts.failures()
    }

    /// POSTs that were in flight while `kill` happened.
    pub(super) fn posts_in_flight_at(&self, kill: Kill) -> u64 {
        let meets = |post: &&Post| post.from <= kill.after && post.to >= kill.before;
        self.each_post.iter().filter(meets).count() as u64
    }

    /// The promises that were not kept, in words; `twice` are the orders that more than one line tells of, and
    /// `expected` is how many requests the rate makes.
    pub(super) fn broken(&self, kills: &[Kill], twice: &[String], expected: u64) -> Vec<String> {
        let mut broken = Vec::new();
        if self.gets.failures() > 0 {
            broken.push(format!("{} GETs failed: {:?}", self.gets.failures(), self.gets.failed));
        }
        let allowed = kills.iter().map(|kill| self.posts_in_flight_at(*kill)).sum::<u64>();
        if self.posts.failures() > allowed {
            let failed = self.posts.failures();
            let what = format!(
                "{failed} POSTs failed, {allowed} were in flight at the kills: {:?}",
                self.posts.failed
            );
            broken.push(what);
        }
        if !twice.is_empty() {
            broken.push(format!("{} POSTs ran twice: {}", twice.len(), twice.join(", ")));
        }
        // A client that hardly sent anything has shown nothing.
        if self.ended() < expected / 2 {
            broken.push(format!("only {} of {expected} requests were sent", self.ended()));
        }
        broken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(failed_gets: u64, posts: &[(u64, u64, bool)], twice: &[&str], expected: u64, broken: &[&str]) {
        let mut report = Report::default();
        for _ in 0..failed_gets {
            report.get_ends(Some("connect_refused".into()), Duration::from_millis(1));
        }
        for &(from, to, good) in posts {
            report.post_begins();
            let failure = (!good).then(|| "outcome_unknown".to_owned());
            report.post_ends(Post { id: from.to_string(), from, to, good }, failure, Duration::ZERO);
        }
        let twice: Vec<String> = twice.iter().map(|&id| id.to_owned()).collect();
        let told = report.broken(&[Kill { before: 100, after: 110 }], &twice, expected);
        assert_eq!(told.len(), broken.len(), "{told:?}");
        for (told, words) in told.iter().zip(broken) {
            assert!(told.contains(words), "{told:?} should say {words:?}");
        }
    }

    #[test]
    fn a_run_is_judged_by_its_promises() {
        let good = [(90, 95, true), (105, 120, true)];
        check(0, &good, &[], 2, &[]);
        check(1, &good, &[], 2, &["1 GETs failed"]);
        check(0, &[(90, 105, false)], &[], 1, &[]);
        check(0, &[(90, 99, false)], &[], 1, &["1 POSTs failed, 0 were in flight"]);
        check(0, &[(90, 105, false), (120, 130, false)], &[], 2, &["2 POSTs failed, 1 were in flight"]);
        check(0, &good, &["7"], 2, &["1 POSTs ran twice: 7"]);
        check(0, &good, &[], 100, &["only 2 of 100"]);
    }

    #[test]
    fn what_is_told_on_the_way_is_small_and_forgets_only_the_lately() {
        let mut report = Report::default();
        report.post_begins();
        report.post_ends(Post { id: "1".into(), from: 1, to: 2, good: true }, None, Duration::from_millis(7));
        let told = report.so_far();
        assert_eq!((told.each_post.len(), told.worst_lately, told.posts.good), (0, 7_000, 1));
        assert_eq!((report.each_post.len(), report.worst_lately, report.worst), (1, 0, 7_000));
    }
}
