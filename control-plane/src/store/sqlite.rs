//! Policies, service settings and the audit in one SQLite file.
//!
//! WAL with `synchronous=FULL`: a commit that returned survives a power cut (sqlite.org/pragma.html). The
//! table of documents only ever grows; the newest row of a key is the document, the rows before it are its
//! history, so that history and truth cannot differ.

mod rows;

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, TransactionBehavior, params};

use super::{
    AuditLine, By, Deed, Document, DocumentKey, DocumentKind, PolicyStore, Revision, StoreError, Write,
};

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
            rows.query_map(params, rows::document)?.collect::<rusqlite::Result<Vec<_>>>()
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
            rows.query_map(key, rows::revision)?.collect::<rusqlite::Result<Vec<_>>>()
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
        let mut adopt = || {
            let both = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            both.execute(
                "INSERT OR REPLACE INTO meta (key, value) VALUES ('adopted', ?1)",
                [at.to_string()],
            )?;
            audit(&both, at, by, Deed::Adopt, "store", None)?;
            both.commit()
        };
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
            rows.query_map([count as u64], rows::line)?.collect::<rusqlite::Result<Vec<_>>>()
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

/// Names what was being done when the engine failed.
fn engine(deed: &'static str) -> impl Fn(rusqlite::Error) -> StoreError {
    move |why| match why.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        _ => StoreError::Engine { deed, why: why.to_string() },
    }
}

#[cfg(test)]
mod tests;
