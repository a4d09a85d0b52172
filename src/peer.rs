//! Asking a control plane or a sidecar: one request, one answer, over TCP or a Unix socket.
//!
//! HTTP/1.0, so that an answer ends with its connection and nothing needs to be taken apart. Never tries twice.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use api::message::ProblemBody;
use serde::de::DeserializeOwned;

use crate::failed::{BAD_CONFIG, Failed, NO, UNAVAILABLE};

/// How long a connection may take: a lost SYN and its repetition.
const CONNECT: Duration = Duration::from_secs(3);
/// How long an answer may take: longer than a durable write does.
const ANSWER: Duration = Duration::from_secs(15);

/// Where the secret of a token is, for control planes that have any.
const TOKEN: &str = "OUTRIGGER_TOKEN";

/// Whom to ask: `http://HOST:PORT`, `HOST:PORT` or `unix:/PATH`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// `HOST:PORT`.
    Tcp(String),
    /// A socket's path.
    Unix(PathBuf),
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    status: u16,
    body: String,
}

impl FromStr for Peer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            return Ok(Self::Unix(path.into()));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        let port = authority.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        match port {
            Some(_) if !authority.contains(['/', ' ', '\r', '\n']) => Ok(Self::Tcp(authority.into())),
            _ => Err("write http://HOST:PORT or unix:/PATH".into()),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Peer {
    /// Sends `method` for `path` with `headers` and a body, and waits for the answer. `what` says whom we ask, and
    /// `hint` what to do when nobody answers.
    pub(crate) fn ask(
        &self,
        (what, hint): (&str, &str),
        (method, path): (&str, &str),
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, Failed> {
        let gone = |why: io::Error| {
            Failed::new(UNAVAILABLE, format!("{what} {self} does not answer: {why}\n  {hint}"))
        };
        let host = match self {
            Self::Tcp(authority) => authority,
            Self::Unix(_) => "localhost",
        };
        let mut request =
            format!("{method} {path} HTTP/1.0\r\nhost: {host}\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            // A header ends with its line; what people write in a message may not begin another.
            let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        // A secret on the command line would be everybody's: it comes by the environment.
        if let Ok(token) = std::env::var(TOKEN).map(|token| token.trim().to_owned())
            && token.bytes().all(|b| b.is_ascii_graphic())
        {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(body);
        let answer = match self {
            Self::Tcp(authority) => connect(authority).and_then(|stream| {
                stream.set_read_timeout(Some(ANSWER))?;
                exchange(stream, &request)
            }),
            Self::Unix(path) => UnixStream::connect(path).and_then(|stream| {
                stream.set_read_timeout(Some(ANSWER))?;
                exchange(stream, &request)
            }),
        };
        answer.and_then(|text| parse(&text)).map_err(gone)
    }
}

/// The first address of `authority` that takes a connection.
fn connect(authority: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn exchange(mut stream: impl Read + Write, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    String::from_utf8(answer).map_err(io::Error::other)
}

fn parse(text: &str) -> io::Result<Answer> {
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "its answer is cut short or no HTTP");
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(cut)?;
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(cut)?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| length != body.len()) {
        return Err(cut());
    }
    Ok(Answer { status, body: body.to_owned() })
}

impl Answer {
    /// The body of a good answer. Any other is a failure that says what the other side said.
    pub(crate) fn good(self) -> Result<String, Failed> {
        let exit = match self.status {
            200..=299 => return Ok(self.body),
            400 | 422 => BAD_CONFIG,
            503 => UNAVAILABLE,
            _ => NO,
        };
        let Ok(problem) = serde_json::from_str::<ProblemBody>(&self.body) else {
            return Err(Failed::new(
                exit,
                format!("refused with status {}: {}", self.status, self.body.trim()),
            ));
        };
        let mut what = match problem.detail.is_empty() {
            true => problem.title,
            false => problem.detail,
        };
        for wrong in problem.problems {
            what.push_str(&format!("\n  {wrong}"));
        }
        Err(Failed::new(exit, what))
    }

    /// Whether there is nothing at the path.
    pub(crate) fn is_absent(&self) -> bool {
        self.status == 404
    }

    /// The body of a good answer, read as `T`.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T, Failed> {
        let body = self.good()?;
        serde_json::from_str(&body)
            .map_err(|why| Failed::new(NO, format!("the answer is not what was expected: {why}")))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_peer_is_named_as_people_name_it() {
        for (text, shown) in [
            ("http://127.0.0.1:7400/", "http://127.0.0.1:7400"),
            ("cp:7400", "http://cp:7400"),
            ("[::1]:7400", "http://[::1]:7400"),
            ("unix:/run/o.sock", "unix:/run/o.sock"),
        ] {
            assert_eq!(text.parse::<Peer>().unwrap().to_string(), shown);
        }
        for text in ["cp", "https://cp:7400", "http://cp:7400/x", "cp:7400\r\nx: y", ""] {
            text.parse::<Peer>().unwrap_err();
        }
    }

    #[test]
    fn a_refusal_says_what_the_other_side_said() {
        let body = r#"{"type":"about:blank","title":"wrong","status":422,"detail":"a policy is wrong",
            "problems":[{"path":"retry.attempts","what":"0 attempts send nothing"}]}"#;
        let failed = parse(&format!("HTTP/1.1 422 x\r\ncontent-length: {}\r\n\r\n{body}", body.len()));
        let failed = failed.unwrap().good().unwrap_err();
        assert_eq!(failed.exit, BAD_CONFIG);
        assert_eq!(failed.text, "error: a policy is wrong\n  retry.attempts: 0 attempts send nothing\n");
    }

    #[test]
    fn an_answer_cut_short_is_no_answer() {
        for text in ["", "HTTP/1.0 200 OK\r\n", "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\nabc"] {
            parse(text).unwrap_err();
        }
    }
}
