//! Changes of a list: what is added, kept, held and gone.

#![allow(clippy::unwrap_used, reason = "tests")]
use api::policy::Settings;
use api::{Digest, Removal};
use proptest::prelude::*;

use super::*;

fn service() -> ServiceKey {
    "checkout".parse().unwrap()
}

fn list(ports: &[u16]) -> List {
    let at = |port: &u16| Instance::at(service(), ([10, 0, 0, 1], *port).into());
    List::new(service(), 1, ports.iter().map(at).collect())
}

fn whole(ports: &[u16], complete: bool) -> Delta {
    let list = list(ports);
    Delta {
        service: service(),
        base: Digest::EMPTY,
        digest: list.digest,
        revision: 2,
        store: "s".into(),
        complete,
        known: true,
        upsert: list.instances,
        remove: Vec::new(),
    }
}

fn removal(from: &[u16], ports: &[u16], cause: Cause) -> Delta {
    let before = list(from);
    let left: Vec<u16> = from.iter().filter(|port| !ports.contains(port)).copied().collect();
    let gone = before.instances.iter().filter(|i| ports.contains(&i.key.port));
    let remove = gone.map(|i| Removal { key: i.key.clone(), cause }).collect();
    let base = before.digest;
    Delta { base, digest: list(&left).digest, upsert: Vec::new(), remove, ..whole(&[], true) }
}

fn serving(ports: &[u16], serve: &[u16]) -> Directory {
    let mut directory = Directory::new(service(), vec![([10, 0, 0, 1], 99).into()]);
    directory.replace(Moment::ZERO, list(ports));
    for endpoint in directory.current().endpoints.iter().filter(|e| serve.contains(&e.instance.key.port)) {
        endpoint.cell.ewma.tell(
            Moment::ZERO,
            Duration::from_millis(5),
            crate::ewma::Memory::of(&Settings::default()),
        );
    }
    directory
}

fn ports(directory: &Directory) -> Vec<u16> {
    directory.current().endpoints.iter().map(|e| e.instance.key.port).collect()
}

fn check(serve: &[u16], delta: &Delta, wanted: &[u16], held: usize) {
    let mut directory = serving(&[1, 2, 3, 4], serve);
    let changes = directory.tell(Moment::from_millis(1), Teller::FIRST, delta).unwrap();
    assert_eq!(ports(&directory), wanted, "{delta:?}");
    assert_eq!(changes.held.len(), held, "{delta:?}");
    assert_eq!(directory.told().digest, if delta.complete { delta.digest } else { directory.told().digest });
}

#[test]
fn who_was_taken_out_goes_and_who_may_serve_stays() {
    let all = [1, 2, 3, 4];
    check(&all, &removal(&all, &[2], Cause::Deregistered), &[1, 3, 4], 0);
    check(&all, &removal(&all, &all, Cause::Deregistered), &[], 0);
    check(&all, &removal(&all, &[2], Cause::Expired), &all, 1);
    check(&[], &removal(&all, &[2], Cause::Expired), &[1, 3, 4], 0);
    check(&[], &removal(&all, &[2, 3], Cause::Expired), &all, 2);
    check(&[], &whole(&[], true), &all, 4);
    check(&[], &whole(&[1], true), &all, 3);
    check(&[], &whole(&[1], false), &all, 0);
    check(&[], &whole(&[5], false), &[1, 2, 3, 4, 5], 0);
    check(&[], &whole(&[1, 2, 3, 4, 99], true), &all, 0);
}

#[test]
fn held_ones_go_once_they_fail_and_the_last_one_stays() {
    let mut directory = serving(&[1, 2], &[1, 2]);
    directory.tell(Moment::ZERO, Teller::FIRST, &whole(&[], true)).unwrap();
    assert!(directory.wake_at().is_some());
    assert!(directory.review(Moment::from_millis(1_000)).is_none());
    let health = Settings::default().health;
    for endpoint in &directory.current().endpoints {
        endpoint.cell.health.eject(Moment::ZERO, true, &health, 0);
    }
    let changes = directory.review(Moment::from_millis(2_000)).unwrap();
    assert_eq!((changes.gone.len(), changes.gone[0].1, ports(&directory).len()), (1, Cause::Absent, 1));
}

#[test]
fn a_held_one_that_says_it_leaves_is_let_go() {
    let mut directory = serving(&[1, 2], &[1, 2]);
    directory.tell(Moment::ZERO, Teller::FIRST, &whole(&[], true)).unwrap();
    let leaves = directory.current().endpoints[1].cell.clone();
    leaves.tell_leaving();
    leaves.tell_staying();
    assert!(directory.review(Moment::from_millis(1_000)).is_none(), "a good answer since");
    leaves.tell_leaving();
    directory.review(Moment::from_millis(2_000)).unwrap();
    assert_eq!(ports(&directory), [1]);
    directory.current().endpoints[0].cell.tell_leaving();
    assert!(directory.review(Moment::from_millis(3_000)).is_none(), "the last one stays");
}

#[test]
fn what_is_learned_survives_every_change_that_keeps_the_endpoint() {
    let mut directory = serving(&[1, 2], &[1]);
    let before = directory.current().endpoints[0].clone();
    let mut heavier = list(&[1, 2, 3]);
    heavier.instances[0].weight = 50;
    let changes = directory.replace(Moment::ZERO + TOGETHER, heavier);
    let after = directory.current().endpoints[0].clone();
    assert!(Arc::ptr_eq(&before.cell, &after.cell));
    assert_eq!((after.id, after.instance.weight, changes.kept, changes.added.len()), (before.id, 50, 2, 1));
}

