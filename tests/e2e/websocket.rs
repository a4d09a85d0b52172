//! WebSocket through two sidecars: Python's and Node's libraries, each as server and as client.

use std::net::SocketAddr;
use std::process::Command;

use outrigger_tests::{Fleet, Process, ended_well, free_port, get, node, python, until};

use crate::fleet;

/// Answers plain requests with 200, so that it can be checked, and sends each message back.
const PYTHON_SERVER: &str = r#"
import http, sys
from websockets.sync.server import serve

def plain(connection, request):
    if request.path == "/healthz":
        return connection.respond(http.HTTPStatus.OK, "ok\n")

def echo(connection):
    for message in connection:
        connection.send(message)

with serve(echo, "127.0.0.1", int(sys.argv[1]), process_request=plain, max_size=None) as server:
    server.serve_forever()
"#;

const PYTHON_CLIENT: &str = r#"
import sys
from websockets.sync.client import connect

with connect(sys.argv[1], max_size=None, proxy=None) as socket:
    for message in ["hello", "x" * 1_000_000, b"\x00\xff" * 1000]:
        socket.send(message)
        assert socket.recv() == message
print("echoed")
"#;

const NODE_SERVER: &str = r#"
const { WebSocketServer } = require('ws');
const http = require('http').createServer((request, response) => response.end('ok\n'));
new WebSocketServer({ server: http }).on('connection', (socket) => {
  socket.on('message', (message, binary) => socket.send(message, { binary }));
});
http.listen(Number(process.argv[2]), '127.0.0.1');
"#;

const NODE_CLIENT: &str = r#"
const { WebSocket } = require('ws');
const messages = ['hello', 'x'.repeat(1000000), 'bye'];
const socket = new WebSocket(process.argv[2]);
socket.on('open', () => socket.send(messages[0]));
socket.on('message', (message) => {
  if (message.toString() !== messages.shift()) process.exit(1);
  if (messages.length) return socket.send(messages[0]);
  console.log('echoed');
  socket.close();
});
"#;

fn serve(fleet: &Fleet, name: &str, command: &mut Command, at: SocketAddr) -> Process {
    let mut process = Process::start(name, command.arg(at.port().to_string()), fleet.dir());
    until(&format!("{name} answers"), || {
        assert!(process.ended().is_none(), "{name} ended: {}", process.log());
        get(at, "localhost", "/healthz").ok()
    });
    process
}

/// Both clients talk to the server at `at`, which a provider's sidecar registered.
fn both_clients_echo(fleet: &Fleet, at: SocketAddr) {
    let control = fleet.control_plane();
    let _provider = fleet.provider("provider", "chat", at, &control);
    let (entry, own) = (free_port(), free_port());
    let text = format!(
        "outbound: {{ listen: {entry} }}\nservices: {{ chat: {{ listen: {own} }} }}\ncontrol: {{ urls: [\"http://{}\"] }}\n",
        control.listen
    );
    let _consumer = fleet.sidecar("consumer", own, &text);
    control.lists("chat", 1);
    until("the service answers", || get(own, "chat", "/healthz").ok().filter(|answer| answer.status == 200));
    let (url, client) = (format!("ws://{own}/"), fleet.file("client.js", NODE_CLIENT));
    assert_eq!(ended_well(python().args(["-c", PYTHON_CLIENT, &url])), "echoed\n");
    assert_eq!(ended_well(node().arg(client).arg(&url)), "echoed\n");
}

#[test]
fn pythons_websockets_server_is_reached_by_both_clients() {
    let (fleet, at) = (fleet(), free_port());
    let script = fleet.file("server.py", PYTHON_SERVER);
    let _server = serve(&fleet, "websockets", python().arg(script), at);
    both_clients_echo(&fleet, at);
}

#[test]
fn nodes_ws_server_is_reached_by_both_clients() {
    let (fleet, at) = (fleet(), free_port());
    let script = fleet.file("server.js", NODE_SERVER);
    let _server = serve(&fleet, "ws", node().arg(script), at);
    both_clients_echo(&fleet, at);
}
