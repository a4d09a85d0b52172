//! The floor under `benches/line`: what a hop costs that does nothing but pass on. It reads a request to its end, writes
//! it to an app as it came, reads the answer and writes it back: four system calls, one thread, no check, no limit, no
//! time-out, no retry, no count. What it takes beside HAProxy is what the kernel takes of whoever stands there.
//!
//! `line-floor PORT APP APP…`; it trusts its client and its apps, and is no proxy.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

/// The largest message of the bench with its head, in one read.
const BUFFER: usize = 16 * 1024;

fn main() -> io::Result<()> {
    let mut words = std::env::args().skip(1);
    let wrong = || io::Error::other("line-floor PORT APP APP…");
    let port: u16 = words.next().and_then(|word| word.parse().ok()).ok_or_else(wrong)?;
    let addresses: Vec<SocketAddr> = words.filter_map(|word| word.parse().ok()).collect();
    if addresses.is_empty() {
        return Err(wrong());
    }
    let idle = addresses.iter().map(|_| RefCell::default()).collect();
    let apps = Rc::new(Apps { addresses, idle, turn: Cell::new(0) });
    let runtime = Builder::new_current_thread().enable_io().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
        let door: TcpListener = socket.listen(4096)?;
        loop {
            let (client, _) = door.accept().await?;
            let apps = Rc::clone(&apps);
            spawn_local(async move {
                // A client that leaves ends its task and nothing else.
                _ = serve(client, &apps).await;
            });
        }
    })
}

/// The apps, asked in turn, with the connections to each that nobody uses.
struct Apps {
    addresses: Vec<SocketAddr>,
    idle: Vec<RefCell<Vec<TcpStream>>>,
    turn: Cell<usize>,
}

impl Apps {
    /// Whose turn it is.
    fn next(&self) -> usize {
        let at = (self.turn.get() + 1) % self.addresses.len();
        self.turn.set(at);
        at
    }

    async fn connection(&self, at: usize) -> io::Result<TcpStream> {
        let idle = self.idle[at].borrow_mut().pop();
        if let Some(idle) = idle {
            return Ok(idle);
        }
        let fresh = TcpStream::connect(self.addresses[at]).await?;
        fresh.set_nodelay(true)?;
        Ok(fresh)
    }
}

async fn serve(mut client: TcpStream, apps: &Apps) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut message = Vec::with_capacity(BUFFER);
    loop {
        message.clear();
        if !receive(&mut client, &mut message).await? {
            return Ok(());
        }
        let last = field(&message, b"connection").is_some_and(|value| value.eq_ignore_ascii_case(b"close"));
        let at = apps.next();
        let mut app = apps.connection(at).await?;
        app.write_all(&message).await?;
        message.clear();
        if !receive(&mut app, &mut message).await? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        apps.idle[at].borrow_mut().push(app);
        client.write_all(&message).await?;
        if last {
            return Ok(());
        }
    }
}

/// One message to the end that its length says; false when the peer ended instead.
async fn receive(from: &mut TcpStream, message: &mut Vec<u8>) -> io::Result<bool> {
    let mut whole = None;
    loop {
        if from.read_buf(message).await? == 0 {
            return Ok(false);
        }
        whole = whole.or_else(|| {
            let head = message.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
            let length = field(message, b"content-length").and_then(|value| std::str::from_utf8(value).ok());
            Some(head + length.and_then(|length| length.parse().ok()).unwrap_or(0))
        });
        if whole.is_some_and(|whole| message.len() >= whole) {
            return Ok(true);
        }
    }
}

/// The value of a field, in the lines before the first empty one.
fn field<'m>(message: &'m [u8], name: &[u8]) -> Option<&'m [u8]> {
    let lines = message.split(|b| *b == b'\n').map(<[u8]>::trim_ascii).take_while(|line| !line.is_empty());
    let value = |line: &'m [u8]| {
        let named = line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
        line.get(name.len()..).filter(|_| named)?.strip_prefix(b":").map(<[u8]>::trim_ascii)
    };
    lines.skip(1).find_map(value)
}
