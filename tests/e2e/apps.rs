//! Real servers behind a sidecar: Python's, Node's and nginx, each found by registration.

use std::net::SocketAddr;
use std::process::Command;

use outrigger_tests::{Fleet, Process, free_port, get, nginx, node, python, until};

use crate::fleet;

const NODE_SERVER: &str = "
const [port] = process.argv.slice(2);
require('http').createServer((request, response) => {
  if (request.method !== 'POST') return response.end('node says ' + request.url);
  let length = 0;
  request.on('data', (part) => { length += part.length; });
  request.on('end', () => response.end('node read ' + length));
}).listen(Number(port), '127.0.0.1');
";

/// Starts a server in `fleet`'s directory and waits until it takes connections.
fn start(fleet: &Fleet, name: &str, command: &mut Command, at: SocketAddr) -> Process {
    let mut process = Process::start(name, command.current_dir(fleet.dir()), fleet.dir());
    until(&format!("{name} answers"), || {
        assert!(process.ended().is_none(), "{name} ended: {}", process.log());
        get(at, "localhost", "/healthz").ok()
    });
    process
}

/// The server at `at` is checked, registered and called through two sidecars, small and large.
fn check(fleet: &Fleet, at: SocketAddr, small: &str, large: (&str, usize)) {
    let control = fleet.control_plane();
    let _provider = fleet.provider("provider", "app", at, &control);
    let consumer = fleet.consumer("consumer", &control);
    control.lists("app", 1);
    for _ in 0..20 {
        let answer = consumer.get("app", "/healthz");
        assert_eq!((answer.status, answer.body.trim()), (200, small), "{answer:?}");
    }
    let (path, length) = large;
    let answer = consumer.get("app", path);
    assert_eq!((answer.status, answer.body.len()), (200, length));
}

#[test]
fn pythons_server_stands_behind_a_sidecar() {
    let (fleet, at) = (fleet(), free_port());
    fleet.file("healthz", "python is well");
    fleet.file("large.txt", &"x".repeat(1 << 20));
    let mut command = python();
    command.args(["-m", "http.server", &at.port().to_string(), "--bind", "127.0.0.1"]);
    let _server = start(&fleet, "python", &mut command, at);
    check(&fleet, at, "python is well", ("/large.txt", 1 << 20));
}

#[test]
fn nodes_server_stands_behind_a_sidecar() {
    let (fleet, at) = (fleet(), free_port());
    let script = fleet.file("server.js", NODE_SERVER);
    let _server = start(&fleet, "node", node().arg(script).arg(at.port().to_string()), at);
    let path = format!("/{}", "p".repeat(4000));
    check(&fleet, at, "node says /healthz", (&path, "node says ".len() + path.len()));
}

#[test]
fn nginx_stands_behind_a_sidecar() {
    let (fleet, at) = (fleet(), free_port());
    fleet.file("large.txt", &"x".repeat(1 << 20));
    let dir = fleet.dir().display();
    // In the foreground, without the paths that need root; a root master would drop to a user who cannot read here.
    let worker = if is_root() { "user root;" } else { "" };
    let config = format!(
        "{worker} daemon off; pid {dir}/nginx.pid; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;\n\
         uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;\n\
         server {{ listen {at}; root {dir}; location = /healthz {{ return 200 'nginx is well'; }} }} }}\n"
    );
    let file = fleet.file("nginx.conf", &config);
    let mut command = nginx();
    command.arg("-p").arg(fleet.dir()).arg("-e").arg("stderr").arg("-c").arg(file);
    let _server = start(&fleet, "nginx", &mut command, at);
    check(&fleet, at, "nginx is well", ("/large.txt", 1 << 20));
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}
