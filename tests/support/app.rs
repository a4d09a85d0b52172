//! An app whose behaviour a test chooses, on a port of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

/// What it was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// The target as it arrived.
    pub target: String,
    /// Fields, names in lower case.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

/// What it answers.
#[derive(Clone, Debug)]
pub struct Told {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: String,
    /// How long it takes before it answers.
    pub after: Duration,
}

impl Told {
    /// 200 with this body, at once.
    pub fn ok(body: impl Into<String>) -> Self {
        Self { status: 200, body: body.into(), after: Duration::ZERO }
    }

    /// The same, later.
    #[must_use]
    pub fn after(self, after: Duration) -> Self {
        Self { after, ..self }
    }
}

/// A running app. It ends with the test's process; its port stays open until then.
#[derive(Clone, Debug)]
pub struct TestApp {
    /// Where it listens.
    pub address: SocketAddr,
    began: Arc<AtomicUsize>,
}

impl TestApp {
    /// An app that says its name.
    pub fn named(name: &'static str) -> Self {
        Self::start(move |_| Told::ok(name))
    }

    /// An app that answers what `answer` says; `GET /healthz` is always 200.
    pub fn start(answer: impl Fn(&Asked) -> Told + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let app = Self { address: listener.local_addr().unwrap(), began: Arc::default() };
        let (answer, began) = (Arc::new(answer), Arc::clone(&app.began));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, began) = (Arc::clone(&answer), Arc::clone(&began));
                // A caller that leaves in the middle ends its own connection only.
                thread::spawn(move || drop(converse(stream, &*answer, &began)));
            }
        });
        app
    }

    /// How many requests it began to serve, health checks apart.
    pub fn began(&self) -> usize {
        self.began.load(Ordering::SeqCst)
    }
}

fn converse(stream: TcpStream, answer: &dyn Fn(&Asked) -> Told, began: &AtomicUsize) -> io::Result<()> {
    let mut write = stream.try_clone()?;
    let mut read = BufReader::new(stream);
    while let Some(asked) = read_request(&mut read)? {
        let told = if asked.target == "/healthz" {
            Told::ok("ok")
        } else {
            began.fetch_add(1, Ordering::SeqCst);
            answer(&asked)
        };
        thread::park_timeout(told.after);
        let head = format!("HTTP/1.1 {} x\r\ncontent-length: {}\r\n\r\n", told.status, told.body.len());
        write.write_all(format!("{head}{}", told.body).as_bytes())?;
    }
    Ok(())
}

fn read_request(read: &mut impl BufRead) -> io::Result<Option<Asked>> {
    let mut line = String::new();
    if read.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut fields = Vec::new();
    loop {
        let mut line = String::new();
        read.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = fields.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0)];
    read.read_exact(&mut body)?;
    Ok(Some(Asked { method, target, fields, body: String::from_utf8_lossy(&body).into_owned() }))
}
