//! The loop: change an input, let the target read it, keep it when it was taken for something new.
//!
//! There is no instrumentation: what a target says of an input stands in for coverage. A run of one seed over
//! the same corpus makes the same inputs.

use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, Once};
use std::time::Instant;

use crate::dice::{self, Dice};
use crate::mutate::mutate;
use crate::target::Target;

/// Inputs kept at most.
const POOL: usize = 4_096;
/// The longest input that is changed further.
const POOL_INPUT: usize = 16 * 1024;
/// Executions spent on making one find smaller.
const SMALLER: usize = 3_000;

/// When a run stops.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// After so many executions.
    Execs(u64),
    /// At a time.
    Time(Instant),
}

/// An input that broke a promise.
#[derive(Clone, Debug)]
pub struct Find {
    /// The input, as small as it was made.
    pub input: Vec<u8>,
    /// What was said and where.
    pub story: String,
    /// After how many executions it was met.
    pub at: u64,
}

/// What a run came to.
#[derive(Debug, Default)]
pub struct Report {
    /// Inputs read.
    pub execs: u64,
    /// Kinds of input met.
    pub kinds: usize,
    /// The inputs that were new kinds when they came, corpus included.
    pub pool: Vec<Vec<u8>>,
    /// Broken promises, one for each place in the code.
    pub finds: Vec<Find>,
}

/// Runs `target` over inputs made from `corpus`. The input being read stands in `current`, for whoever
/// watches over a run that stands still.
pub fn run(
    target: &Target,
    corpus: Vec<Vec<u8>>,
    seed: u64,
    until: Until,
    current: &Mutex<Vec<u8>>,
) -> Report {
    let mut dice = Dice::of(seed ^ dice::hash(target.name.as_bytes()));
    let mut report = Report::default();
    let mut kinds = HashSet::new();
    let mut finds: BTreeMap<String, Find> = BTreeMap::new();
    let mut corpus = corpus.into_iter();
    loop {
        let over = match until {
            Until::Execs(most) => report.execs >= most,
            Until::Time(end) => report.execs.is_multiple_of(64) && Instant::now() >= end,
        };
        if over {
            break;
        }
        let given = corpus.next();
        let fresh = given.is_none();
        let input = given.unwrap_or_else(|| next(&report.pool, target, &mut dice));
        current.lock().unwrap().clone_from(&input);
        report.execs += 1;
        match read(target, &input) {
            Ok(kind) => {
                let room = report.pool.len() < POOL && input.len() <= POOL_INPUT;
                if kinds.insert(kind) && room || !fresh {
                    report.pool.push(input);
                }
            }
            Err((place, _)) if finds.contains_key(&place) => {}
            Err((place, story)) => {
                let find = smaller(target, Find { input, story, at: report.execs }, &place);
                finds.insert(place, find);
            }
        }
    }
    report.kinds = kinds.len();
    report.finds = finds.into_values().collect();
    report
}

/// Reads one input; `Err` has the place of the broken promise and what was said.
///
/// # Errors
/// When the target panicked.
pub fn read(target: &Target, input: &[u8]) -> Result<u64, (String, String)> {
    listen();
    CAUGHT.with_borrow_mut(|caught| *caught = Some((String::new(), String::new())));
    let ran = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input, &mut Dice::of_bytes(input))));
    let caught = CAUGHT.take().unwrap_or_default();
    ran.map_err(|_| caught)
}

fn next(pool: &[Vec<u8>], target: &Target, dice: &mut Dice) -> Vec<u8> {
    if pool.is_empty() {
        return mutate(b"", b"", target.words, dice);
    }
    // What came last is least explored.
    let recent = pool.len().min(64);
    let base = match dice.once_in(3) {
        true => &pool[pool.len() - 1 - dice.below(recent)],
        false => &pool[dice.below(pool.len())],
    };
    let other = &pool[dice.below(pool.len())];
    mutate(base, other, target.words, dice)
}

/// Takes parts off while the same promise breaks.
fn smaller(target: &Target, mut find: Find, place: &str) -> Find {
    let mut tries = 0;
    let mut part = find.input.len().div_ceil(2);
    while part > 0 && tries < SMALLER {
        let mut at = 0;
        while at < find.input.len() && tries < SMALLER {
            let mut input = find.input.clone();
            input.drain(at..(at + part).min(input.len()));
            tries += 1;
            match read(target, &input) {
                Err((found, story)) if found == place => find = Find { input, story, ..find },
                _ => at += part,
            }
        }
        part /= 2;
    }
    find
}

thread_local! {
    /// Where a panic of this thread's target is noted while one runs.
    static CAUGHT: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Notes the panics of targets in silence; all others go where they went before.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string).unwrap_or_default();
            let said = format!("{place}: {}", words(info.payload()));
            let noted = CAUGHT.with_borrow_mut(|caught| caught.as_mut().map(|c| *c = (place.clone(), said)));
            if noted.is_none() {
                before(info);
            }
        }));
    });
}

fn words(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default()
}
