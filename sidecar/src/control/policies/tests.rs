//! Which policies come into force, and which wait or are refused.
#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use api::rollout::PolicyTrial;
use serde_json::json;

/// `revision` of `store`, with one document that says `total`; none when it is empty.
fn news(store: &str, revision: u64, total: &str) -> PolicyNews {
    let document = json!({ "kind": "Policy", "name": "checkout", "timeout": { "total": total } });
    let documents = if total.is_empty() { Vec::new() } else { vec![document] };
    let digest = match total {
        "" => Digest::EMPTY,
        _ => Digest::of(total.as_bytes()),
    };
    let (namespace, store) = (Namespace::default(), store.to_owned());
    let (trial, commands) = (None, Vec::new());
    PolicyNews { namespace, digest, revision, store, adopted: false, documents, trial, commands }
}

fn total(policies: &Policies) -> Span {
    policies.settle(&"checkout".parse().unwrap()).routes[0].settings.timeout.total
}

/// Tells `what` after 2s of store `a` at revision 5 are in force.
fn check(what: PolicyNews, verdict: &str, in_force: Span) -> Policies {
    let mut policies = Policies::default();
    assert_eq!(policies.tell(&news("a", 5, "2s")), Verdict::Taken);
    let told = format!("{:?}", policies.tell(&what));
    assert!(told.starts_with(verdict), "{told}");
    assert_eq!(total(&policies), in_force);
    policies
}

#[test]
fn the_old_stay_in_force_where_the_new_cannot_be_run() {
    let two = Span::secs(2);
    check(news("a", 6, "3s"), "Taken", Span::secs(3));
    check(news("a", 6, "2s"), "Same", two);
    check(news("a", 4, "3s"), "Old", two);
    let policies = check(news("a", 6, "3"), "Refused", two);
    assert!(policies.rejected()[&Namespace::default()].why.contains("timeout.total"));
    assert_eq!(policies.heard(&Namespace::default()), Some(Digest::of(b"3")));
    assert_eq!(policies.running()[&Namespace::default()], Digest::of(b"2s"));
}

#[test]
fn who_takes_part_runs_the_trial_and_the_others_do_not() {
    let node: NodeName = "n1".parse().unwrap();
    let at = api::rollout::place(7, &node);
    let trial = |most, total: &str| {
        let PolicyNews { digest, documents, .. } = news("a", 6, total);
        PolicyTrial { rollout: 7, most, digest, documents, report_every: Span::secs(10) }
    };
    for (most, total, runs, verdict) in [
        (at, "9s", Span::secs(9), "Taken"),
        (at - 1, "9s", Span::secs(2), "Taken"),
        (at, "9", Span::secs(2), "Refused"),
    ] {
        let mut policies = Policies::of_node(node.clone());
        policies.tell(&news("a", 5, "2s"));
        let trial = trial(most, total);
        let mut digest = Digest::of(b"2s");
        digest += trial.mark();
        let tried = PolicyNews { digest, trial: Some(trial.clone()), ..news("a", 5, "2s") };
        let told = format!("{:?}", policies.tell(&tried));
        assert!(told.starts_with(verdict), "{told}");
        assert_eq!(super::tests::total(&policies), runs);
        let running = policies.running()[&Namespace::default()];
        assert_eq!(running == trial.digest, runs == Span::secs(9));
        assert_eq!(policies.heard(&Namespace::default()), Some(digest), "it is not asked for again");
        assert_eq!(policies.rejected().contains_key(&Namespace::default()), verdict == "Refused");
        assert_eq!(policies.tell(&news("a", 5, "2s")), Verdict::Taken, "the trial is over");
        assert_eq!(super::tests::total(&policies), Span::secs(2));
        assert_eq!((policies.rejected().len(), policies.report_every()), (0, None));
    }
}

#[test]
fn a_new_store_waits_until_it_is_adopted() {
    let two = Span::secs(2);
    let policies = check(news("b", 1, ""), "Unadopted", two);
    assert!(policies.rejected()[&Namespace::default()].why.contains("nobody adopted"));
    assert_eq!(policies.heard(&Namespace::default()), None);
    check(news("b", 1, "9s"), "Unadopted", two);
    check(news("b", 1, "2s"), "Same", two);
    check(PolicyNews { adopted: true, ..news("b", 1, "9s") }, "Taken", Span::secs(9));
}

#[test]
fn where_nothing_was_in_force_any_store_is_welcome() {
    let mut policies = Policies::default();
    assert_eq!(policies.tell(&news("a", 1, "")), Verdict::Taken);
    assert_eq!(policies.tell(&news("b", 1, "4s")), Verdict::Taken);
    assert_eq!(total(&policies), Span::secs(4));
}

#[test]
fn a_bad_first_one_is_refused_and_mended_by_the_next() {
    let mut policies = Policies::default();
    assert!(matches!(policies.tell(&news("a", 1, "soon")), Verdict::Refused(_)));
    assert_eq!(policies.tell(&news("a", 2, "4s")), Verdict::Taken);
    assert_eq!(policies.rejected().len(), 0);
}