#[test]
fn who_joins_within_a_moment_of_the_first_is_as_old_as_they_are_and_later_ones_take_their_share_slowly() {
    let (mut directory, start) = (Directory::new(service(), Vec::new()), Moment::from_millis(10_000));
    let mut join = |ports: &[u16], millis| {
        let now = start + Duration::from_millis(millis);
        let added = directory.replace(now, list(ports)).added;
        added.iter().map(|endpoint| endpoint.cell.ramp(now, &Settings::default())).collect::<Vec<_>>()
    };
    assert_eq!(join(&[], 0), [0.0; 0], "nobody is there yet");
    assert_eq!(join(&[1], 5_000), [1.0]);
    assert_eq!(join(&[1, 2, 3], 5_200), [1.0, 1.0]);
    assert_eq!(join(&[1, 2, 3, 4], 6_999), [1.0]);
    assert_eq!(join(&[1, 2, 3, 4, 5], 7_000), [0.0]);
    assert_eq!(join(&[1, 2, 3, 4, 5, 6], 60_000), [0.0]);
}

#[test]
fn who_comes_after_all_were_taken_out_begins_anew() {
    let mut directory = serving(&[1, 2], &[1, 2]);
    directory
        .tell(Moment::from_millis(9_000), Teller::FIRST, &removal(&[1, 2], &[1, 2], Cause::Deregistered))
        .unwrap();
    for (ports, millis) in [(&[3][..], 60_000), (&[3, 4], 61_000)] {
        let now = Moment::from_millis(millis);
        let added = directory.replace(now, list(ports)).added;
        assert_eq!(added[0].cell.ramp(now, &Settings::default()), 1.0, "{ports:?}");
    }
}

#[test]
fn what_an_operator_takes_out_of_the_configuration_goes_at_once() {
    let mut directory = serving(&[1, 2, 3], &[1, 2, 3]);
    directory.replace(Moment::ZERO, list(&[1]));
    assert_eq!(ports(&directory), [1, 2, 3], "a query that forgot them");
    directory.configure(Moment::ZERO, list(&[1]));
    assert_eq!(ports(&directory), [1]);
}

#[test]
fn a_change_of_another_list_asks_for_the_whole_one() {
    let mut directory = serving(&[1, 2], &[]);
    assert_eq!(
        directory.tell(Moment::ZERO, Teller::FIRST, &removal(&[7], &[7], Cause::Expired)).unwrap_err(),
        Resync
    );
    assert_eq!(ports(&directory), [1, 2]);
}

/// What a directory says of its endpoints.
fn said(directory: &Directory) -> Vec<(u32, Instance, Option<Cause>)> {
    let one = |endpoint: &Arc<Endpoint>| (endpoint.id, endpoint.instance.clone(), endpoint.held);
    directory.current().endpoints.iter().map(one).collect()
}

/// What a change did.
fn deeds(changes: &Changes) -> (usize, [Vec<u16>; 3]) {
    let ports = |of: &[Arc<Endpoint>]| of.iter().map(|endpoint| endpoint.instance.key.port).collect();
    let gone = changes.gone.iter().map(|(endpoint, _)| endpoint.instance.key.port).collect();
    (changes.kept, [ports(&changes.added), ports(&changes.held), gone])
}

proptest! {
    /// Who looks only at those whom changes speak of finds what they find who look at everybody.
    #[test]
    fn whom_no_change_speaks_of_is_as_before(
        steps in prop::collection::vec((prop::collection::vec((1_u16..8, 0_u16..4), 1..4), 0_usize..3, any::<bool>()), 1..40)
    ) {
        let (mut quick, mut thorough) = (serving(&[1, 2, 3], &[2]), serving(&[1, 2, 3], &[2]));
        let mut listed: BTreeMap<u16, Instance> = list(&[1, 2, 3]).instances.into_iter().map(|i| (i.key.port, i)).collect();
        for (step, (touched, cause, fails)) in (1_u64..).zip(steps) {
            let before = List::new(service(), step, listed.values().cloned().collect());
            let cause = [Cause::Deregistered, Cause::Expired, Cause::Absent][cause];
            let mut remove = BTreeMap::new();
            for (port, weight) in touched {
                // No weight at all is to leave the list.
                match weight {
                    0 => _ = listed.remove(&port).map(|i| remove.insert(port, Removal { key: i.key, cause })),
                    weight => {
                        remove.remove(&port);
                        let instance = Instance::at(service(), ([10, 0, 0, 1], port).into());
                        listed.insert(port, Instance { weight, ..instance });
                    }
                }
            }
            let after = List::new(service(), step + 1, listed.values().cloned().collect());
            let upsert = after.instances.iter().filter(|i| !before.instances.contains(i)).cloned().collect();
            let (base, digest) = (before.digest, after.digest);
            let remove = remove.into_values().collect();
            let delta = Delta { base, digest, revision: step + 1, upsert, remove, ..whole(&[], true) };
            let now = Moment::from_millis(step * 1_000);
            let done = quick.tell(now, Teller::FIRST, &delta).unwrap();
            let causes = delta.remove.iter().map(|removal| (removal.key.clone(), removal.cause)).collect();
            thorough.listed = Arc::new(List::empty(service()));
            prop_assert!(thorough.told.change(Teller::FIRST, &delta, &causes));
            let wanted = thorough.settle(now, &causes, None);
            prop_assert_eq!(deeds(&done), deeds(&wanted));
            prop_assert_eq!(said(&quick), said(&thorough));
            if fails {
                for directory in [&mut quick, &mut thorough] {
                    directory.current().endpoints.iter().for_each(|endpoint| endpoint.cell.tell_leaving());
                    directory.review(now);
                }
            }
        }
    }
}
