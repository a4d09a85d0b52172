//! Control planes and sidecars of the built binary, with files and ports of their own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use tempfile::TempDir;

use crate::app::TestApp;
use crate::http::{Answer, get, request};
use crate::poll::until;
use crate::process::Process;

/// Disks that one control plane may lose in a test.
const DISKS: u32 = 100;

/// Ports below those that the kernel gives to whoever asks for any (from 32,768 on): one of its own may be given to somebody else before the
/// process that is told it listens there.
const PORTS: Range<u32> = 10_000..32_000;
/// So many of them in a row are for one process of tests.
const OWN: u32 = 16;

/// A port on loopback that nobody listens on now.
pub fn free_port() -> SocketAddr {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let each = std::iter::repeat_with(|| {
        let at = process::id().wrapping_mul(OWN).wrapping_add(ASKED.fetch_add(1, Relaxed));
        (PORTS.start + at % PORTS.len() as u32) as u16
    });
    let free = |port| TcpListener::bind(("127.0.0.1", port)).ok()?.local_addr().ok();
    each.take(PORTS.len()).find_map(free).expect("a free port")
}

/// A directory, and the binary that is started in it.
#[derive(Debug)]
pub struct Fleet {
    binary: PathBuf,
    dir: TempDir,
}

impl Fleet {
    /// A fleet of `binary`, with nobody in it yet.
    pub fn new(binary: &str) -> Self {
        Self { binary: binary.into(), dir: tempfile::tempdir().unwrap() }
    }

    /// Where its files are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The binary, to be told what to be.
    pub fn outrigger(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.current_dir(self.dir()).env("XDG_RUNTIME_DIR", self.dir());
        command
    }

    /// Writes a file and says where.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    /// Starts a control plane.
    pub fn control_plane(&self) -> ControlPlane<'_> {
        self.control_plane_with("{}\n")
    }

    /// Starts a control plane whose file says `text`.
    pub fn control_plane_with(&self, text: &str) -> ControlPlane<'_> {
        self.file("control-plane.yaml", text);
        self.control_plane_again(0)
    }

    /// Starts a control plane from the file of the one that was started before; `number` tells their disks apart.
    pub fn control_plane_again(&self, number: u32) -> ControlPlane<'_> {
        let (listen, admin, disk) = (free_port(), free_port(), number * DISKS);
        let mut control = ControlPlane { fleet: self, listen, admin, disk, process: None };
        control.start();
        control
    }

    /// Starts a sidecar that stands before `app` and registers it as `service`.
    pub fn provider(
        &self,
        name: &str,
        service: &str,
        app: SocketAddr,
        control: &ControlPlane<'_>,
    ) -> Sidecar<'_> {
        let inbound = free_port();
        let own = format!(
            "outbound: {{ listen: \"off\" }}\napps:\n- {{ service: {service}, app: {app}, inbound: {inbound}, \
             allow_loopback: true, check: {{ http: /healthz }}, check_every: 200ms }}\n\
             control: {{ urls: [\"http://{}\"] }}\n",
            control.listen
        );
        self.sidecar(name, inbound, &own)
    }

    /// Starts a sidecar with an outbound port and a Unix socket, whose services the control plane knows.
    pub fn consumer(&self, name: &str, control: &ControlPlane<'_>) -> Sidecar<'_> {
        let entry = free_port();
        let own = format!(
            "outbound: {{ listen: {entry} }}\ncontrol: {{ urls: [\"http://{}\"] }}\n",
            control.listen
        );
        self.sidecar(name, entry, &own)
    }

    /// Starts a sidecar from `own` words; where it may be asked for is added. `entry` is its main way in.
    pub fn sidecar(&self, name: &str, entry: SocketAddr, own: &str) -> Sidecar<'_> {
        let admin = free_port();
        let state = self.dir().join(name);
        let text = format!(
            "node: {name}\nstate: {state:?}\nadmin: {{ listen: {admin}, unix: {name}.sock }}\ndrain: 10s\n{own}"
        );
        let file = self.file(&format!("{name}.yaml"), &text);
        let mut sidecar = Sidecar { fleet: self, name: name.to_owned(), entry, admin, file, process: None };
        sidecar.start();
        sidecar
    }
}

/// A control plane.
#[derive(Debug)]
pub struct ControlPlane<'f> {
    fleet: &'f Fleet,
    /// Where nodes connect.
    pub listen: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    disk: u32,
    process: Option<Process>,
}

