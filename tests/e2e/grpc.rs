//! gRPC by Google's own library, unary and streaming, over one sidecar and over two that speak either wire.

use std::net::{SocketAddr, TcpStream};

use outrigger_tests::{Fleet, Process, Sidecar, ended_well, free_port, python, until};

use crate::fleet;

/// Echoes in four ways, and fails in each way that matters. Bytes stand for messages, so nothing is generated.
const SERVER: &str = r#"
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import grpc

def unary(request, context):
    if request == b"broken":
        context.abort(grpc.StatusCode.INTERNAL, "as asked")
    if request == b"away":
        context.abort(grpc.StatusCode.UNAVAILABLE, "as asked")
    if request == b"left":
        return b"%d" % (context.time_remaining() * 1e6)
    if request == b"slow":
        threading.Event().wait(10)
    context.set_trailing_metadata((("x-tail", "it is"),))
    return b"heard " + request

def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number

def add(requests, context):
    return b"%d" % sum(len(request) for request in requests)

def echo(requests, context):
    yield from requests

def same(message):
    return message

server = grpc.server(ThreadPoolExecutor(32))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Echo", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary, same, same),
    "Count": grpc.unary_stream_rpc_method_handler(count, same, same),
    "Add": grpc.stream_unary_rpc_method_handler(add, same, same),
    "Echo": grpc.stream_stream_rpc_method_handler(echo, same, same),
}),))
server.add_insecure_port("127.0.0.1:" + sys.argv[1])
server.start()
server.wait_for_termination()
"#;

const CLIENT: &str = r#"
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc

channel = grpc.insecure_channel(sys.argv[1])
unary = channel.unary_unary("/test.Echo/Unary")

def refused(request, **how):
    try:
        unary(request, **how)
    except grpc.RpcError as error:
        return error.code()

answer, call = unary.with_call(b"this")
assert answer == b"heard this", answer
assert ("x-tail", "it is") in [tuple(pair) for pair in call.trailing_metadata()]
assert len(unary(b"x" * 2_000_000)) == 2_000_006
assert refused(b"broken") == grpc.StatusCode.INTERNAL
assert refused(b"away") == grpc.StatusCode.UNAVAILABLE
assert refused(b"slow", timeout=0.5) == grpc.StatusCode.DEADLINE_EXCEEDED
assert list(channel.unary_stream("/test.Echo/Count")(b"2000")) == [b"%d" % number for number in range(2000)]
assert channel.stream_unary("/test.Echo/Add")(iter([b"x" * 100_000] * 30)) == b"3000000"

# Each message waits for the echo of the one before it: nothing on the way may wait for company.
import queue
said = queue.Queue()
heard = channel.stream_stream("/test.Echo/Echo")(iter(said.get, None))
for number in range(100):
    said.put(b"%d" % number)
    assert next(heard) == b"%d" % number
said.put(None)
assert list(heard) == []

with ThreadPoolExecutor(16) as many:
    assert all(answer == b"heard me" for answer in many.map(lambda _: unary(b"me"), range(1000)))
print("done")
"#;

fn server(fleet: &Fleet) -> (Process, SocketAddr) {
    let at = free_port();
    let script = fleet.file("server.py", SERVER);
    let mut server = Process::start("grpc", python().arg(script).arg(at.port().to_string()), fleet.dir());
    until("the server listens", || {
        assert!(server.ended().is_none(), "the server ended: {}", server.log());
        TcpStream::connect(at).ok()
    });
    (server, at)
}

fn hop<'f>(fleet: &'f Fleet, name: &str, protocol: &str, to: SocketAddr) -> Sidecar<'f> {
    let at = free_port();
    let own = format!(
        "outbound: {{ listen: \"off\" }}\nservices: {{ echo: {{ listen: {at}, protocol: {protocol}, endpoints: [{to}] }} }}\n"
    );
    fleet.sidecar(name, at, &own)
}

fn all_is_well(at: SocketAddr) {
    assert_eq!(ended_well(python().args(["-c", CLIENT, &at.to_string()])), "done\n");
}

#[test]
fn grpc_passes_one_sidecar() {
    let fleet = fleet();
    let (_server, at) = server(&fleet);
    all_is_well(hop(&fleet, "one", "grpc", at).entry);
}

#[test]
fn grpc_passes_two_sidecars_that_speak_http2() {
    let fleet = fleet();
    let (_server, at) = server(&fleet);
    let near = hop(&fleet, "near", "grpc", at);
    all_is_well(hop(&fleet, "far", "grpc", near.entry).entry);
}

#[test]
fn grpc_passes_two_sidecars_that_speak_http1_between_them() {
    let fleet = fleet();
    let (_server, at) = server(&fleet);
    let near = hop(&fleet, "near", "grpc", at);
    all_is_well(hop(&fleet, "far", "h1", near.entry).entry);
}

#[test]
fn a_refusal_is_a_grpc_status_with_its_reason() {
    let fleet = fleet();
    let sidecar = hop(&fleet, "one", "grpc", free_port());
    let script = "import sys, grpc\n\
                  try:\n\
                  \x20   grpc.insecure_channel(sys.argv[1]).unary_unary('/test.Echo/Unary')(b'')\n\
                  except grpc.RpcError as error:\n\
                  \x20   print(error.code().name, error.details().split(':')[0])\n";
    let said = ended_well(python().args(["-c", script, &sidecar.entry.to_string()]));
    assert_eq!(said, "UNAVAILABLE connect_refused\n");
}

#[test]
fn what_is_left_of_a_deadline_goes_on_and_its_status_is_told() {
    let fleet = fleet();
    let (_server, at) = server(&fleet);
    let near = hop(&fleet, "near", "grpc", at);
    let mut far = hop(&fleet, "far", "grpc", near.entry);
    let script = "import sys, grpc\n\
                  unary = grpc.insecure_channel(sys.argv[1]).unary_unary('/test.Echo/Unary')\n\
                  left = int(unary(b'left', timeout=20))\n\
                  assert 0 < left < 20_000_000, left\n\
                  try:\n\
                  \x20   unary(b'broken')\n\
                  except grpc.RpcError as error:\n\
                  \x20   print(error.code().name)\n";
    let said = ended_well(python().args(["-c", script, &far.entry.to_string()]));
    assert_eq!(said, "INTERNAL\n");
    let log = until("the log has it", || Some(far.process().log()).filter(|log| log.contains("grpc_status")));
    let line = log.lines().find(|line| line.contains("grpc_status")).unwrap_or_default();
    assert!(line.contains("13") && line.contains("200"), "{line}");
}
