//! WebSocket over HTTP/2 (RFC 8441) by Node's own HTTP/2 and the library `ws`: as client, as server, and across wires.

use std::net::SocketAddr;
use std::process::Command;

use outrigger_tests::{Fleet, Process, Sidecar, ended_well, free_port, get, node, python, until};

use crate::fleet;

/// Opens a WebSocket by an extended CONNECT, sends messages and waits for each echo. Refused, it says how.
const CLIENT: &str = r#"
const { WebSocket } = require('ws');
const session = require('http2').connect(process.argv[2]);
const messages = ['hello', 'x'.repeat(1000000), 'bye'];
session.on('remoteSettings', (settings) => {
  if (!settings.enableConnectProtocol) process.exit(2);
  const stream = session.request({
    ':method': 'CONNECT', ':protocol': process.argv[3], ':scheme': 'http', ':authority': 'chat', ':path': '/room?a',
    'sec-websocket-version': '13', 'x-own': 'mine',
  });
  stream.on('response', (answer) => {
    if (answer[':status'] !== 200) {
      console.log(answer[':status'], answer['x-outrigger-reason']);
      return session.destroy();
    }
    if (answer['sec-websocket-accept']) process.exit(3);
    const socket = new WebSocket(null, undefined, {});
    socket._isServer = false;
    socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 0, allowSynchronousEvents: true });
    socket.send(messages[0]);
    socket.on('message', (message) => {
      if (message.toString() !== messages.shift()) process.exit(1);
      if (messages.length) return socket.send(messages[0]);
      console.log('echoed');
      socket.close();
    });
    socket.on('close', () => session.close());
  });
});
"#;

/// A WebSocket server on HTTP/2 that sends each message back; with `plain` it takes no extended CONNECT.
const SERVER: &str = r#"
const { WebSocket } = require('ws');
const enableConnectProtocol = process.argv[3] !== 'plain';
const server = require('http2').createServer({ settings: { enableConnectProtocol } });
server.on('stream', (stream, asked) => {
  if (asked[':method'] !== 'CONNECT') {
    stream.respond({ ':status': 200 });
    return stream.end('ok\n');
  }
  const strange = asked['sec-websocket-key'] || asked.upgrade || asked[':path'] !== '/room?a' || !asked['x-own'];
  if (asked[':protocol'] !== 'websocket' || strange) return stream.close(1);
  stream.respond({ ':status': 200 });
  const socket = new WebSocket(null, undefined, {});
  socket.setSocket(stream, Buffer.alloc(0), { maxPayload: 0, allowSynchronousEvents: true });
  socket.on('message', (message, binary) => socket.send(message, { binary }));
});
server.listen(Number(process.argv[2]), '127.0.0.1');
"#;

/// The same on HTTP/1.1.
const OLD_SERVER: &str = r#"
const { WebSocketServer } = require('ws');
const http = require('http').createServer((request, response) => response.end('ok\n'));
new WebSocketServer({ server: http }).on('connection', (socket, asked) => {
  if (asked.url !== '/room?a' || asked.headers['x-own'] !== 'mine') return socket.terminate();
  socket.on('message', (message, binary) => socket.send(message, { binary }));
});
http.listen(Number(process.argv[2]), '127.0.0.1');
"#;

const OLD_CLIENT: &str = r#"
import sys
from websockets.sync.client import connect

with connect(sys.argv[1], max_size=None, proxy=None, additional_headers={"x-own": "mine"}) as socket:
    for message in ["hello", "x" * 1_000_000, b"\x00\xff" * 1000]:
        socket.send(message)
        assert socket.recv() == message
print("echoed")
"#;

fn serve(fleet: &Fleet, script: &str, args: &[&str]) -> (Process, SocketAddr) {
    let at = free_port();
    let script = fleet.file("server.js", script);
    let mut command = node();
    let mut process =
        Process::start("ws", command.arg(script).arg(at.port().to_string()).args(args), fleet.dir());
    until("the server listens", || {
        assert!(process.ended().is_none(), "the server ended: {}", process.log());
        std::net::TcpStream::connect(at).ok()
    });
    (process, at)
}

fn hop<'f>(fleet: &'f Fleet, name: &str, protocol: &str, to: SocketAddr) -> Sidecar<'f> {
    let at = free_port();
    let own = format!(
        "outbound: {{ listen: \"off\" }}\nservices: {{ chat: {{ listen: {at}, protocol: {protocol}, endpoints: [{to}] }} }}\n"
    );
    fleet.sidecar(name, at, &own)
}

/// What the client on HTTP/2 says of a WebSocket at `at`.
fn said(fleet: &Fleet, at: SocketAddr, protocol: &str) -> String {
    let client = fleet.file("client.js", CLIENT);
    ended_well(node().arg(client).arg(format!("http://{at}")).arg(protocol))
}

/// What the client on HTTP/1.1 says.
fn said_by_old(at: SocketAddr) -> String {
    let mut command: Command = python();
    ended_well(command.args(["-c", OLD_CLIENT, &format!("ws://{at}/room?a")]))
}

#[test]
fn a_client_on_http2_reaches_a_server_on_http1() {
    let fleet = fleet();
    let (_server, at) = serve(&fleet, OLD_SERVER, &[]);
    assert_eq!(said(&fleet, hop(&fleet, "one", "h1", at).entry, "websocket"), "echoed\n");
}

#[test]
fn both_clients_reach_a_server_on_http2() {
    let fleet = fleet();
    let (_server, at) = serve(&fleet, SERVER, &[]);
    let one = hop(&fleet, "one", "h2c", at);
    assert_eq!(said(&fleet, one.entry, "websocket"), "echoed\n");
    assert_eq!(said_by_old(one.entry), "echoed\n");
}

#[test]
fn both_clients_pass_two_sidecars_that_speak_http2() {
    let fleet = fleet();
    let (_server, at) = serve(&fleet, OLD_SERVER, &[]);
    let near = hop(&fleet, "near", "h1", at);
    let far = hop(&fleet, "far", "h2c", near.entry);
    assert_eq!(said(&fleet, far.entry, "websocket"), "echoed\n");
    assert_eq!(said_by_old(far.entry), "echoed\n");
}

#[test]
fn what_cannot_switch_is_told_and_serves_on() {
    let fleet = fleet();
    let (_server, at) = serve(&fleet, SERVER, &["plain"]);
    let one = hop(&fleet, "one", "h2c", at);
    for _ in 0..10 {
        assert_eq!(said(&fleet, one.entry, "websocket"), "501 not_implemented\n");
    }
    assert_eq!(get(one.entry, "chat", "/").unwrap().status, 200, "an endpoint is not ill for it");
    assert_eq!(said(&fleet, one.entry, "connect-udp"), "501 not_implemented\n", "another protocol");
}
