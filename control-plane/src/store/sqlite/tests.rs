//! A store keeps what was written, once, with a line of who wrote it.
#![allow(clippy::unwrap_used, reason = "tests")]

use api::Namespace;

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
