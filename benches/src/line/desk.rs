//! As much of the control plane's API as one sidecar without apps asks for.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use api::message::{DigestCheck, Digests, News, PolicyNews, Watch};
use api::{Digest, Namespace};
use serde_json::{Value, json};

use super::books::{Books, line, whole};

/// Answers whoever connects, for as long as the process lives.
pub fn serve(door: &TcpListener, books: &Arc<Mutex<Books>>) {
    for stream in door.incoming().flatten() {
        let books = Arc::clone(books);
        // Who breaks off ends its own thread and nothing else.
        std::thread::spawn(move || _ = connection(stream, &books));
    }
}

fn connection(mut stream: TcpStream, books: &Mutex<Books>) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let Some((asked, body)) = request(&mut reader)? else { return Ok(()) };
        let mut books = books.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.contains(" /v1/watch ") {
            return watch(stream, &mut books, &serde_json::from_slice(&body)?);
        }
        let said = if asked.contains(" /v1/digests ") {
            json!(digests(&books, &serde_json::from_slice(&body)?))
        } else if asked.starts_with("POST /v1/sessions ") {
            json!({ "session": "line", "beat_every": "10s", "store": "line" })
        } else {
            json!({ "beat_every": "10s", "instances": 0 })
        };
        drop(books);
        stream.write_all(&answer(&said))?;
    }
}

/// The first line of a request, and its body; `None` once the client is done.
fn request(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<(String, Vec<u8>)>> {
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first)? == 0 {
        return Ok(None);
    }
    loop {
        let mut field = String::new();
        reader.read_line(&mut field)?;
        if let Some(value) = field.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if field.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok(Some((first, body)))
}

fn answer(said: &Value) -> Vec<u8> {
    let said = said.to_string();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{said}",
        said.len()
    )
    .into_bytes()
}

/// Everything that differs, and every change from now on: an answer without end.
fn watch(mut stream: TcpStream, books: &mut Books, asked: &Watch) -> std::io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\r\n")?;
    for (service, held) in &asked.lists {
        if let Some(list) = books.list(service).filter(|list| list.digest != *held) {
            stream.write_all(&line(&whole(list)))?;
        }
    }
    for namespace in asked.policies.keys() {
        stream.write_all(&line(&News::Policies(no_policies(namespace))))?;
    }
    books.hears(stream);
    Ok(())
}

fn no_policies(namespace: &Namespace) -> PolicyNews {
    let (namespace, store, digest) = (namespace.clone(), "line".to_owned(), Digest::EMPTY);
    let (documents, commands) = (Vec::new(), Vec::new());
    PolicyNews { namespace, digest, revision: 1, store, adopted: false, documents, trial: None, commands }
}

fn digests(books: &Books, check: &DigestCheck) -> Digests {
    let listed = |service| Some((books.list(service)?.service.clone(), books.list(service)?.digest));
    let policies = check.policies.iter().map(|namespace| (namespace.clone(), Digest::EMPTY)).collect();
    Digests { lists: check.lists.iter().filter_map(listed).collect(), policies, ..Digests::default() }
}
