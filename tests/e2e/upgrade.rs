//! One process takes over from another, and nobody notices.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use outrigger_tests::{ControlPlane, Fleet, Process, Sidecar, TestApp, Told, free_port, get, until};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};

use crate::fleet;

/// Upgrades of each sidecar.
const UPGRADES: usize = 3;

/// A process that another of ours started. Ended with the test.
struct Successor(Pid);

impl Drop for Successor {
    fn drop(&mut self) {
        // It may have ended by itself.
        _ = kill_process(self.0, Signal::KILL);
    }
}

/// Says on drop that it is over.
struct End<'o>(&'o AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn upgrade(fleet: &Fleet, sidecar: &Sidecar<'_>) -> Successor {
    let admin = format!("unix:{}", sidecar.admin_socket().display());
    let done = fleet.outrigger().args(["upgrade", "--admin", &admin]).output().unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{told}{}", String::from_utf8_lossy(&done.stderr));
    let pid = told.split(' ').nth(1).and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
    Successor(pid.unwrap_or_else(|| panic!("no process in {told:?}")))
}

/// Requests one after the other on a connection for as long as the other side keeps it. Returns how many were answered.
fn keep_asking(to: SocketAddr, over: &AtomicBool) -> usize {
    let mut answered = 0;
    while !over.load(Relaxed) {
        let mut stream = BufReader::new(TcpStream::connect(to).unwrap());
        let mut last = false;
        while !last && !over.load(Relaxed) {
            stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: app\r\n\r\n").unwrap();
            let (mut line, mut head) = (String::new(), String::new());
            while stream.read_line(&mut line).unwrap() > 2 {
                head.push_str(&std::mem::take(&mut line));
            }
            assert!(head.starts_with("HTTP/1.1 200"), "{head:?} after {answered}");
            let mut body = [0; 3];
            stream.read_exact(&mut body).unwrap();
            assert_eq!(&body, b"app");
            last = head.contains("connection: close");
            answered += 1;
        }
    }
    answered
}

/// Requests, each on a connection of its own.
fn ask_anew(to: SocketAddr, over: &AtomicBool) -> usize {
    let mut answered = 0;
    while !over.load(Relaxed) {
        assert_eq!(get(to, "app", "/").unwrap().status, 200);
        answered += 1;
    }
    answered
}

fn stays_listed(control: &ControlPlane<'_>, over: &AtomicBool) {
    while !over.load(Relaxed) {
        assert_eq!(control.instances("app").len(), 1);
    }
}

#[test]
fn upgrades_refuse_nothing_and_leave_what_is_in_flight_where_it_is() {
    let fleet = fleet();
    let control = fleet.control_plane();
    let began = AtomicUsize::new(0);
    let app = TestApp::start(|asked| match asked.target.as_str() {
        "/slow" => Told::ok("slow").after(Duration::from_secs(2)),
        _ => Told::ok("app"),
    });
    let mut provider = fleet.provider("provider", "app", app.address, &control);
    let mut consumer = fleet.consumer("consumer", &control);
    control.lists("app", 1);
    let entry = consumer.entry;
    consumer.serves("app");

    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = [
            scope.spawn(|| keep_asking(entry, &over)),
            scope.spawn(|| keep_asking(entry, &over)),
            scope.spawn(|| ask_anew(entry, &over)),
        ];
        scope.spawn(|| stays_listed(&control, &over));
        let slow = scope.spawn(|| {
            began.fetch_add(1, Relaxed);
            get(entry, "app", "/slow").unwrap()
        });
        until("it is in flight", || (began.load(Relaxed) == 1).then_some(()));
        // Also where something fails here: nobody would tell those who ask.
        let _end = End(&over);
        let mut successors = Vec::new();
        for _ in 0..UPGRADES {
            successors.push(upgrade(&fleet, &consumer));
            successors.push(upgrade(&fleet, &provider));
        }
        assert_eq!(slow.join().unwrap().body, "slow");
        over.store(true, Relaxed);
        for asking in asking {
            assert!(asking.join().unwrap() > 0);
        }
        for first in [&mut consumer, &mut provider] {
            let status = first.process().wait();
            assert!(status.success(), "it ended with {status}");
        }
        until("the last ones serve", || (get(entry, "app", "/").ok()?.status == 200).then_some(()));
        assert_eq!(control.instances("app").len(), 1);
    });
}

#[test]
fn a_program_that_cannot_start_replaces_nobody() {
    let fleet = fleet();
    let app = TestApp::named("app");
    let entry = free_port();
    let own = format!(
        "services: {{ app: {{ listen: {entry}, endpoints: [{}] }} }}\noutbound: {{ listen: \"off\" }}\n",
        app.address
    );
    let sidecar = fleet.sidecar("alone", entry, &own);
    fleet.file("alone.yaml", "threads: many\n");
    let admin = format!("unix:{}", sidecar.admin_socket().display());
    let refused = fleet.outrigger().args(["upgrade", "--admin", &admin]).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(69), "{told}");
    assert!(told.contains("exit status: 78"), "{told}");
    assert_eq!(sidecar.get("app", "/").body, "app");
}

#[test]
fn a_listener_that_a_service_manager_opened_is_adopted_with_who_waits_in_it() {
    let fleet = fleet();
    let app = TestApp::named("app");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let entry = listener.local_addr().unwrap();
    let waiting = thread::spawn(move || get(entry, "app", "/").unwrap());
    fcntl_setfd(&listener, FdFlags::empty()).unwrap();
    let script = "exec 3<&\"$1\"; shift; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=upstream exec \"$@\"";
    let mut command = std::process::Command::new("bash");
    command.args(["-c", script, "bash", &listener.as_raw_fd().to_string(), env!("CARGO_BIN_EXE_outrigger")]);
    command.args(["sidecar", "--listen", &entry.to_string(), "--to", &app.address.to_string()]);
    let _sidecar = Process::start("activated", &mut command, fleet.dir());
    assert_eq!(waiting.join().unwrap().body, "app");
}
