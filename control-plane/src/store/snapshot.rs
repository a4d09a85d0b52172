//! The registry's snapshot: one checksummed file that a crash leaves old or new, never half.
//!
//! One header line, `outrigger-registry 2 BYTES BLAKE3`, then JSON. It is disposable: a torn file is refused
//! and the registry is rebuilt from what sidecars assert. Nothing is ever repaired or guessed. Written as it is
//! encoded, so that a large fleet's never stands in memory whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, IntoInnerError, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};

use control_core::Snapshot;

use super::{InstanceStore, StoreError};

/// The header's first two words: what the file is, and its format's version.
const MAGIC: &str = "outrigger-registry 2";

/// Encoded bytes that wait for the disk: few enough to forget, enough for few calls.
const PIECE: usize = 256 * 1024;

/// Why a snapshot is not used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
    /// It does not begin as a snapshot of this version does.
    #[error("it is no snapshot of this version")]
    Foreign,
    /// It is shorter or longer than its header says, or its checksum differs.
    #[error("it is torn: {0}")]
    Torn(&'static str),
    /// Its words are not understood.
    #[error("its words are not understood: {0}")]
    Words(String),
}

/// An [`InstanceStore`] in one file.
#[derive(Debug)]
pub struct SnapshotFile {
    path: PathBuf,
}

impl SnapshotFile {
    /// The snapshot at `path`, which need not exist yet.
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    fn write(&self, registrations: &Snapshot) -> io::Result<()> {
        let temporary = self.path.with_extension("new");
        let written = Self::write_to(&temporary, registrations);
        if written.is_err() {
            // Half a snapshot would keep room on a full disk; where it cannot go, the next one replaces it.
            _ = fs::remove_file(&temporary);
        }
        written?;
        fs::rename(&temporary, &self.path)?;
        // The rename is durable only once the directory is.
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()
    }

    fn write_to(path: &Path, registrations: &Snapshot) -> io::Result<()> {
        let mut file = File::create(path)?;
        // What the header says is known at the end and takes the same room.
        writeln!(file, "{}", header(0, &blake3::hash(b"")))?;
        let body = Body { file, bytes: 0, hash: blake3::Hasher::new() };
        let mut pieces = BufWriter::with_capacity(PIECE, body);
        serde_json::to_writer(&mut pieces, registrations)?;
        let Body { mut file, bytes, hash } = pieces.into_inner().map_err(IntoInnerError::into_error)?;
        let header = header(bytes, &hash.finalize());
        file.seek(SeekFrom::Start(0))?;
        writeln!(file, "{header}")?;
        file.sync_all()
    }
}

impl InstanceStore for SnapshotFile {
    fn load(&mut self) -> Result<Option<Snapshot>, Refused> {
        match fs::read(&self.path) {
            Ok(bytes) => {
                let body = checked(&bytes)?;
                serde_json::from_slice(body).map(Some).map_err(|why| Refused::Words(why.to_string()))
            }
            Err(why) if why.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(why) => Err(Refused::Unreadable(why.to_string())),
        }
    }

    fn save(&mut self, registrations: &Snapshot) -> Result<(), StoreError> {
        self.write(registrations).map_err(|why| match why.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
            _ => StoreError::Engine { deed: "save the registry's snapshot", why: why.to_string() },
        })
    }
}

fn header(bytes: u64, hash: &blake3::Hash) -> String {
    format!("{MAGIC} {bytes:016} {hash}")
}

/// Counts and hashes what passes to the file.
struct Body {
    file: File,
    bytes: u64,
    hash: blake3::Hasher,
}

impl Write for Body {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// The body behind a header that tells the truth.
fn checked(bytes: &[u8]) -> Result<&[u8], Refused> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or(Refused::Foreign)?;
    let header = std::str::from_utf8(&bytes[..end]).map_err(|_| Refused::Foreign)?;
    let rest = header.strip_prefix(MAGIC).ok_or(Refused::Foreign)?;
    let (length, checksum) = rest.trim_start().split_once(' ').ok_or(Refused::Foreign)?;
    let body = &bytes[end + 1..];
    if length.parse() != Ok(body.len()) {
        return Err(Refused::Torn("its length differs from what its header says"));
    }
    if blake3::hash(body).to_hex().as_str() != checksum {
        return Err(Refused::Torn("its checksum differs"));
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn saved() -> (tempfile::TempDir, SnapshotFile, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let mut file = SnapshotFile::at(directory.path().join("registry.snapshot"));
        file.save(&Snapshot::default()).unwrap();
        let bytes = fs::read(&file.path).unwrap();
        (directory, file, bytes)
    }

    #[test]
    fn what_is_saved_loads_again() {
        let (directory, mut file, _) = saved();
        assert_eq!(file.load().unwrap(), Some(Snapshot::default()));
        let mut nothing = SnapshotFile::at(directory.path().join("other"));
        assert_eq!(nothing.load(), Ok(None));
    }

    #[test]
    fn a_file_cut_anywhere_or_with_any_bit_flipped_is_refused() {
        let (_directory, mut file, whole) = saved();
        for length in 0..whole.len() {
            fs::write(&file.path, &whole[..length]).unwrap();
            assert!(file.load().is_err(), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            fs::write(&file.path, &flipped).unwrap();
            assert!(file.load().is_err(), "flipped at {at}");
        }
    }
}
