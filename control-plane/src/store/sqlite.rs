//! Policies, service settings and the audit in one SQLite file.
//!
//! WAL with `synchronous=FULL`: a commit that returned survives a power cut (sqlite.org/pragma.html). The
//! table of documents only ever grows; the newest row of a key is the document, the rows before it are its
//! history, so that history and truth cannot differ.

use std::path::Path;

use api::{Label, Namespace};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::{
    AuditLine, By, Deed, Document, DocumentKey, DocumentKind, PolicyStore, Revision, StoreError, Write,
};
use crate::diff::of_bodies;

/// Written into the file's header, so that `file(1)` and a wrong path are told apart: "Outr".
const APPLICATION: i64 = 0x4f75_7472;

/// Rises with each change of [`SCHEMA`].
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE documents (
    revision  INTEGER PRIMARY KEY AUTOINCREMENT,
    kind      TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name      TEXT NOT NULL,
    body      TEXT,
    author    TEXT NOT NULL,
    message   TEXT NOT NULL,
    at        INTEGER NOT NULL
);
CREATE INDEX documents_by_key ON documents (kind, namespace, name, revision);
CREATE TABLE audit (
    line     INTEGER PRIMARY KEY AUTOINCREMENT,
    at       INTEGER NOT NULL,
    author   TEXT NOT NULL,
    origin   TEXT NOT NULL,
    deed     TEXT NOT NULL,
    object   TEXT NOT NULL,
    revision INTEGER
);
CREATE TRIGGER audit_is_append_only_1 BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
CREATE TRIGGER audit_is_append_only_2 BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END;
";

/// A [`PolicyStore`] in one file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    id: String,
}

impl SqliteStore {
    /// Opens the store at `path`, or makes one with the id `new_id`.
    ///
    /// # Errors
    /// When the file is not a store, is of a newer version, or cannot be opened.
    pub fn open(path: &Path, new_id: &str) -> Result<Self, StoreError> {
        let connection = Connection::open(path).map_err(engine("open the store"))?;
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;")
            .map_err(engine("set the store up"))?;
        let mut store = Self { connection, id: String::new() };
        store.migrate(new_id)?;
        store.id = store.meta("store")?.unwrap_or_default();
        Ok(store)
    }

    /// Makes the tables of a file that has none.
    fn migrate(&mut self, new_id: &str) -> Result<(), StoreError> {
        let deed = engine("read the store's version");
        let found: i64 =
            self.connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(deed)?;
        match found {
            VERSION => Ok(()),
            0 => self.create(new_id).map_err(engine("make the store")),
            _ => Err(StoreError::Newer { found, known: VERSION }),
        }
    }

    fn create(&mut self, new_id: &str) -> rusqlite::Result<()> {
        let all = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        all.execute_batch(SCHEMA)?;
        all.execute("INSERT INTO meta (key, value) VALUES ('store', ?1)", [new_id])?;
        all.pragma_update(None, "application_id", APPLICATION)?;
        all.pragma_update(None, "user_version", VERSION)?;
        all.commit()
    }

    /// The file may grow by `pages` more; then its disk is full.
    #[cfg(test)]
    pub(crate) fn leave_room(&self, pages: u32) {
        let count = |pragma: &str| self.connection.query_row(pragma, [], |row| row.get::<_, u32>(0));
        let most = count("PRAGMA page_count")
            .and_then(|now| count(&format!("PRAGMA max_page_count = {}", now + pages)));
        assert!(most.is_ok(), "{most:?}");
    }

    fn meta(&self, key: &str) -> Result<Option<String>, StoreError> {
        let row = "SELECT value FROM meta WHERE key = ?1";
        self.connection.query_row(row, [key], |row| row.get(0)).optional().map_err(engine("read the store"))
    }

    fn documents(&self, condition: &str, params: impl rusqlite::Params) -> Result<Vec<Document>, StoreError> {
        let newest = "SELECT MAX(revision) FROM documents GROUP BY kind, namespace, name";
        let text = format!(
            "SELECT kind, namespace, name, revision, body FROM documents
             WHERE revision IN ({newest}) AND {condition}"
        );
        let read = || {
            let mut rows = self.connection.prepare_cached(&text)?;
            rows.query_map(params, read_document)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(engine("read documents"))
    }
}

impl PolicyStore for SqliteStore {
    fn id(&self) -> &str {
        &self.id
    }