impl ControlPlane<'_> {
    /// Starts it and waits until it is ready.
    pub fn start(&mut self) {
        let mut command = self.fleet.outrigger();
        let disk = self.fleet.dir().join(format!("control-plane-{}", self.disk));
        command.args([
            "control-plane",
            "--listen",
            &self.listen.to_string(),
            "--admin",
            &self.admin.to_string(),
        ]);
        command.arg("--data").arg(disk).args(["--config", "control-plane.yaml"]);
        self.process = Some(start_ready("control-plane", &mut command, self.fleet.dir(), self.listen));
    }

    /// Asks it to stop and waits until it has.
    pub fn stop(&mut self) {
        end(self.process.take());
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(process) = &mut self.process {
            process.kill();
        }
    }

    /// Replaces its disk by an empty one; takes effect when it is started.
    pub fn lose_disk(&mut self) {
        self.disk += 1;
    }

    /// Puts a policy document, as YAML, under its name in the default namespace.
    pub fn put_policy(&self, name: &str, yaml: &str) -> Answer {
        let path = format!("/v1/namespaces/default/policies/{name}");
        let fields = [("content-type", "application/yaml"), ("x-author", "a test"), ("x-message", "a test")];
        request(self.admin, "PUT", &path, &fields, yaml).unwrap()
    }

    /// Has the hosts of each service asked by turns. Of those that are asked one at a time the quickest serves all otherwise,
    /// and one whose first answer was late, as on a busy machine, is not asked again for a minute.
    pub fn has_turns_taken(&self) {
        let put = self.put_policy("turns", "kind: Policy\nname: turns\nbalance: { by: round-robin }\n");
        assert_eq!(put.status, 200, "{put:?}");
    }

    /// The instances of a service in the default namespace, as JSON.
    pub fn instances(&self, service: &str) -> Vec<serde_json::Value> {
        let path = format!("/v1/namespaces/default/services/{service}/instances");
        let answer = get(self.listen, "localhost", &path).ok().filter(|answer| answer.status == 200);
        let list = answer.and_then(|answer| serde_json::from_str::<serde_json::Value>(&answer.body).ok());
        list.and_then(|list| list["instances"].as_array().cloned()).unwrap_or_default()
    }

    /// Waits until a service has so many instances.
    pub fn lists(&self, service: &str, count: usize) {
        let what = format!("{count} instances of {service}");
        until(&what, || (self.instances(service).len() == count).then_some(()));
    }
}

/// A sidecar.
#[derive(Debug)]
pub struct Sidecar<'f> {
    fleet: &'f Fleet,
    name: String,
    /// Its main way in.
    pub entry: SocketAddr,
    /// Where it may be asked.
    pub admin: SocketAddr,
    file: PathBuf,
    process: Option<Process>,
}

impl Sidecar<'_> {
    /// Starts it and waits until it is ready.
    pub fn start(&mut self) {
        let mut command = self.fleet.outrigger();
        command.arg("sidecar").arg("--config").arg(&self.file);
        self.process = Some(start_ready(&self.name, &mut command, self.fleet.dir(), self.admin));
    }

    /// Where it takes orders.
    pub fn admin_socket(&self) -> PathBuf {
        self.fleet.dir().join(format!("{}.sock", self.name))
    }

    /// Asks it to stop, which drains it, and waits until it has.
    pub fn stop(&mut self) {
        end(self.process.take());
    }

    /// Its process while it runs.
    ///
    /// # Panics
    /// When it does not run.
    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a running sidecar")
    }

    /// `GET` of `path` of the service `host` through it.
    ///
    /// # Panics
    /// When no answer comes: a sidecar that runs always answers.
    pub fn get(&self, host: &str, path: &str) -> Answer {
        get(self.entry, host, path)
            .unwrap_or_else(|why| panic!("GET {path} of {host} through {}: {why}", self.name))
    }

    /// Asks until the service `host` answers well: a first call waits a second for its list, and a busy machine may take longer.
    pub fn serves(&self, host: &str) {
        until("an answer comes through", || (self.get(host, "/").status == 200).then_some(()));
    }

    /// Asks until each app of the service `host` has answered; no answer is a bad one.
    pub fn reaches(&self, host: &str, apps: &[&TestApp], when: &str) {
        let before: Vec<usize> = apps.iter().map(|app| app.began()).collect();
        until(&format!("{when}: each app answers"), || {
            let answer = self.get(host, "/");
            assert_eq!(answer.status, 200, "{when}: {answer:?}");
            apps.iter().zip(&before).all(|(app, before)| app.began() > *before).then_some(())
        });
    }
}

fn start_ready(name: &str, command: &mut Command, dir: &Path, admin: SocketAddr) -> Process {
    let mut process = Process::start(name, command, dir);
    until(&format!("{name} is ready"), || {
        let ended = process.ended();
        assert!(ended.is_none(), "{name} ended with {ended:?}");
        get(admin, "localhost", "/readyz").ok().filter(|answer| answer.status == 200)
    });
    process
}

fn end(process: Option<Process>) {
    let mut process = process.expect("a running process");
    process.terminate();
    process.wait();
}
