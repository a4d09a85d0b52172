//! YAML in and out, the one place that knows `serde_yaml`.
//!
//! `serde_yaml` gives the values. It keeps the last of two equal keys and says where only its first error
//! is, so a [`Node`] keeps both keys and a second, position-only pass (`saphyr-parser`) finds where a path
//! stands. The fence exists because `serde_yaml` is archived: docs/decisions/002.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use saphyr_parser::{Event, Parser};
use serde::Deserialize;

use crate::problem::{Place, Problem};
use crate::schema::{Node, Problems, Shape, join};

/// Reads every document of `text` as a `T`.
///
/// # Errors
/// Every problem of every document, each with its place.
pub fn read_all<T: Shape>(text: &str) -> Result<Vec<T>, Vec<Problem>> {
    let places = places(text);
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for (at, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let node = match Node::deserialize(document) {
            Ok(Node::Scalar(crate::schema::Kind::Null, _)) => continue,
            Ok(node) => node,
            Err(why) => {
                problems.push(malformed(&why));
                break;
            }
        };
        let mut told = Problems::new();
        let value = T::read(&node, "", &mut told);
        match told.into_result(value) {
            Ok(value) => found.push(value),
            Err(told) => problems.extend(told.into_iter().map(|problem| placed(problem, places.get(at)))),
        }
    }
    // In the order a reader meets them; what has no place comes last.
    problems.sort_by_key(|problem| problem.place.map_or((1, None), |place| (0, Some(place))));
    if problems.is_empty() { Ok(found) } else { Err(problems) }
}

/// Reads `text`, which must hold exactly one document.
///
/// # Errors
/// Every problem, each with its place.
pub fn read_one<T: Shape>(text: &str) -> Result<T, Vec<Problem>> {
    let mut found = read_all(text)?;
    match (found.pop(), found.len()) {
        (Some(one), 0) => Ok(one),
        (None, _) => Err(vec![Problem::at("", "the file is empty")]),
        (Some(_), more) => Err(vec![Problem::at("", format!("expected one document, found {}", more + 1))]),
    }
}

/// Whether `text` is YAML at all; what it says is another question.
///
/// # Errors
/// The first place where it is not.
pub fn well_formed(text: &str) -> Result<(), Problem> {
    for document in serde_yaml::Deserializer::from_str(text) {
        Node::deserialize(document).map_err(|why| malformed(&why))?;
    }
    Ok(())
}

/// `value` as YAML, keys in the order of declaration.
pub fn write<T: Shape>(value: &T) -> String {
    serde_yaml::to_string(&value.write()).unwrap_or_else(|why| format!("# {why}\n"))
}

fn malformed(why: &serde_yaml::Error) -> Problem {
    let place = why.location().map(|l| Place { line: l.line(), column: l.column() });
    let hint = match why.to_string() {
        text if text.contains("cannot start any token") => {
            "YAML allows only spaces for indentation; look for a tab, or quote the value"
        }
        _ => "",
    };
    let what = why.to_string();
    let what = what.split(" at line ").next().unwrap_or_default().to_owned();
    Problem { place, ..Problem::at("", what).hint(hint) }
}

/// Adds to each of `problems`, found in what the first document of `text` says, the place where it stands.
pub fn place(text: &str, problems: Vec<Problem>) -> Vec<Problem> {
    let places = places(text);
    problems.into_iter().map(|problem| placed(problem, places.first())).collect()
}

fn placed(problem: Problem, places: Option<&HashMap<String, Place>>) -> Problem {
    let place = places.and_then(|places| places.get(&problem.path).copied());
    let path = problem.path.trim_end_matches("#2").to_owned();
    Problem { place, path, ..problem }
}

