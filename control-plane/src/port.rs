//! Who holds a port: the second half of every good "address in use".
//!
//! Reads `/proc` only (proc(5)); on a system without it, or for a process of somebody else, the answer is
//! less exact and says so by being `None`. Never opens, closes or signals anything.

use std::fmt;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its command's name, at most 15 bytes long (`/proc/PID/comm`).
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.pid, self.name)
    }
}

/// The process that listens on the TCP port of `address`, when this user may know.
pub fn holder(address: SocketAddr) -> Option<Holder> {
    let sockets =
        ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().filter_map(|table| fs::read_to_string(table).ok());
    let inodes: Vec<u64> = sockets.flat_map(|table| listening(&table, address.port())).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let process = Path::new("/proc").join(pid.to_string());
        holds(&process, &inodes).then(|| Holder {
            pid,
            name: fs::read_to_string(process.join("comm")).unwrap_or_default().trim().to_owned(),
        })
    })
}

/// What to tell an operator when `address`, wanted by `key` of the configuration, cannot be opened.
pub fn explain(key: &str, address: SocketAddr, why: &io::Error) -> String {
    let cause = match (why.kind(), holder(address)) {
        (io::ErrorKind::AddrInUse, Some(holder)) => format!("{holder} listens there already"),
        (io::ErrorKind::AddrInUse, None) => {
            "another process listens there already (of another user: try as root to learn which)".to_owned()
        }
        (io::ErrorKind::AddrNotAvailable, _) => "no interface of this host has that address".to_owned(),
        (io::ErrorKind::PermissionDenied, _) => "this user may not open that port".to_owned(),
        _ => why.to_string(),
    };
    format!("cannot listen on {address} ({key}): {cause}")
}

/// The inodes of sockets that listen on `port` in a table of `/proc/net/tcp`'s form: the second word is the
/// local address in hex, the fourth the state, the tenth the inode.
fn listening(table: &str, port: u16) -> Vec<u64> {
    /// `TCP_LISTEN` of the kernel's `tcp_states.h`.
    const LISTEN: &str = "0A";
    let row = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let (_, local) = words.get(1)?.rsplit_once(':')?;
        let ours = u16::from_str_radix(local, 16).ok()? == port && *words.get(3)? == LISTEN;
        if ours { words.get(9)?.parse().ok() } else { None }
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// Whether one of the files that `process` has open is one of the sockets.
fn holds(process: &Path, inodes: &[u64]) -> bool {
    let Ok(open) = fs::read_dir(process.join("fd")) else { return false };
    open.flatten().filter_map(|file| fs::read_link(file.path()).ok()).any(|target| {
        let name = target.to_string_lossy();
        let inode = name.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.and_then(|inode| inode.parse().ok()).is_some_and(|inode: u64| inodes.contains(&inode))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_holder_of_a_port_is_named() {
        let held = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = held.local_addr().unwrap();
        let why = TcpListener::bind(address).unwrap_err();
        assert_eq!(holder(address).unwrap().pid, std::process::id());
        let told = explain("listen", address, &why);
        assert!(told.contains(&format!("process {}", std::process::id())), "{told}");
    }

    #[test]
    fn only_listeners_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1CE8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 71\n   \
                     1: 0100007F:1CE8 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 72\n";
        assert_eq!(listening(table, 7400), [71]);
        assert!(listening(table, 7401).is_empty());
    }
}
