//! A case, and how `cases/h1/CATEGORY.txt` says it (`cases/h2` too; `frames.rs` says what a client's line is there).
//!
//! Blocks are separated by blank lines; `#` begins a remark. In a block:
//!
//! - `case NAME`, `rule RFC SECTION[: words]`, `level S|M|Q`: safety (two readings of one message), a MUST, quality;
//!   rule and level hold for the following blocks too;
//! - `each A | B | …` makes one case of each value; `{x}` stands for it everywhere in the block;
//! - `> SCRIPT` what the client does (`GET / …` when left out), `< SCRIPT` what the backend answers, one line a request
//!   (200 `ok` when left out); see `script.rs`;
//! - `asked METHOD…` the methods in order, where an answer's framing depends on one that is not the first word;
//! - `see METHOD TARGET ["BODY"|raw "BYTES"]` a request that the backend sees, in order; `see cut` nothing whole,
//!   `see any` whatever; nothing at all when left out;
//! - `get STATUS[|STATUS…][?] ["BODY"|cut|raw "BYTES"]` an answer that the client gets, in order; `4xx` and `5xx` stand
//!   for their class, `?` for an answer that may be missing; `get nothing` none;
//! - `with NAME[: VALUE]`, `without NAME` a field of the message above; with a value it is the only one of its name;
//! - `then kept|closed|any` how the client's connection stands afterwards;
//! - `or` begins another outcome that is as good.

use std::fs;
use std::path::{Path, PathBuf};

use crate::script::{Step, bytes, parse};

/// What a miss means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// Two readers may take one message for different things.
    Safety,
    /// A MUST of an RFC is not met.
    Must,
    /// Somebody is served less well than possible.
    Quality,
}

/// One exchange of raw bytes and how it may end.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) category: String,
    pub(crate) name: String,
    pub(crate) rule: String,
    pub(crate) level: Level,
    pub(crate) client: Vec<Step>,
    /// The client's lines as they stand in the file, for a wire on which they are no bytes.
    pub(crate) lines: Vec<String>,
    pub(crate) answers: Vec<Vec<Step>>,
    pub(crate) asked: Vec<String>,
    pub(crate) outcomes: Vec<Outcome>,
}

/// One way for a case to end well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) see: See,
    pub(crate) get: Vec<Wanted>,
    pub(crate) then: Then,
}

/// What the backend may see.
#[derive(Clone, Debug, Default)]
pub(crate) enum See {
    /// Not a byte.
    #[default]
    Nothing,
    /// No whole request.
    Cut,
    /// Whatever.
    Any,
    /// Exactly these.
    These(Vec<Wanted>),
}

/// How the client's connection stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Then {
    #[default]
    Any,
    Kept,
    Closed,
}

/// What a message must be like.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// The start: `METHOD TARGET`, or statuses.
    pub(crate) start: String,
    pub(crate) optional: bool,
    pub(crate) body: Body,
    pub(crate) fields: Vec<Field>,
}

/// What its body must be like.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    /// Whole, whatever it says.
    Whole,
    /// Whole, and this.
    Is(Vec<u8>),
    /// Not whole.
    Cut,
    /// None: these bytes follow the head.
    Raw(Vec<u8>),
}

/// What is asked of a field.
#[derive(Clone, Debug)]
pub(crate) enum Field {
    With(String),
    Only(String, String),
    Without(String),
}

impl Case {
    /// Where it is found, and its name.
    pub(crate) fn title(&self) -> String {
        format!("{}: {}", self.category, self.name)
    }
}

const GET: &str = "GET / HTTP/1.1↵Host: app↵↵";

/// All cases of a wire, by category.
pub(crate) fn all(wire: &str) -> Vec<Case> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cases").join(wire);
    let mut files: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().flat_map(|file| read(file)).collect()
}