/// Where each path of each document stands: a mapping's entry at its key (the second of two equal keys with
/// `#2` behind its path), a list's item at its start.
fn places(text: &str) -> Vec<HashMap<String, Place>> {
    let mut documents = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str(text) {
        // A text that does not parse has its error told by serde_yaml; places found so far still help.
        let Ok((event, span)) = event else { break };
        let place = Place { line: span.start.line(), column: span.start.col() + 1 };
        match event {
            Event::DocumentStart(_) => documents.push(HashMap::new()),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
            }
            Event::Scalar(word, ..) => {
                let (path, begins) = step(&mut open, &word);
                if begins && let Some(places) = documents.last_mut() {
                    note(places, path, place);
                }
            }
            Event::MappingStart(..) | Event::SequenceStart(..) => {
                let (path, begins) = step(&mut open, "");
                if begins && let Some(places) = documents.last_mut() {
                    note(places, path.clone(), place);
                }
                open.push(match event {
                    Event::MappingStart(..) => Open::Map { path, key: None },
                    _ => Open::List { path, next: 0 },
                });
            }
            _ => {}
        }
    }
    documents
}

fn note(places: &mut HashMap<String, Place>, path: String, place: Place) {
    match places.entry(path) {
        Entry::Vacant(first) => {
            first.insert(place);
        }
        Entry::Occupied(first) => {
            let second = format!("{}#2", first.key());
            places.entry(second).or_insert(place);
        }
    }
}

/// A mapping or list that has begun.
enum Open {
    Map { path: String, key: Option<String> },
    List { path: String, next: usize },
}

/// Moves on by one node that reads `word`. Returns its path, and whether the path begins here: at a mapping's
/// key or a list's item; a mapping's value has begun with its key.
fn step(open: &mut [Open], word: &str) -> (String, bool) {
    match open.last_mut() {
        None => (String::new(), true),
        Some(Open::List { path, next }) => {
            *next += 1;
            (format!("{path}[{}]", *next - 1), true)
        }
        Some(Open::Map { path, key }) => match key.take() {
            Some(key) => (join(path, &key), false),
            None => {
                *key = Some(word.to_owned());
                (join(path, word), true)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::policy::PolicyWords;

    fn check(text: &str, wanted: &[(&str, usize, usize, &str)]) {
        let problems = read_all::<PolicyWords>(text).unwrap_err();
        let found: Vec<_> = problems
            .iter()
            .map(|p| {
                let place = p.place.unwrap_or(Place { line: 0, column: 0 });
                (p.path.as_str(), place.line, place.column, p.to_string())
            })
            .collect();
        assert_eq!(found.len(), wanted.len(), "{found:#?}");
        for ((path, line, column, text), (wpath, wline, wcolumn, words)) in found.iter().zip(wanted) {
            assert_eq!((path, line, column), (wpath, wline, wcolumn), "{text}");
            assert!(text.contains(words), "{text:?} says nothing of {words:?}");
        }
    }

    #[test]
    fn all_mistakes_are_told_at_once_each_with_its_place() {
        let text = "kind: Policy\nname: a\nmatch: { service: s }\nretry:\n  atempts: 3\n  budget: 200%\ntimeout: { total: 5 }\n\
                    routes:\n- name: x\n  retry: { attempts: many }\n";
        check(
            text,
            &[
                ("retry.atempts", 5, 3, "did you mean \"attempts\"?"),
                ("retry.budget", 6, 3, "over 100%"),
                ("timeout.total", 7, 12, "no unit"),
                ("routes[0].retry.attempts", 10, 12, "expected a whole number"),
            ],
        );
    }

    #[test]
    fn a_key_that_stands_twice_is_told_at_its_second_place() {
        check("kind: Policy\nname: a\nretry: {}\nretry: {}\n", &[("retry", 4, 1, "stands twice")]);
    }

    #[test]
    fn a_tab_is_told_with_the_cure() {
        check("kind: Policy\nretry:\n\tattempts: 3\n", &[("", 3, 1, "tab")]);
    }

    #[test]
    fn each_document_of_a_file_has_its_own_places() {
        check(
            "kind: Policy\nname: a\n---\nkind: Policy\nnme: b\n",
            &[("nme", 5, 1, "did you mean \"name\"?"), ("name", 0, 0, "missing")],
        );
    }
}
