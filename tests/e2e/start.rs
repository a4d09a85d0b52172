//! What is wrong is told at once and whole, and nothing is started.

use std::net::TcpListener;
use std::process::Output;

use outrigger_tests::{Fleet, free_port};

use crate::fleet;

/// `EX_CONFIG` of sysexits.h.
const BAD_CONFIG: i32 = 78;

fn run(fleet: &Fleet, args: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = fleet.outrigger().args(args).output().unwrap();
    let told = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (status.code(), told)
}

#[test]
fn a_wrong_sidecar_file_tells_every_mistake_with_its_place() {
    let fleet = fleet();
    let text =
        "nod: web-1\nthreads: many\noutbound: { listen: 127.0.0.1:7410, listen: 127.0.0.1:7412 }\ndrain: 5\n";
    fleet.file("sidecar.yaml", text);
    let (exit, told) = run(&fleet, &["sidecar", "--config", "sidecar.yaml"]);
    assert_eq!(exit, Some(BAD_CONFIG), "{told}");
    let places = ["sidecar.yaml:1:", "sidecar.yaml:2:", "sidecar.yaml:3:", "sidecar.yaml:4:"];
    for wanted in places.into_iter().chain(["\"nod\"", "node", "^^^"]) {
        assert!(told.contains(wanted), "{wanted:?} is missing from:\n{told}");
    }
}

#[test]
fn a_wrong_control_plane_file_is_refused_in_the_same_way() {
    let fleet = fleet();
    fleet.file("control-plane.yaml", "lisen: 127.0.0.1:1\nlease: { expiry: soon }\n");
    let (exit, told) = run(&fleet, &["control-plane", "--config", "control-plane.yaml"]);
    assert_eq!(exit, Some(BAD_CONFIG), "{told}");
    for wanted in ["control-plane.yaml:1:1", "listen", "control-plane.yaml:2:", "soon"] {
        assert!(told.contains(wanted), "{wanted:?} is missing from:\n{told}");
    }
}

#[test]
fn a_missing_file_is_no_default() {
    let fleet = fleet();
    for verb in ["sidecar", "control-plane"] {
        let (exit, told) = run(&fleet, &[verb, "--config", "nowhere.yaml"]);
        assert_eq!(exit, Some(BAD_CONFIG), "{verb}: {told}");
        assert!(told.contains("nowhere.yaml"), "{verb}: {told}");
    }
}

#[test]
fn a_port_in_use_is_told_with_who_holds_it() {
    let fleet = fleet();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let (taken, pid) = (holder.local_addr().unwrap().to_string(), std::process::id().to_string());
    let admin = free_port().to_string();
    let data = fleet.dir().join("data").display().to_string();
    let control_plane = ["control-plane", "--listen", &taken, "--admin", &admin, "--data", &data];
    let sidecar = ["sidecar", "--listen", &taken, "--to", "127.0.0.1:1", "--admin", &admin];
    for args in [&control_plane[..], &sidecar[..]] {
        let (exit, told) = run(&fleet, args);
        assert!(exit.is_some_and(|exit| exit != 0), "{told}");
        assert!(
            told.contains(&taken) && told.contains(&pid),
            "neither {taken} nor process {pid} in:\n{told}"
        );
    }
}
