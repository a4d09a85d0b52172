//! As much of HTTP/1.1 as hosts and callers need of each other: heads, and bodies of a stated length.

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// A head longer than this is not one of ours.
const HEAD_MAX: usize = 16 * 1024;

/// A connection with what was read of it and not used.
pub(crate) struct Stream {
    pub(crate) socket: TcpStream,
    buf: Vec<u8>,
}

/// A message: its first line and its fields, in small letters.
pub(crate) struct Message(String);

impl Message {
    /// The value of a field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let value = |line: &str| line.strip_prefix(name)?.strip_prefix(':').map(str::len);
        let line = self.0.split("\r\n").skip(1).find(|line| value(line).is_some())?;
        Some(line[name.len() + 1..].trim())
    }

    /// An answer's status.
    pub(crate) fn status(&self) -> u16 {
        self.0.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// Whether the connection ends with it.
    pub(crate) fn closes(&self) -> bool {
        self.field("connection").is_some_and(|value| value.contains("close"))
    }
}

impl Stream {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, buf: Vec::with_capacity(1024) }
    }

    /// The next message, its body read and forgotten; `None` when the other side closed between messages.
    pub(crate) async fn message(&mut self) -> std::io::Result<Option<Message>> {
        let end = loop {
            if let Some(at) = self.buf.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if self.buf.len() > HEAD_MAX {
                return Err(std::io::ErrorKind::InvalidData.into());
            }
            if self.socket.read_buf(&mut self.buf).await? == 0 {
                return Ok(None);
            }
        };
        let message = Message(String::from_utf8_lossy(&self.buf[..end]).to_ascii_lowercase());
        let body = message.field("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
        while self.buf.len() < end + body {
            if self.socket.read_buf(&mut self.buf).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        self.buf.drain(..end + body);
        Ok(Some(message))
    }

    /// Ends when the other side closes, or sends before its time.
    pub(crate) async fn gone(&mut self) {
        // Either way, whoever waits for an answer to the message before is not there any more.
        _ = self.socket.read_buf(&mut self.buf).await;
    }
}
