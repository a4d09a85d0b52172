//! Each row of `docs/coverage.md` and `docs/coverage-control-plane.md` names a test that exists, or says that the promise
//! is not built.

use crate::tree;

/// The rows of the page's tables: promise and what shows it.
fn rows(page: &str) -> Vec<(&str, &str)> {
    let rows = page.lines().filter_map(|line| cells(line.trim()));
    rows.filter(|(promise, shown)| !promise.starts_with("---") && !matches!(*shown, "shown by" | "test"))
        .collect()
}

fn cells(line: &str) -> Option<(&str, &str)> {
    let (promise, shown) = line.strip_prefix('|')?.strip_suffix('|')?.rsplit_once('|')?;
    Some((promise.trim(), shown.trim()))
}

/// Where the page points to nothing: the row's words, or `None` when all is well.
fn missing(shown: &str, exists: impl Fn(&str) -> bool) -> Option<String> {
    if shown.starts_with("not built") {
        return None;
    }
    let tests: Vec<&str> = shown.split([',', ' ']).map(|word| word.trim_matches('`')).collect();
    let tests: Vec<&str> =
        tests.into_iter().filter(|word| word.contains("::") || word.contains("cases/")).collect();
    if tests.is_empty() {
        return Some(format!("{shown:?} names no test"));
    }
    tests.into_iter().find(|test| !exists(test)).map(|test| format!("{test} does not exist"))
}

/// Whether `path::name` is a test: in that file where the path is one, anywhere in the tree otherwise.
fn is_test(test: &str) -> bool {
    if let Some(case) = test.split("cases/").nth(1) {
        let case = format!("cases/{case}");
        return tree::files("").iter().any(|file| file.display().to_string().contains(&case));
    }
    let Some((path, name)) = test.rsplit_once("::") else { return false };
    let head = format!("fn {name}(");
    let files = tree::rust_files();
    let mut places = files.iter().filter(|file| !path.ends_with(".rs") || file.display().to_string() == path);
    places.any(|file| tree::read(file).contains(&head))
}

#[test]
fn each_promise_names_a_test_that_exists() {
    let mut problems: Vec<String> = Vec::new();
    for path in ["docs/coverage.md", "docs/coverage-control-plane.md"] {
        let page = tree::read(path);
        let rows = rows(&page);
        assert!(rows.len() > 10, "{path} has only {} rows", rows.len());
        let told =
            |(promise, shown)| missing(shown, is_test).map(|what| format!("{path}: {promise}: {what}"));
        problems.extend(rows.into_iter().filter_map(told));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn a_row_is_judged_by_its_last_cell() {
    let page =
        "| promise | shown by |\n|---|---|\n| a | `x.rs::y` |\n| b | not built: later |\n| c | hopefully |\n";
    let judged: Vec<_> =
        rows(page).into_iter().map(|(_, shown)| missing(shown, |test| test == "x.rs::y")).collect();
    assert_eq!(judged, [None, None, Some("\"hopefully\" names no test".into())]);
}

#[test]
fn this_test_exists_and_another_does_not() {
    assert!(is_test("tests/house/coverage.rs::this_test_exists_and_another_does_not"));
    assert!(!is_test(&format!("tests/house/coverage.rs::{}", "no_such_thing")));
}
