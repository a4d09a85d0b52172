//! The watch: lines of news, applied one after the other. A list that took a change says what the change said
//! it would, and holds what a plain map would hold.

use std::collections::BTreeMap;

use api::message::News;
use api::{Delta, Digest, Instance, List, ServiceKey};

use crate::dice::{self, Dice};

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    let service: ServiceKey = "checkout".parse().unwrap();
    let mut list = List::empty(service);
    let mut story = String::new();
    for line in input.split(|b| *b == b'\n').filter(|line| !line.is_empty()).take(64) {
        match serde_json::from_slice::<News>(line) {
            Ok(News::List(delta)) => {
                // A digest is not guessed: half of the changes get the right one.
                let delta = if dice.once_in(2) { honest(delta, &list) } else { delta };
                story.push(if delta.complete { 'c' } else { 'i' });
                story.push(step(&delta, &mut list));
            }
            Ok(News::Policies(_)) => story.push('p'),
            Ok(News::Ping) => story.push('.'),
            Err(_) => story.push('x'),
        }
    }
    story.truncate(6);
    dice::hash(story.as_bytes())
}

/// Applies a change where it fits; `?` where it does not, else how many instances are held.
fn step(delta: &Delta, list: &mut List) -> char {
    let Some(after) = delta.apply(list) else { return '?' };
    assert!(after.digest == delta.digest || !delta.complete, "a list that says another thing was taken");
    assert_eq!(after.digest, sum(&after.instances), "a list and its digest");
    assert_eq!(after.instances, plain(delta, list), "a list and what a map holds");
    *list = after;
    char::from(b'0' + list.instances.len().min(9) as u8)
}

/// The same change as a sender who knows `list` would say it.
fn honest(mut delta: Delta, list: &List) -> Delta {
    if delta.base != Digest::EMPTY {
        delta.base = list.digest;
    }
    delta.digest = sum(&plain(&delta, list));
    delta
}

/// What a map makes of the change.
fn plain(delta: &Delta, list: &List) -> Vec<Instance> {
    let mut held = BTreeMap::new();
    if delta.base != Digest::EMPTY || !delta.complete {
        held.extend(list.instances.iter().map(|held| (held.key.clone(), held.clone())));
    }
    if delta.complete {
        held.retain(|key, _| delta.remove.iter().all(|removal| removal.key != *key));
    }
    for instance in &delta.upsert {
        held.insert(instance.key.clone(), instance.clone());
    }
    held.into_values().collect()
}

fn sum(instances: &[Instance]) -> Digest {
    instances.iter().map(Instance::digest).collect()
}
