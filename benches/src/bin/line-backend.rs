//! The app behind every arm of `benches/line`: answers 100 bytes, `/10k` 10 kB, and takes any body. As cheap as a
//! small server on one thread gets, so that the proxy before it is what is measured.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A head longer than this is not one of ours.
const HEAD_MAX: usize = 16 * 1024;

fn main() -> std::io::Result<()> {
    let addresses: Vec<SocketAddr> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        for address in addresses {
            let socket = match address {
                SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
                SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
            };
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            tokio::spawn(accept(socket.listen(4096)?, address.port()));
        }
        std::future::pending().await
    })
}

async fn accept(door: TcpListener, port: u16) {
    let answers =
        [answer(port, 100), answer(port, 10_240)].map(|answer| &*Box::leak(answer.into_boxed_slice()));
    while let Ok((stream, _)) = door.accept().await {
        tokio::spawn(async move {
            // A client that leaves ends its task and nothing else.
            _ = serve(stream, answers).await;
        });
    }
}

fn answer(port: u16, size: usize) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nx-backend: {port}\r\ncontent-length: {size}\r\n\r\n"
    );
    [head.into_bytes(), vec![b'x'; size]].concat()
}

async fn serve(mut stream: TcpStream, [small, large]: [&'static [u8]; 2]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buf = Vec::with_capacity(HEAD_MAX);
    loop {
        let head = loop {
            if let Some(at) = buf.windows(4).position(|end| end == b"\r\n\r\n") {
                break at + 4;
            }
            if buf.len() > HEAD_MAX || stream.read_buf(&mut buf).await? == 0 {
                return Ok(());
            }
        };
        let answer = if buf.starts_with(b"GET /10k ") { large } else { small };
        let mut left = (head + length(&buf[..head])).saturating_sub(buf.len());
        let used = buf.len().min(head + length(&buf[..head]));
        buf.drain(..used);
        while left > 0 {
            let count = stream.read_buf(&mut buf).await?;
            if count == 0 {
                return Ok(());
            }
            let body = left.min(buf.len());
            buf.drain(..body);
            left -= body;
        }
        stream.write_all(answer).await?;
    }
}

/// The request's announced length; none is zero.
fn length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let value = text.split("content-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}