    fn adopted(&self) -> Result<bool, StoreError> {
        Ok(self.meta("adopted")?.is_some())
    }

    fn head(&self) -> Result<u64, StoreError> {
        let text = "SELECT COALESCE(MAX(revision), 0) FROM documents";
        self.connection.query_row(text, [], |row| row.get(0)).map_err(engine("read the newest revision"))
    }

    fn list(&self, kind: DocumentKind) -> Result<Vec<Document>, StoreError> {
        self.documents("kind = ?1 AND body IS NOT NULL ORDER BY namespace, name", [kind.as_str()])
    }

    fn since(&self, revision: u64) -> Result<Vec<Document>, StoreError> {
        self.documents("revision > ?1 ORDER BY revision", [revision])
    }

    fn history(&self, key: &DocumentKey) -> Result<Vec<Revision>, StoreError> {
        let text = "SELECT revision, at, author, message, body FROM documents
                    WHERE kind = ?1 AND namespace = ?2 AND name = ?3 ORDER BY revision";
        let read = || {
            let mut rows = self.connection.prepare_cached(text)?;
            let key = params![key.kind.as_str(), key.namespace.as_str(), key.name.as_str()];
            rows.query_map(key, read_revision)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(engine("read a history"))
    }

    fn write(&mut self, write: &Write) -> Result<u64, StoreError> {
        let revisions = self.write_all(std::slice::from_ref(write))?;
        Ok(revisions.first().copied().unwrap_or_default())
    }

    fn write_all(&mut self, writes: &[Write]) -> Result<Vec<u64>, StoreError> {
        let deed = "write a document";
        let all = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(engine(deed))?;
        let mut revisions = Vec::with_capacity(writes.len());
        for write in writes {
            let held = held(&all, &write.key).map_err(engine(deed))?;
            if let Some(expected) = write.expected.filter(|expected| *expected != held) {
                return Err(StoreError::Conflict { expected, held });
            }
            revisions.push(insert(&all, write).map_err(engine(deed))?);
        }
        all.commit().map_err(engine(deed))?;
        Ok(revisions)
    }

    fn adopt(&mut self, by: &By, at: u64) -> Result<(), StoreError> {
        let adopt = || {
            let both = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            both.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('adopted', ?1)",
                [at.to_string()],
            )?;
            audit(&both, at, by, Deed::Adopt, "store", None)?;
            both.commit()
        };
        let mut adopt = adopt;
        adopt().map_err(engine("adopt the store"))
    }

