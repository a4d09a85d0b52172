//! Long connections of several workers: a fair share for each.

use std::net::{SocketAddr, TcpStream};

use outrigger_tests::{TestApp, free_port, get, until};

use crate::fleet;

const WORKERS: usize = 4;

/// How many connections each worker has.
fn by_worker(admin: SocketAddr) -> Vec<usize> {
    let metrics = get(admin, "localhost", "/metrics").unwrap().body;
    let of =
        |line: &str| line.strip_prefix("outrigger_worker_connections{")?.split_once("} ")?.1.parse().ok();
    metrics.lines().filter_map(of).collect()
}

#[test]
fn connections_that_stay_are_spread_over_all_workers() {
    let (fleet, app, entry) = (fleet(), TestApp::named("app"), free_port());
    let own = format!(
        "threads: {WORKERS}\noutbound: {{ listen: {entry} }}\nservices: {{ app: {{ endpoints: [{}] }} }}\n",
        app.address
    );
    let sidecar = fleet.sidecar("wide", entry, &own);
    let mut open: Vec<TcpStream> = Vec::new();
    for wanted in [4, 16, 64] {
        // One after the other, so that whoever is quickest could have them all.
        while open.len() < wanted {
            open.push(TcpStream::connect(entry).unwrap());
            let count = open.len();
            until("it is accepted", || {
                (by_worker(sidecar.admin).iter().sum::<usize>() >= count).then_some(())
            });
        }
        let each = by_worker(sidecar.admin);
        let (least, most) = (each.iter().min().unwrap(), each.iter().max().unwrap());
        assert!(most - least <= 2 + least / 8, "{each:?}");
    }
    // Everybody who leaves makes room; those who come are served.
    open.truncate(8);
    for _ in 0..20 {
        assert_eq!(get(entry, "app", "/").unwrap().body, "app");
    }
}
