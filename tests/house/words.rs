//! What stands in every file: a header that says what it is for; and what stands in none: one machine's paths.

use crate::tree;

#[test]
fn every_file_opens_with_what_it_is_for() {
    let silent: Vec<_> = tree::rust_files()
        .into_iter()
        .filter(|path| !tree::read(path).lines().next().is_some_and(|line| line.starts_with("//!")))
        .collect();
    assert!(silent.is_empty(), "these files do not open with `//!`: {silent:?}");
}

#[test]
fn nothing_names_a_machine() {
    // Put together here, so that this file does not name them itself.
    let paths = ["root", "home", "work", "Users"].map(|top| format!("/{top}/"));
    let mut told = Vec::new();
    for file in tree::files("") {
        // Bytes that are no text, such as a corpus entry, hold no words.
        let Ok(text) = std::fs::read_to_string(tree::root().join(&file)) else { continue };
        let lines = text.lines().enumerate();
        let bad = lines.filter(|(_, line)| paths.iter().any(|path| names(line, path)));
        told.extend(bad.map(|(at, line)| format!("{}:{}: {}", file.display(), at + 1, line.trim())));
    }
    assert!(told.is_empty(), "one machine's paths:\n{}", told.join("\n"));
}

/// Whether `line` holds the absolute path `path`; `example.org/home/` or `src/work/` is none.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        before.is_none_or(|letter| !letter.is_alphanumeric() && !"}.-_/$~*".contains(letter))
    })
}

#[test]
fn only_absolute_paths_are_paths() {
    let path = format!("/{}/", "home");
    assert!(names(&format!("in {path}me"), &path));
    assert!(!names(&format!("https://example.org{path}me"), &path));
}
