//! What sidecars and the control plane say to each other: what is taken is written so that it reads the same.

use api::message::{
    Beat, BeatHeard, Deregister, DigestCheck, Digests, News, OpenSession, PolicyNews, PolicyRevision,
    ProblemBody, Registered, ServiceEdit, ServiceView, SessionOpened, Watch,
};
use api::policy::Policy;
use api::schema::{Node, Problems, Shape};
use api::{Instance, List};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::dice::{self, Dice};

pub(super) fn run(input: &[u8], _: &mut Dice) -> u64 {
    let taken = [
        again::<OpenSession>(input),
        again::<SessionOpened>(input),
        again::<Beat>(input),
        again::<BeatHeard>(input),
        again::<Registered>(input),
        again::<Deregister>(input),
        again::<Watch>(input),
        again::<News>(input),
        again::<PolicyNews>(input),
        again::<DigestCheck>(input),
        again::<Digests>(input),
        again::<ServiceView>(input),
        again::<ServiceEdit>(input),
        again::<PolicyRevision>(input),
        again::<ProblemBody>(input),
        again::<Instance>(input),
        again::<List>(input),
        policy(input),
    ];
    // One kind for each thing that can be said of it by one reader.
    let read = taken.iter().filter(|taken| *taken == "yes").count();
    let least = taken.iter().min_by_key(|taken| dice::hash(taken.as_bytes())).map_or("", String::as_str);
    dice::hash(format!("{read}{}{least}", taken[usize::from(input.len() as u8) % taken.len()]).as_bytes())
}

/// What became of `input` as a `T`, in a word.
fn again<T: Serialize + DeserializeOwned>(input: &[u8]) -> String {
    let value: T = match serde_json::from_slice(input) {
        Ok(value) => value,
        Err(why) => return kind(&why.to_string()),
    };
    let written = serde_json::to_string(&value).expect("what was read is written");
    let read: T = match serde_json::from_str(&written) {
        Ok(read) => read,
        Err(why) => panic!("{written} is not read: {why}"),
    };
    assert_eq!(serde_json::to_string(&read).unwrap(), written, "it changes each time it is read");
    "yes".into()
}

fn policy(input: &[u8]) -> String {
    let Ok(node) = serde_json::from_slice::<Node>(input) else { return "-".into() };
    let mut problems = Problems::new();
    let policy = Policy::read(&node, "", &mut problems);
    let policy = match problems.into_result(policy) {
        Ok(policy) => policy,
        Err(problems) => return problems.first().map_or_else(String::new, |problem| kind(&problem.what)),
    };
    let written = policy.write();
    let node: Node = serde_json::from_value(written.clone()).unwrap();
    let read = Policy::read(&node, "", &mut Problems::new()).expect("what was read is written");
    assert_eq!(read.write(), written);
    "yes".into()
}

/// An error without the words it repeats and the place it names.
fn kind(why: &str) -> String {
    let why = why.split(" at line").next().unwrap_or_default();
    why.split(['"', '`']).step_by(2).flat_map(|part| part.chars().filter(|c| !c.is_ascii_digit())).collect()
}