fn read(file: &Path) -> Vec<Case> {
    let category = file.file_stem().unwrap().to_str().unwrap();
    let text = fs::read_to_string(file).unwrap();
    let (mut rule, mut level) = (String::new(), Level::Must);
    let mut cases = Vec::new();
    for block in text.split("\n\n") {
        let lines: Vec<&str> =
            block.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        for line in &lines {
            match line.split_once(' ') {
                Some(("rule", words)) => rule = words.to_owned(),
                Some(("level", "S")) => level = Level::Safety,
                Some(("level", "M")) => level = Level::Must,
                Some(("level", "Q")) => level = Level::Quality,
                _ => {}
            }
        }
        if !lines.iter().any(|line| line.starts_with("case ")) {
            continue;
        }
        assert!(!rule.is_empty(), "{}: a case without a rule:\n{block}", file.display());
        let values: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("each ")).collect();
        let values =
            if values.is_empty() { vec![""] } else { values.iter().flat_map(|v| v.split(" | ")).collect() };
        for value in values {
            let lines: Vec<String> = lines.iter().map(|line| line.replace("{x}", value)).collect();
            cases.push(one(category, &rule, level, &lines));
        }
    }
    cases
}

fn one(category: &str, rule: &str, level: Level, lines: &[String]) -> Case {
    let mut case = Case {
        category: category.into(),
        name: String::new(),
        rule: rule.into(),
        level,
        client: Vec::new(),
        lines: Vec::new(),
        answers: Vec::new(),
        asked: Vec::new(),
        outcomes: vec![Outcome::default()],
    };
    let mut script = String::new();
    let mut below_see = false;
    for line in lines {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let outcome = case.outcomes.last_mut().unwrap();
        match word {
            "case" => case.name = rest.into(),
            "rule" | "level" | "each" => {}
            ">" => {
                script.push_str(rest);
                case.lines.push(rest.into());
            }
            "<" => case.answers.push(parse(rest)),
            "asked" => case.asked = rest.split(' ').map(Into::into).collect(),
            "see" => {
                below_see = true;
                outcome.see.add(rest);
            }
            "get" => {
                below_see = false;
                outcome.get.extend((rest != "nothing").then(|| wanted(rest, 1)));
            }
            "with" | "without" => outcome.condition(word, rest, below_see),
            "then" => {
                outcome.then = match rest {
                    "kept" => Then::Kept,
                    "closed" => Then::Closed,
                    _ => Then::Any,
                }
            }
            "or" => case.outcomes.push(Outcome::default()),
            _ => panic!("{category}: {line:?}"),
        }
    }
    case.client = parse(if script.is_empty() { GET } else { &script });
    if case.asked.is_empty() {
        case.asked = vec![script.split(' ').next().unwrap_or_default().into()];
    }
    case
}

impl See {
    fn add(&mut self, text: &str) {
        match (text, &mut *self) {
            ("nothing", _) => *self = Self::Nothing,
            ("cut", _) => *self = Self::Cut,
            ("any", _) => *self = Self::Any,
            (_, Self::These(these)) => these.push(wanted(text, 2)),
            _ => *self = Self::These(vec![wanted(text, 2)]),
        }
    }
}

impl Outcome {
    fn condition(&mut self, word: &str, text: &str, below_see: bool) {
        let below = match (&mut self.see, below_see) {
            (See::These(these), true) => these.last_mut(),
            _ => self.get.last_mut(),
        };
        let (name, value) = text.split_once(": ").map_or((text, None), |(name, value)| (name, Some(value)));
        let name = name.to_ascii_lowercase();
        below.unwrap_or_else(|| panic!("{text:?} stands below no message")).fields.push(
            match (word, value) {
                ("without", _) => Field::Without(name),
                (_, Some(value)) => Field::Only(name, value.into()),
                (_, None) => Field::With(name),
            },
        );
    }
}

/// A message; its start has `words` words.
fn wanted(text: &str, words: usize) -> Wanted {
    let split = text.match_indices(' ').nth(words - 1).map_or(text.len(), |(at, _)| at);
    let (start, rest) = text.split_at(split);
    let quoted = |text: &str| bytes(text.trim().trim_matches('"'));
    let body = match rest.trim() {
        "" => Body::Whole,
        "cut" => Body::Cut,
        raw if raw.starts_with("raw ") => Body::Raw(quoted(&raw[4..])),
        body => {
            Body::Is(crate::script::parse(body.trim_matches('"')).into_iter().flat_map(literal).collect())
        }
    };
    let optional = start.ends_with('?') && words == 1;
    Wanted {
        start: start.trim_end_matches(if optional { "?" } else { "" }).into(),
        optional,
        body,
        fields: vec![],
    }
}

fn literal(step: Step) -> Vec<u8> {
    match step {
        Step::Bytes(bytes) => bytes,
        other => panic!("{other:?} is no byte of a body"),
    }
}