    fn audit(&self, count: usize) -> Result<Vec<AuditLine>, StoreError> {
        let text = "SELECT audit.at, audit.author, origin, deed, object, audit.revision, kind, body,
                           (SELECT body FROM documents AS before
                            WHERE before.kind = documents.kind AND before.namespace = documents.namespace
                              AND before.name = documents.name AND before.revision < documents.revision
                            ORDER BY before.revision DESC LIMIT 1)
                    FROM audit LEFT JOIN documents ON documents.revision = audit.revision
                    ORDER BY line DESC LIMIT ?1";
        let read = || {
            let mut rows = self.connection.prepare_cached(text)?;
            rows.query_map([count as u64], read_line)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(engine("read the audit"))
    }
}

/// The revision of the document that is there; zero when there is none.
fn held(within: &Transaction<'_>, key: &DocumentKey) -> rusqlite::Result<u64> {
    let text = "SELECT revision, body IS NULL FROM documents
                WHERE kind = ?1 AND namespace = ?2 AND name = ?3 ORDER BY revision DESC LIMIT 1";
    let key = params![key.kind.as_str(), key.namespace.as_str(), key.name.as_str()];
    let newest: Option<(u64, bool)> =
        within.query_row(text, key, |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(newest.filter(|(_, gone)| !gone).map_or(0, |(revision, _)| revision))
}

fn insert(within: &Transaction<'_>, write: &Write) -> rusqlite::Result<u64> {
    let (key, by) = (&write.key, &write.by);
    within.execute(
        "INSERT INTO documents (kind, namespace, name, body, author, message, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            key.kind.as_str(),
            key.namespace.as_str(),
            key.name.as_str(),
            write.body,
            by.author,
            by.message,
            write.at
        ],
    )?;
    let revision = u64::try_from(within.last_insert_rowid()).unwrap_or_default();
    let object = format!("{} {}.{}", key.kind, key.name, key.namespace);
    audit(within, write.at, by, write.deed, &object, Some(revision))?;
    Ok(revision)
}

fn audit(
    within: &Transaction<'_>,
    at: u64,
    by: &By,
    deed: Deed,
    object: &str,
    revision: Option<u64>,
) -> rusqlite::Result<()> {
    let text =
        "INSERT INTO audit (at, author, origin, deed, object, revision) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    within.execute(text, params![at, by.author, by.origin, deed.as_str(), object, revision])?;
    Ok(())
}

// ---- rows ----

fn read_document(row: &Row<'_>) -> rusqlite::Result<Document> {
    let key = DocumentKey {
        kind: word::<DocumentKind>(row, 0)?,
        namespace: word::<Namespace>(row, 1)?,
        name: word::<Label>(row, 2)?,
    };
    Ok(Document { key, revision: row.get(3)?, body: row.get(4)? })
}

fn read_revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    Ok(Revision {
        revision: row.get(0)?,
        at: row.get(1)?,
        author: row.get(2)?,
        message: row.get(3)?,
        body: row.get(4)?,
    })
}

fn read_line(row: &Row<'_>) -> rusqlite::Result<AuditLine> {
    let (kind, body, before): (Option<String>, Option<String>, Option<String>) =
        (row.get(6)?, row.get(7)?, row.get(8)?);
    let told = kind.is_some_and(|kind| kind != DocumentKind::Token.as_str());
    Ok(AuditLine {
        changes: if told { of_bodies(before.as_deref(), body.as_deref()) } else { Vec::new() },
        at: row.get(0)?,
        author: row.get(1)?,
        origin: row.get(2)?,
        deed: word::<Deed>(row, 3)?,
        object: row.get(4)?,
        revision: row.get(5)?,
    })
}

/// A column that holds a word of ours.
fn word<T: std::str::FromStr<Err = String>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    text.parse().map_err(|why: String| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, why.into())
    })
}

