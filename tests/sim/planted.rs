//! The planted bugs of `tests/mutants` still fit the code they were written against.
//!
//! Whether each is found is what `tests/mutants/run` shows; it builds the cores once for each of them.

use std::path::Path;
use std::process::Command;

/// A dozen is promised.
const FEWEST: usize = 12;

#[test]
fn every_planted_bug_still_applies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stand in the workspace");
    let entries = root.join("tests/mutants").read_dir().expect("tests/mutants");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let patches: Vec<_> = paths.filter(|path| path.extension().is_some_and(|end| end == "patch")).collect();
    assert!(patches.len() >= FEWEST, "{} planted bugs", patches.len());
    for patch in patches {
        let told = Command::new("git").current_dir(root).args(["apply", "--check"]).arg(&patch).output();
        let told = told.expect("git");
        assert!(told.status.success(), "{}: {}", patch.display(), String::from_utf8_lossy(&told.stderr));
    }
}
