//! Inputs that are kept: the corpus each target begins with, and every input that once broke a promise.

use std::path::{Path, PathBuf};
use std::{fs, io};

use crate::dice;

/// Reads the files of `kind` (`corpus` or `finds`) of a target, in order; none when there is no folder.
pub fn read(kind: &str, target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(found) = fs::read_dir(folder(kind, target)) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = found.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| fs::read(&path).ok().map(|bytes| (path, bytes))).collect()
}

/// Keeps `input`, named by its hash.
///
/// # Errors
/// Those of the file system.
pub fn keep(kind: &str, target: &str, input: &[u8]) -> io::Result<PathBuf> {
    let folder = folder(kind, target);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{:016x}", dice::hash(input)));
    fs::write(&path, input)?;
    Ok(path)
}

fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(target)
}
