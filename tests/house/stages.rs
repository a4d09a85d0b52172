//! Every stage is one file of its name, small enough to be read at once, and the page about them is in step.

use crate::tree;

/// The stages in order; what acts stands in the process, what decides in the core.
const STAGES: [(&str, &str); 10] = [
    ("arrive", "sidecar/src/proxy/arrive.rs"),
    ("admit", "sidecar/core/src/admit.rs"),
    ("route", "sidecar/core/src/route.rs"),
    ("limit", "sidecar/core/src/limit.rs"),
    ("choose", "sidecar/core/src/choose.rs"),
    ("connect", "sidecar/src/proxy/connect.rs"),
    ("forward", "sidecar/src/proxy/forward.rs"),
    ("classify", "sidecar/core/src/classify.rs"),
    ("reply", "sidecar/src/proxy/reply.rs"),
    ("finish", "sidecar/src/proxy/finish.rs"),
];
/// Lines of code in a stage, apart from blank ones, comments and tests.
const STAGE_LINES: usize = 110;
/// Lines of the functions that tell the story: what a tall terminal shows.
const SCREEN: usize = 60;

fn code_lines(text: &str) -> usize {
    let code = text.split("#[cfg(test)]").next().unwrap();
    code.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

/// The lines of the function whose head contains `head`, from it to the brace that closes it.
fn function_lines(text: &str, head: &str) -> Option<usize> {
    let begin = text.lines().position(|line| line.contains(head))?;
    let indent = text.lines().nth(begin)?.chars().take_while(|letter| *letter == ' ').count();
    let close = format!("{}}}", " ".repeat(indent));
    text.lines().skip(begin).position(|line| line == close).map(|length| length + 1)
}

#[test]
fn every_stage_is_one_small_file() {
    let weights = STAGES.map(|(stage, file)| (stage, file, code_lines(&tree::read(file))));
    let heavy: Vec<_> = weights.into_iter().filter(|(.., lines)| *lines > STAGE_LINES).collect();
    assert!(heavy.is_empty(), "over {STAGE_LINES} lines of code: {heavy:?}");
}

#[test]
fn the_line_fits_one_screen() {
    for (file, head) in
        [("sidecar/src/proxy/mod.rs", "async fn line"), ("sidecar/src/proxy/serve.rs", "async fn handle")]
    {
        let lines =
            function_lines(&tree::read(file), head).unwrap_or_else(|| panic!("{file} has no `{head}`"));
        assert!(lines <= SCREEN, "`{head}` in {file} has {lines} lines, over {SCREEN}");
    }
}

#[test]
fn the_page_names_each_stage_in_order() {
    let page = tree::read("docs/life-of-a-request.md");
    for (number, (stage, file)) in (1..).zip(STAGES) {
        let row = format!("| {number} | {stage} |");
        let line = page.lines().find(|line| line.starts_with(&row));
        let line = line.unwrap_or_else(|| panic!("docs/life-of-a-request.md has no row {row:?}"));
        assert!(line.contains(file), "{line:?} should name {file}");
    }
}

#[test]
fn a_function_is_measured_to_its_own_brace() {
    let text = "impl A {\n    fn short() {\n        if x {\n        }\n    }\n    fn other() {}\n}\n";
    assert_eq!(function_lines(text, "fn short"), Some(4));
    assert_eq!(function_lines(text, "fn none"), None);
}
