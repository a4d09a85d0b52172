//! The tree as the tests read it.

use std::fs;
use std::path::{Path, PathBuf};

/// What is not ours: built, fetched, or history.
const SKIPPED: [&str; 6] = ["target", ".git", ".tools", ".venv", "node_modules", "corpus"];

/// The top of the tree.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The text of a file, by its path from the top.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// Every file under `dir`, as paths from the top, in order.
pub(crate) fn files(dir: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(&root().join(dir), &mut found);
    found.sort();
    found.iter().map(|path| path.strip_prefix(root()).unwrap().to_owned()).collect()
}

/// Every Rust file of ours.
pub(crate) fn rust_files() -> Vec<PathBuf> {
    files("").into_iter().filter(|path| path.extension().is_some_and(|kind| kind == "rs")).collect()
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display())) {
        let path = entry.unwrap().path();
        let skipped = path.file_name().is_some_and(|name| SKIPPED.iter().any(|skipped| name == *skipped));
        match path.is_dir() {
            _ if skipped || path.is_symlink() => {}
            true => walk(&path, found),
            false => found.push(path),
        }
    }
}
