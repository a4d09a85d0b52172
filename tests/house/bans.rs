//! The bans of `deny.toml`, held by `Cargo.lock` alone, for machines without cargo-deny.

use crate::tree;

/// The values of `key = "..."` in a text.
fn values<'t>(text: &'t str, key: &str) -> Vec<&'t str> {
    let start = format!("{key} = \"");
    let rest = text.match_indices(&start).map(|(at, found)| &text[at + found.len()..]);
    rest.filter_map(|rest| rest.split('"').next()).collect()
}

#[test]
fn nothing_banned_comes_in() {
    let (deny, lock) = (tree::read("deny.toml"), tree::read("Cargo.lock"));
    let names = values(&lock, "\nname");
    assert!(names.len() > 50, "Cargo.lock was not read");
    let rules: Vec<&str> = deny.lines().filter(|line| line.trim_start().starts_with("{ crate")).collect();
    assert!(rules.len() > 5, "deny.toml was not read");
    for rule in rules.iter().filter(|rule| !rule.contains("wrappers")) {
        let banned = values(rule, "crate")[0];
        assert!(!names.contains(&banned), "Cargo.lock holds a banned crate: {}", rule.trim());
        assert!(!values(rule, "reason").is_empty(), "a ban names its replacement: {}", rule.trim());
    }
}

#[test]
fn everything_comes_from_where_everyone_can_fetch_it() {
    let lock = tree::read("Cargo.lock");
    let allowed = "registry+https://github.com/rust-lang/crates.io-index";
    let others: Vec<&str> =
        values(&lock, "\nsource").into_iter().filter(|source| *source != allowed).collect();
    assert!(others.is_empty(), "other sources: {others:?}");
}
