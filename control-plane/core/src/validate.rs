//! Whether the words of an instance or of a service's settings can be right; every problem with its path.

use std::net::IpAddr;

use api::instance::LABELS_MAX;
use api::message::ServiceEdit;
use api::{Effect, Instance, NotifyShare, Override, PlannedDrain, Problem, Share, Span};

/// Zone, lane, foreign id and owner: words for people and matchers, not documents.
const WORD_MAX: usize = 255;
/// Shorter, and an ordinary pause of a process or its network would expire a host.
const EXPIRY_MIN: Span = Span::secs(1);
/// Longer, and a dead host outlives the day that somebody would notice.
const EXPIRY_MAX: Span = Span::secs(24 * 3_600);

/// Shorter, and it is over before anybody heard of it.
const TTL_MIN: Span = Span::secs(1);
/// Longer, and nobody remembers why: a week is a change of policy.
const TTL_MAX: Span = Span::secs(7 * 24 * 3_600);

/// A notify share that somebody forgot makes every change late.
const NOTIFY_TTL_MAX: Span = Span::secs(3_600);

/// What is wrong with `instance`, which stands at `path`. Loopback is refused unless `loopback` says that
/// whoever reaches this control plane shares its host.
pub(crate) fn instance(instance: &Instance, path: &str, loopback: bool) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut wrong = |key: &str, what: String, hint: &str| {
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        problems.push(Problem::at(path, what).hint(hint));
    };
    if instance.key.port == 0 {
        wrong("key.port", "port 0 is no port".into(), "register after the port is open");
    }
    if instance.address.port() == 0 {
        wrong("address", "port 0 is no port".into(), "register after the port is open");
    }
    if let Some(why) = unreachable(instance.key.ip, loopback) {
        wrong("key.ip", why, "give the address that other hosts reach this one by");
    }
    if instance.address.ip() != instance.key.ip {
        let what = format!("{} is not on the instance's host {}", instance.address, instance.key.ip);
        wrong("address", what, "the inbound listener stands beside its app");
    }
    let labels: usize = instance.labels.iter().map(|(name, value)| name.len() + value.len()).sum();
    if labels > LABELS_MAX {
        wrong(
            "labels",
            format!("{labels} bytes, at most {LABELS_MAX} together"),
            "labels travel in every list",
        );
    }
    let words = [("zone", &instance.zone), ("lane", &instance.lane), ("foreign_id", &instance.foreign_id)];
    for (key, word) in words {
        if word.len() > WORD_MAX {
            wrong(key, format!("{} bytes, at most {WORD_MAX}", word.len()), "");
        }
    }
    problems
}

/// Why nobody could reach `ip`.
fn unreachable(ip: IpAddr, loopback: bool) -> Option<String> {
    if ip.is_unspecified() {
        return Some(format!("{ip} is every address and none"));
    }
    if ip.is_multicast() {
        return Some(format!("{ip} is a multicast address"));
    }
    (ip.is_loopback() && !loopback).then(|| format!("{ip} reaches no other host"))
}

/// What is wrong with a service's settings.
pub(crate) fn service_edit(edit: &ServiceEdit) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Some(expiry) = edit.expiry
        && !(EXPIRY_MIN..=EXPIRY_MAX).contains(&expiry)
    {
        let what = format!("{expiry} is not between {EXPIRY_MIN} and {EXPIRY_MAX}");
        problems.push(Problem::at("expiry", what));
    }
    if edit.owner.len() > WORD_MAX {
        problems.push(Problem::at("owner", format!("{} bytes, at most {WORD_MAX}", edit.owner.len())));
    }
    problems
}

/// What is wrong with an override.
pub(crate) fn said_override(said: &Override) -> Vec<Problem> {
    let mut problems = for_a_time(&said.owner, &said.reason, said.ttl);
    if said.node.is_some() == said.instance.is_some() {
        problems.push(Problem::at("node", "expected exactly one of node and instance"));
    }
    if (said.effect == Effect::Weight) != said.weight.is_some() {
        problems.push(Problem::at("weight", "stands with effect: weight and with nothing else"));
    }
    problems
}

/// What is wrong with a planned drain.
pub(crate) fn planned_drain(said: &PlannedDrain) -> Vec<Problem> {
    let mut problems = for_a_time(&said.owner, &said.reason, said.ttl);
    if said.services.is_empty() && said.nodes.is_empty() {
        problems.push(Problem::at("services", "covers nothing").hint("name services or nodes"));
    }
    problems
}

/// What is wrong with a notify share.
pub(crate) fn notify_share(said: &NotifyShare) -> Vec<Problem> {
    let mut problems = for_a_time(&said.owner, &said.reason, said.ttl);
    if said.share < Share::percent(1) {
        problems
            .push(Problem::at("share", format!("{} is below 1%", said.share)).hint("a list has to arrive"));
    }
    if said.ttl > NOTIFY_TTL_MAX {
        let what = format!("{} is longer than {NOTIFY_TTL_MAX}", said.ttl);
        problems
            .push(Problem::at("ttl", what).hint("it slows every change down: say it again if it must last"));
    }
    problems
}

/// Whatever stands over the registry's judgement has an owner, a reason and an end.
fn for_a_time(owner: &str, reason: &str, ttl: Span) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (key, word) in [("owner", owner), ("reason", reason)] {
        if word.is_empty() || word.len() > WORD_MAX {
            problems.push(Problem::at(key, format!("{} bytes, 1 to {WORD_MAX}", word.len())));
        }
    }
    if !(TTL_MIN..=TTL_MAX).contains(&ttl) {
        problems.push(Problem::at("ttl", format!("{ttl} is not between {TTL_MIN} and {TTL_MAX}")));
    }
    problems
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(change: impl FnOnce(&mut Instance), loopback: bool, wanted: &[&str]) {
        let mut subject = Instance::at("s".parse().unwrap(), ([10, 0, 0, 1], 80).into());
        change(&mut subject);
        let problems = instance(&subject, "", loopback);
        let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
        assert_eq!(paths, wanted, "{problems:?}");
    }

    fn local(i: &mut Instance) {
        i.key.ip = [127, 0, 0, 1].into();
        i.address = ([127, 0, 0, 1], 80).into();
    }

    #[test]
    fn each_wrong_word_is_told_with_its_path() {
        check(|_| {}, false, &[]);
        check(|i| i.key.port = 0, false, &["key.port"]);
        check(|i| i.address.set_port(0), false, &["address"]);
        check(|i| i.address.set_ip([10, 0, 0, 2].into()), false, &["address"]);
        check(local, false, &["key.ip"]);
        check(local, true, &[]);
        check(|i| i.key.ip = [0, 0, 0, 0].into(), true, &["key.ip", "address"]);
        check(|i| i.labels.insert("k", &"v".repeat(LABELS_MAX)), false, &["labels"]);
        check(|i| i.lane = "l".repeat(256), false, &["lane"]);
    }

    #[test]
    fn an_expiry_has_bounds() {
        for (millis, right) in [(999, false), (1_000, true), (86_400_000, true), (86_400_001, false)] {
            let edit = ServiceEdit { expiry: Some(Span::millis(millis)), owner: String::new() };
            assert_eq!(service_edit(&edit).is_empty(), right, "{millis} ms");
        }
    }
}
