//! The snapshot that a sidecar starts from: what is not whole is not used, and what is used reads the same when it is
//! written again.

use api::Digest;
use sidecar::snapshot::Snapshot;

use crate::dice::{self, Dice};

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    // A checksum is not guessed: most inputs are a body that gets the right header.
    let bytes = if dice.once_in(4) { input.to_vec() } else { sealed(input) };
    let snapshot = match Snapshot::decode(&bytes) {
        Ok(snapshot) => snapshot,
        Err(why) => return dice::hash(kind(&why).as_bytes()),
    };
    let written = snapshot.encode().expect("what was read is written");
    assert_eq!(Snapshot::decode(&written).as_ref(), Ok(&snapshot), "it changes when it is written");
    // Any one byte that is lost or changed on the disk is noticed.
    let mut torn = written.clone();
    let at = dice.below(torn.len());
    if dice.once_in(2) {
        torn[at] ^= 1 << dice.below(8);
    } else {
        torn.truncate(at);
    }
    assert!(Snapshot::decode(&torn).is_err(), "a torn file is believed");
    dice::hash(format!("{} {}", snapshot.lists.len().min(3), snapshot.policies.len().min(3)).as_bytes())
}

fn sealed(body: &[u8]) -> Vec<u8> {
    let header = format!("outrigger-snapshot 1 {} {}\n", body.len(), Digest::of(body));
    [header.as_bytes(), body].concat()
}

/// An error without the words it repeats and the place it names.
fn kind(why: &str) -> String {
    let why = why.split(" at line").next().unwrap_or_default();
    why.split(['"', '`']).step_by(2).flat_map(|part| part.chars().filter(|c| !c.is_ascii_digit())).collect()
}
