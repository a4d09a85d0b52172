//! Whether the local app is well: one check, and what a row of them means.
//!
//! A check opens its own connection each time, as a caller would. It never judges more than this one app and
//! never ejects anybody: that is traffic's business.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use api::Readiness;
use api::config::Check;
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

/// So many good checks in a row make an unready app ready: one may be a lull in its trouble.
const RISE: u32 = 2;
/// So many bad ones in a row make a ready app unready: one may be a pause, two a long one.
const FALL: u32 = 3;

/// Why a check failed.
#[derive(Debug, Error)]
pub(crate) enum Unwell {
    /// The port takes no connection.
    #[error("{app} takes no connection: {why}")]
    Closed { app: SocketAddr, why: io::Error },
    /// The port is open and the answer never came whole.
    #[error("GET {path}: {why}")]
    Broken { path: String, why: hyper::Error },
    /// It answered, and not well.
    #[error("GET {path} answered {status}")]
    Status { path: String, status: u16 },
    /// The request cannot be written.
    #[error("{path:?} cannot be asked for: {why}")]
    Path { path: String, why: hyper::http::Error },
    /// It took too long.
    #[error("the check of {app} took over {within:?}")]
    Late { app: SocketAddr, within: std::time::Duration },
    /// The gRPC service does not say that it serves.
    #[error("grpc.health.v1.Health/Check: {why}")]
    Grpc { why: String },
    /// The command failed.
    #[error("{command}: {why}")]
    Command { command: String, why: String },
    /// Nobody runs under the id in the file.
    #[error("process file {file}: {why}")]
    NoProcess { file: String, why: String },
}

/// Checks `app` once. The caller bounds the time.
///
/// # Errors
/// What is wrong with it.
pub(crate) async fn check(how: &Check, app: SocketAddr) -> Result<(), Unwell> {
    if let Check::Process(file) = how {
        running(file).map_err(|why| Unwell::NoProcess { file: file.display().to_string(), why })?;
    }
    if let Check::Exec(command) = how {
        return exec(command).await;
    }
    let stream = TcpStream::connect(app).await.map_err(|why| Unwell::Closed { app, why })?;
    match how {
        Check::Http(path) => get(stream, app, path).await,
        Check::Grpc => grpc(stream, app).await,
        Check::Tcp | Check::Process(_) | Check::Exec(_) => Ok(()),
    }
}

