//! The control plane's disk fills up while it serves: reads and heartbeats go on, writes say why they are not kept, and
//! all is well again when there is room.
//!
//! The disk is a small one in memory, mounted where only the control plane sees it. Where this user may not mount one,
//! the same is shown with stores of the test's own in `control-plane/src/http/disk.rs`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use outrigger_tests::{Process, free_port, get, request, until};
use serde_json::Value;

/// Room for a store and a snapshot, and soon full.
const SIZE: &str = "size=1m";

/// A command that runs the rest of its words with a small disk at `at`, in a user's own view of the file system.
fn with_small_disk(at: &Path) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("mount -t tmpfs -o {SIZE} none {} && exec \"$@\"", at.display());
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", &script, "sh"]);
    command
}

/// Whether this user may mount a disk in a view of its own.
fn may_mount(at: &Path) -> bool {
    with_small_disk(at).arg("true").output().is_ok_and(|done| done.status.success())
}

/// The control plane and where it is asked.
struct Plane {
    process: Process,
    listen: SocketAddr,
    admin: SocketAddr,
    /// Its disk, seen from here.
    disk: PathBuf,
}

impl Plane {
    fn start(dir: &Path) -> Self {
        let (listen, admin, data) = (free_port(), free_port(), dir.join("data"));
        let mut command = with_small_disk(&data);
        command.arg(env!("CARGO_BIN_EXE_outrigger")).arg("control-plane");
        command.args(["--listen", &listen.to_string(), "--admin", &admin.to_string()]);
        command.arg("--data").arg(&data);
        let process = Process::start("control-plane", &mut command, dir);
        let disk = PathBuf::from(format!("/proc/{}/root{}", process.pid(), data.display()));
        let plane = Self { process, listen, admin, disk };
        until("the control plane is ready", || {
            get(plane.listen, "localhost", "/readyz").ok().filter(|answer| answer.status == 200)
        });
        plane
    }

    /// Puts a policy; its status, and what the answer says.
    fn put(&self, millis: u64) -> (u16, String) {
        let policy = format!("name: p\nmatch: {{ service: s }}\ntimeout: {{ total: {millis}ms }}\n");
        let path = "/v1/namespaces/default/policies/p";
        let answer = request(self.admin, "PUT", path, &[("content-type", "application/yaml")], &policy);
        answer.map(|answer| (answer.status, answer.body)).unwrap()
    }

    fn status(&self, method: &str, path: &str, body: &str) -> u16 {
        request(self.listen, method, path, &[], body).unwrap().status
    }
}

#[test]
fn a_full_disk_stops_writes_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    if !may_mount(&dir.path().join("data")) {
        return;
    }
    let plane = Plane::start(dir.path());
    assert_eq!(plane.put(100).0, 200);
    let open = r#"{"node":"n","boot":"b","epoch":1,"capabilities":[],"instances":[]}"#;
    let opened = request(plane.listen, "POST", "/v1/sessions", &[], open).unwrap();
    let opened: Value = serde_json::from_str(&opened.body).unwrap();
    let beat = format!("/v1/sessions/{}", opened["session"].as_str().unwrap());

    // The last byte is taken.
    let filler = plane.disk.join("filler");
    assert!(fs::write(&filler, vec![0; 2 << 20]).is_err(), "a disk of 1 MiB takes 2");
    // What the store had reserved takes some more writes.
    let full = until("a write is refused", || Some(plane.put(200)).filter(|(status, _)| *status != 200));
    assert_eq!(full.0, 507, "{}", full.1);
    assert!(full.1.contains("disk full"), "{}", full.1);
    for _ in 0..20 {
        assert_eq!(plane.put(300).0, 507);
        assert_eq!(plane.status("PUT", &beat, "{}"), 200, "heartbeats go on");
        assert_eq!(plane.status("GET", "/v1/namespaces/default/policies/p", ""), 200, "reads go on");
        assert_eq!(plane.status("GET", "/v1/namespaces/default/policies/p/history", ""), 200);
    }
    let failed = "outrigger_control_snapshot_failures_total";
    until("a snapshot is not saved, and that is counted", || {
        // Something changes, so that there is something to save.
        request(plane.listen, "POST", "/v1/sessions", &[], &open.replace(":1", ":2")).ok()?;
        let metrics = get(plane.listen, "localhost", "/metrics").ok()?;
        let line = metrics.body.lines().find(|line| line.starts_with(failed))?;
        (!line.ends_with(" 0")).then_some(())
    });

    fs::remove_file(&filler).unwrap();
    assert!(!plane.disk.join("registry.new").exists(), "what was not saved takes no room");
    assert_eq!(plane.put(400).0, 200, "there is room again");
    let kept = get(plane.listen, "localhost", "/v1/namespaces/default/policies/p").unwrap();
    assert!(kept.body.contains("400ms"), "{}", kept.body);
    drop(plane.process);
}
