//! Rows of the store's tables, read back as what they were written from.

use api::{Label, Namespace};
use rusqlite::Row;

use crate::diff::of_bodies;
use crate::store::{AuditLine, Deed, Document, DocumentKey, DocumentKind, Revision};

pub(super) fn document(row: &Row<'_>) -> rusqlite::Result<Document> {
    let key = DocumentKey {
        kind: word::<DocumentKind>(row, 0)?,
        namespace: word::<Namespace>(row, 1)?,
        name: word::<Label>(row, 2)?,
    };
    Ok(Document { key, revision: row.get(3)?, body: row.get(4)? })
}

pub(super) fn revision(row: &Row<'_>) -> rusqlite::Result<Revision> {
    Ok(Revision {
        revision: row.get(0)?,
        at: row.get(1)?,
        author: row.get(2)?,
        message: row.get(3)?,
        body: row.get(4)?,
    })
}

pub(super) fn line(row: &Row<'_>) -> rusqlite::Result<AuditLine> {
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
