//! As much of HTTP/1.1 as a sidecar's control client needs: requests with a JSON body, answers of a stated length,
//! and an answer that goes on.

use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// A head longer than this is not one of ours.
const HEAD_MAX: usize = 16 * 1024;

/// Connections from one source address. Of the 28,232 ports that Linux hands out by default `bind` takes every second one
/// first, and those that closed lately are not free: when more than half as many are in use, each search looks at all of them,
/// for 5 ms, and the bench is what everybody waits for.
const PER_SOURCE: usize = 2_500;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `Retry-After`, where it says so.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

/// A connection with what was read of it and not used.
pub(crate) struct Client {
    pub(crate) socket: TcpStream,
    pub(crate) rest: Vec<u8>,
}

/// A request as it travels.
pub(crate) fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: cp\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

impl Client {
    /// Connection `number` to `to`: so many need more than one source address.
    pub(crate) async fn connect(to: SocketAddr, number: usize) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        if to.ip().is_loopback() {
            let host = u8::try_from(number / PER_SOURCE).map_err(Error::other)?;
            socket.bind((Ipv4Addr::new(127, 0, 1, host + 1), 0).into())?;
        }
        let socket = socket.connect(to).await?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, rest: Vec::new() })
    }

    /// Asks, and waits for the whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> std::io::Result<Answer> {
        self.socket.write_all(request).await?;
        let (mut answer, length) = self.head().await?;
        self.body(&mut answer, length).await?;
        Ok(answer)
    }

    /// The body of `answer`, whose head was read.
    pub(crate) async fn body(&mut self, answer: &mut Answer, length: Option<usize>) -> std::io::Result<()> {
        let length = length.unwrap_or(0);
        while self.rest.len() < length {
            self.more().await?;
        }
        answer.body = self.rest.drain(..length).collect();
        Ok(())
    }

    /// The head of an answer, and the length of its body where it says so.
    pub(crate) async fn head(&mut self) -> std::io::Result<(Answer, Option<usize>)> {
        let end = loop {
            if let Some(at) = self.rest.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if self.rest.len() > HEAD_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.rest[..end]).to_ascii_lowercase();
        self.rest.drain(..end);
        let field = |name: &str| {
            let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(':'));
            lines.filter(|(key, _)| *key == name).find_map(|(_, value)| value.trim().parse::<u64>().ok())
        };
        let status = head.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        let retry_after = field("retry-after").map(Duration::from_secs);
        Ok((Answer { status, retry_after, body: Vec::new() }, field("content-length").map(|n| n as usize)))
    }

    async fn more(&mut self) -> std::io::Result<()> {
        match self.socket.read_buf(&mut self.rest).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}