/// Names what was being done when the engine failed.
fn engine(deed: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |why| match why.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Engine { deed, why: why.to_string() },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::diff::LeafChange;

    fn store() -> (tempfile::TempDir, SqliteStore) {
        let directory = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&directory.path().join("s.sqlite"), "first").unwrap();
        (directory, store)
    }

    fn write(name: &str, body: Option<&str>, expected: Option<u64>) -> Write {
        Write {
            key: DocumentKey {
                kind: DocumentKind::Policy,
                namespace: Namespace::default(),
                name: name.parse().unwrap(),
            },
            body: body.map(str::to_owned),
            expected,
            deed: if body.is_some() { Deed::Put } else { Deed::Delete },
            by: By { author: "ann".into(), origin: "10.0.0.9".into(), message: "why".into() },
            at: 7,
        }
    }

    #[test]
    fn a_store_keeps_its_id_and_its_documents() {
        let (directory, mut store) = store();
        store.write(&write("a", Some("{}"), None)).unwrap();
        drop(store);
        let again = SqliteStore::open(&directory.path().join("s.sqlite"), "second").unwrap();
        assert_eq!((again.id(), again.head().unwrap()), ("first", 1));
        assert_eq!(again.list(DocumentKind::Policy).unwrap()[0].body.as_deref(), Some("{}"));
        assert_eq!(again.list(DocumentKind::Service).unwrap(), []);
    }

    #[test]
    fn a_lost_race_writes_nothing() {
        let (_directory, mut store) = store();
        assert_eq!(store.write(&write("a", Some("1"), Some(0))).unwrap(), 1);
        assert_eq!(store.write(&write("a", Some("2"), Some(1))).unwrap(), 2);
        let lost = store.write(&write("a", Some("3"), Some(1))).unwrap_err();
        assert!(matches!(lost, StoreError::Conflict { expected: 1, held: 2 }));
        assert_eq!((store.head().unwrap(), store.audit(9).unwrap().len()), (2, 2));
    }

    #[test]
    fn what_was_taken_out_stays_in_its_history_and_may_come_back_as_new() {
        let (_directory, mut store) = store();
        store.write(&write("a", Some("1"), None)).unwrap();
        store.write(&write("b", Some("1"), None)).unwrap();
        store.write(&write("a", None, Some(1))).unwrap();
        let names = |documents: Vec<Document>| documents.into_iter().map(|d| d.revision).collect::<Vec<_>>();
        assert_eq!(names(store.list(DocumentKind::Policy).unwrap()), [2]);
        assert_eq!(names(store.since(1).unwrap()), [2, 3]);
        assert_eq!(store.write(&write("a", Some("2"), Some(0))).unwrap(), 4);
        let bodies = store.history(&write("a", None, None).key).unwrap();
        let bodies: Vec<_> = bodies.iter().map(|r| (r.revision, r.body.as_deref())).collect();
        assert_eq!(bodies, [(1, Some("1")), (3, None), (4, Some("2"))]);
    }

    #[test]
    fn every_write_leaves_a_line_that_nobody_can_change() {
        let (_directory, mut store) = store();
        let by = By { author: "ann".into(), origin: "10.0.0.9".into(), message: String::new() };
        for (name, body) in [("a", r#"{"n":1}"#), ("b", "{}"), ("a", r#"{"n":2}"#)] {
            store.write(&write(name, Some(body), None)).unwrap();
        }
        let mut token = write("t", Some(r#"{"secret":"x"}"#), None);
        token.key.kind = DocumentKind::Token;
        store.write(&token).unwrap();
        store.adopt(&by, 8).unwrap();
        assert!(store.adopted().unwrap());
        let change = |change: LeafChange| format!("{} {:?} {:?}", change.path, change.from, change.to);
        let line = |l: AuditLine| {
            let changes: Vec<String> = l.changes.into_iter().map(change).collect();
            (l.deed, l.object, l.revision, changes.join(", "))
        };
        let lines: Vec<_> = store.audit(9).unwrap().into_iter().map(line).collect();
        let put = |object: &str, revision, changes: &str| {
            (Deed::Put, object.to_owned(), Some(revision), changes.to_owned())
        };
        let wanted = [
            (Deed::Adopt, "store".into(), None, String::new()),
            put("token t.default", 4, ""),
            put("policy a.default", 3, "n Some(Number(1)) Some(Number(2))"),
            put("policy b.default", 2, " None Some(Object {})"),
            put("policy a.default", 1, "n None Some(Number(1))"),
        ];
        assert_eq!(lines, wanted);
        for tamper in ["UPDATE audit SET author = 'eve'", "DELETE FROM audit"] {
            assert!(store.connection.execute(tamper, []).is_err(), "{tamper}");
        }
    }

    #[test]
    fn a_full_disk_takes_nothing_and_a_roomy_one_goes_on() {
        let (_directory, mut store) = store();
        store.leave_room(1);
        let long = "x".repeat(1_000);
        let full = (1..100).find_map(|_| store.write(&write("a", Some(&long), None)).err());
        assert!(matches!(full, Some(StoreError::Full)), "{full:?}");
        let (head, lines) = (store.head().unwrap(), store.audit(999).unwrap().len());
        assert_eq!(head, lines as u64, "a write leaves its document and its line, or neither");
        store.leave_room(100);
        assert_eq!(store.write(&write("a", Some("{}"), None)).unwrap(), head + 1);
    }

    #[test]
    fn a_newer_store_is_refused() {
        let (directory, store) = store();
        store.connection.pragma_update(None, "user_version", 99).unwrap();
        drop(store);
        let refused = SqliteStore::open(&directory.path().join("s.sqlite"), "x").unwrap_err();
        assert!(matches!(refused, StoreError::Newer { found: 99, known: 1 }), "{refused}");
    }
}
