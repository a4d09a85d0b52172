//! Generated pages say what the code says.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::tree;

#[test]
fn generated_pages_are_in_step() {
    let fresh = tempfile::tempdir().unwrap();
    fs::create_dir(fresh.path().join("docs")).unwrap();
    let done =
        Command::new(env!("CARGO_BIN_EXE_outrigger")).arg("docs").current_dir(&fresh).output().unwrap();
    assert!(done.status.success(), "outrigger docs: {}", String::from_utf8_lossy(&done.stderr));
    let mut pages = Vec::new();
    list(&fresh.path().join("docs"), &mut pages);
    assert!(pages.len() >= 5, "only {pages:?} were generated");
    for page in pages {
        let path = page.strip_prefix(&fresh).unwrap();
        let stale = tree::read(path) != fs::read_to_string(&page).unwrap();
        assert!(!stale, "{} is stale: run `outrigger docs`", path.display());
    }
}

fn list(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => list(&path, found),
            false => found.push(path),
        }
    }
}
