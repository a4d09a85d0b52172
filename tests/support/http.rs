//! A plain HTTP/1.1 client: one request, one connection, nothing tried twice.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than any time-out under test; a hang is told as a failure rather than as a stuck run.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The first field of that name (in lower case).
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Why a sidecar answered in an endpoint's place.
    pub fn reason(&self) -> Option<&str> {
        self.field("x-outrigger-reason")
    }
}

/// `GET` of `path` of `host` at `to`.
///
/// # Errors
/// Connection, framing or time-out.
pub fn get(to: SocketAddr, host: &str, path: &str) -> io::Result<Answer> {
    request(to, "GET", path, &[("host", host)], "")
}

/// A request with a body, which may be empty.
///
/// # Errors
/// Connection, framing or time-out.
pub fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
    if !fields.iter().any(|(name, _)| *name == "host") {
        head.push_str(&format!("host: {to}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    fields.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n{body}").as_bytes())?;
    read_answer(&mut BufReader::new(stream))
}

fn read_answer(from: &mut impl BufRead) -> io::Result<Answer> {
    let status_line = line(from)?;
    let status =
        status_line.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(|| bad(&status_line))?;
    let mut fields = Vec::new();
    loop {
        let line = line(from)?;
        match line.split_once(':') {
            Some((name, value)) => fields.push((name.to_ascii_lowercase(), value.trim().to_owned())),
            None if line.is_empty() => break,
            None => return Err(bad(&line)),
        }
    }
    let mut answer = Answer { status, fields, body: String::new() };
    let mut body = Vec::new();
    match (answer.field("transfer-encoding"), answer.field("content-length")) {
        (Some("chunked"), _) => read_chunks(from, &mut body)?,
        (_, Some(length)) => {
            body.resize(length.parse().map_err(|_| bad(length))?, 0);
            from.read_exact(&mut body)?;
        }
        _ => drop(from.read_to_end(&mut body)?),
    }
    answer.body = String::from_utf8_lossy(&body).into_owned();
    Ok(answer)
}

fn read_chunks(from: &mut impl BufRead, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let size = line(from)?;
        let size = u64::from_str_radix(&size, 16).map_err(|_| bad(&size))?;
        let read = from.take(size).read_to_end(body)?;
        if read as u64 != size || !line(from)?.is_empty() {
            return Err(bad("a chunk"));
        }
        if size == 0 {
            return Ok(());
        }
    }
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    match from.read_line(&mut line)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {what:?}"))
}
