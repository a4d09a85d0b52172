//! What people write: whatever it is, every problem is told with a place that exists, and what is taken is
//! written so that it reads the same.

use api::config::{ControlPlaneConfigWords, SidecarConfigWords};
use api::policy::{Policy, PolicySet, PolicyWords};
use api::problem::render;
use api::schema::{Shape, Words};
use api::{Problem, yaml};

use crate::dice::{self, Dice};

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    let text = String::from_utf8_lossy(input);
    let text = text.as_ref();
    let well_formed = yaml::well_formed(text).is_ok();
    let story = match dice.below(4) {
        0 => told(text, yaml::read_one::<SidecarConfigWords>(text), |words| words.settle().check()),
        1 => told(text, yaml::read_one::<ControlPlaneConfigWords>(text), |_| Vec::new()),
        2 => told(text, yaml::read_all::<PolicyWords>(text), |words| {
            again(&words);
            Vec::new()
        }),
        _ => told(text, yaml::read_all::<Policy>(text), |policies| {
            PolicySet::new(policies).err().unwrap_or_default()
        }),
    };
    assert!(well_formed || story.starts_with("no"), "{text:?} is no YAML and was taken");
    dice::hash(story.as_bytes())
}

fn told<T>(text: &str, read: Result<T, Vec<Problem>>, further: impl FnOnce(T) -> Vec<Problem>) -> String {
    let (word, problems) = match read {
        Ok(value) => ("yes", further(value)),
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a word");
            ("no", problems)
        }
    };
    let lines = text.chars().filter(|c| "\n\r\u{85}\u{2028}\u{2029}".contains(*c)).count() + 1;
    for problem in &problems {
        assert!(!problem.what.is_empty(), "{problem:?}");
        if let Some(place) = problem.place {
            assert!(place.line >= 1 && place.column >= 1, "{problem:?}");
            assert!(place.line <= lines + 1, "{problem:?} of {lines} lines");
        }
    }
    assert!(render("x.yaml", text, &problems).ends_with("nothing was started or changed\n"));
    let mut kinds: Vec<String> = problems.iter().map(kind).collect();
    kinds.sort();
    kinds.dedup();
    kinds.truncate(2);
    format!("{word} {kinds:?}")
}

/// A problem without the words it repeats.
fn kind(problem: &Problem) -> String {
    problem.what.split('"').step_by(2).flat_map(|part| part.chars().filter(|c| !c.is_ascii_digit())).collect()
}

fn again(words: &[PolicyWords]) {
    for one in words {
        let written = yaml::write(one);
        let read = yaml::read_one::<PolicyWords>(&written);
        let read = read.unwrap_or_else(|problems| panic!("{written}\nis not read: {problems:?}"));
        assert_eq!(read.write(), one.write(), "{written}");
    }
}