/// Runs the command; one that is given up in the middle is killed.
async fn exec(command: &[String]) -> Result<(), Unwell> {
    let failed = |why: String| Unwell::Command { command: command.join(" "), why };
    let [program, arguments @ ..] = command else { return Err(failed("no command".into())) };
    let mut child = tokio::process::Command::new(program);
    child.args(arguments).kill_on_drop(true);
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = child.status().await.map_err(|why| failed(why.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// An empty `HealthCheckRequest`: the server as a whole (gRPC Health Checking Protocol), behind its length.
const ASKED: &[u8] = &[0, 0, 0, 0, 0];
/// A `HealthCheckResponse` whose status is SERVING, behind its length.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];

async fn grpc(stream: TcpStream, app: SocketAddr) -> Result<(), Unwell> {
    let failed = |why: &dyn std::fmt::Display| Unwell::Grpc { why: why.to_string() };
    let (sender, connection) = h2::client::handshake(stream).await.map_err(|why| failed(&why))?;
    let _driver = Driver(tokio::task::spawn(async { drop(connection.await) }).abort_handle());
    let mut sender = sender.ready().await.map_err(|why| failed(&why))?;
    let request = hyper::Request::post(format!("http://{app}/grpc.health.v1.Health/Check"))
        .header(hyper::header::CONTENT_TYPE, "application/grpc")
        .header(hyper::header::TE, "trailers")
        .header(hyper::header::USER_AGENT, "outrigger-check")
        .body(())
        .map_err(|why| failed(&why))?;
    let (answer, mut body) = sender.send_request(request, false).map_err(|why| failed(&why))?;
    body.send_data(Bytes::from_static(ASKED), true).map_err(|why| failed(&why))?;
    let mut answer = answer.await.map_err(|why| failed(&why))?;
    let mut said = Vec::new();
    while let Some(piece) = answer.body_mut().data().await {
        said.extend_from_slice(&piece.map_err(|why| failed(&why))?);
        if said.len() > SERVING.len() {
            break;
        }
    }
    if said == SERVING { Ok(()) } else { Err(failed(&"it does not say SERVING")) }
}

/// The process whose id is in `file` exists and is no zombie.
fn running(file: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let id: u32 = text.trim().parse().map_err(|_| format!("{:?} is no process id", text.trim()))?;
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat"));
    let stat = stat.map_err(|_| format!("no process {id} runs"))?;
    // The state follows the command's name, which is in parentheses and may hold any character.
    match stat.rsplit_once(')').map(|(_, rest)| rest.trim_start().starts_with(['Z', 'X'])) {
        Some(false) => Ok(()),
        _ => Err(format!("process {id} has ended")),
    }
}

async fn get(stream: TcpStream, app: SocketAddr, path: &str) -> Result<(), Unwell> {
    let broken = |why| Unwell::Broken { path: path.to_owned(), why };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with this check, also when the check is given up in the middle.
    let _driver = Driver(tokio::task::spawn(connection).abort_handle());
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, app.to_string())
        .header(hyper::header::USER_AGENT, "outrigger-check")
        .header(hyper::header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|why| Unwell::Path { path: path.to_owned(), why })?;
    let status = sender.send_request(request).await.map_err(broken)?.status().as_u16();
    if (200..400).contains(&status) { Ok(()) } else { Err(Unwell::Status { path: path.to_owned(), status }) }
}

struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a row of checks means for an app that is registered.
#[derive(Debug, Default)]
pub(crate) struct Row {
    readiness: Readiness,
    /// Checks in a row that spoke against it.
    against: u32,
}

impl Row {
    /// A check ended; returns what the app is from now on, when that changed.
    pub(crate) fn tell(&mut self, well: bool) -> Option<Readiness> {
        let (speaks_for, other, enough) = match self.readiness {
            Readiness::Ready => (well, Readiness::Unready, FALL),
            Readiness::Unready | Readiness::Draining => (!well, Readiness::Ready, RISE),
        };
        self.against = if speaks_for { 0 } else { self.against + 1 };
        if self.against < enough {
            return None;
        }
        (self.readiness, self.against) = (other, 0);
        Some(other)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// What a row of checks (`+` good, `-` bad) makes of a ready app: `U` unready, `R` ready, `.` no change.
    fn row(checks: &str) -> String {
        let mut row = Row::default();
        let word = |change| match change {
            Some(Readiness::Ready) => 'R',
            Some(_) => 'U',
            None => '.',
        };
        checks.chars().map(|check| word(row.tell(check == '+'))).collect()
    }

    #[test]
    fn three_bad_checks_make_it_unready_and_two_good_ones_ready() {
        for (checks, wanted) in
            [("+--+--", "......"), ("---", "..U"), ("---+-++", "..U...R"), ("---++--+", "..U.R...")]
        {
            assert_eq!(row(checks), wanted, "{checks}");
        }
    }

    async fn app_that_answers(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let read = stream.read(&mut request).await.unwrap_or(0);
                if read > 0 {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            }
        });
        address
    }

    async fn told(how: Check, app: SocketAddr) -> String {
        check(&how, app).await.map_or_else(|why| why.to_string(), |()| "well".into())
    }

    #[tokio::test]
    async fn an_app_is_asked_the_way_its_file_says() {
        let http = |path: &str| Check::Http(path.into());
        let good = app_that_answers("HTTP/1.1 204 No Content\r\n\r\n").await;
        let ill = app_that_answers("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").await;
        assert_eq!(told(http("/healthz"), good).await, "well");
        assert_eq!(told(Check::Tcp, ill).await, "well");
        assert_eq!(told(http("/healthz"), ill).await, "GET /healthz answered 503");
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert!(told(Check::Tcp, closed).await.contains("takes no connection"));
    }

    #[tokio::test]
    async fn a_command_says_by_its_status_how_the_app_is() {
        let exec = |words: &[&str]| Check::Exec(words.iter().map(|word| (*word).to_owned()).collect());
        let app = "127.0.0.1:1".parse().unwrap();
        assert_eq!(told(exec(&["true"]), app).await, "well");
        assert!(told(exec(&["sh", "-c", "exit 3"]), app).await.contains("exit status: 3"));
        assert!(told(exec(&["/no/such/command"]), app).await.contains("No such file"));
    }

    /// A gRPC server that answers every call with this message.
    async fn server_that_says(message: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((asked, mut respond))) = connection.accept().await {
                        assert_eq!(asked.uri().path(), "/grpc.health.v1.Health/Check");
                        let mut body = respond.send_response(hyper::Response::new(()), false).unwrap();
                        body.send_data(Bytes::from_static(message), true).unwrap();
                    }
                });
            }
        });
        address
    }

    #[tokio::test]
    async fn a_grpc_server_says_whether_it_serves() {
        assert_eq!(told(Check::Grpc, server_that_says(SERVING).await).await, "well");
        let not_serving = server_that_says(&[0, 0, 0, 0, 2, 8, 2]).await;
        assert!(told(Check::Grpc, not_serving).await.contains("does not say SERVING"));
    }

    #[tokio::test]
    async fn a_process_must_run_and_its_port_be_open() {
        let app = app_that_answers("").await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("app.pid");
        let how = || Check::Process(file.clone());
        assert!(told(how(), app).await.contains("No such file"));
        std::fs::write(&file, "4194304999\n").unwrap();
        assert!(
            told(how(), app).await.contains("no process id") || told(how(), app).await.contains("no process")
        );
        std::fs::write(&file, format!("{}\n", std::process::id())).unwrap();
        assert_eq!(told(how(), app).await, "well");
    }
}
