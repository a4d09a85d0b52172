//! HTTP/2 on either side: every crossing of the two wires, with real peers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use outrigger_tests::{
    Fleet, Process, Sidecar, TestApp, Told, ended_well, free_port, get, nginx, request, until,
};

use crate::fleet;

/// More than one window, one socket buffer and one queue hold.
const LARGE: usize = 3_000_000;

fn curl(args: &[&str]) -> String {
    ended_well(Command::new("curl").args(["--silent", "--show-error", "--fail", "--noproxy", "-"]).args(args))
}

/// An app on HTTP/1.1 that says what it was asked, and large things when asked for `/large`.
fn app() -> TestApp {
    TestApp::start(|asked| match asked.target.as_str() {
        "/large" => Told::ok("x".repeat(LARGE)),
        _ => Told::ok(format!("{} {} {}", asked.method, asked.target, asked.body.len())),
    })
}

/// A sidecar whose service `app` lies at `to` and speaks `protocol`, on a port of its own.
fn hop<'f>(fleet: &'f Fleet, name: &str, protocol: &str, to: SocketAddr) -> Sidecar<'f> {
    let at = free_port();
    let own = format!(
        "outbound: {{ listen: \"off\" }}\nservices: {{ app: {{ listen: {at}, protocol: {protocol}, endpoints: [{to}] }} }}\n"
    );
    fleet.sidecar(name, at, &own)
}

/// `entry` is asked over both wires, by methods with and without bodies, small and large.
fn check(fleet: &Fleet, entry: SocketAddr, app: &TestApp) {
    let body = fleet.file("body", &"y".repeat(LARGE));
    let body = format!("@{}", body.display());
    let url = |path: &str| format!("http://{entry}{path}");
    for wire in ["--http1.1", "--http2-prior-knowledge"] {
        assert_eq!(curl(&[wire, &url("/small?q")]), "GET /small?q 0", "{wire}");
        assert_eq!(curl(&[wire, "-d", "abc", &url("/post")]), "POST /post 3", "{wire}");
        assert_eq!(curl(&[wire, "-X", "POST", "-d", "", &url("/empty")]), "POST /empty 0", "{wire}");
        assert_eq!(curl(&[wire, &url("/large")]).len(), LARGE, "{wire}");
        let uploaded = curl(&[wire, "-H", "expect:", "--data-binary", &body, &url("/upload")]);
        assert_eq!(uploaded, format!("POST /upload {LARGE}"), "{wire}");
        let head = curl(&[wire, "--head", &url("/head")]).to_ascii_lowercase();
        assert!(head.contains(" 200") && head.contains("content-length: 12"), "{wire}: {head}");
    }
    assert_eq!(app.began(), 12, "each reached the app once");
}

#[test]
fn a_client_may_speak_http2_to_an_app_that_does_not() {
    let (fleet, app) = (fleet(), app());
    let sidecar = hop(&fleet, "one", "h1", app.address);
    check(&fleet, sidecar.entry, &app);
}

#[test]
fn http2_between_sidecars_carries_whatever_its_ends_speak() {
    let (fleet, app) = (fleet(), app());
    let near = hop(&fleet, "near", "h1", app.address);
    let far = hop(&fleet, "far", "h2c", near.entry);
    check(&fleet, far.entry, &app);
}

#[test]
fn nginx_is_reached_over_http2_from_both_wires() {
    let (fleet, at) = (fleet(), free_port());
    let dir = fleet.dir().display().to_string();
    let text = format!(
        "daemon off; master_process off; pid {dir}/nginx.pid; error_log stderr;\nevents {{}}\nhttp {{\n access_log off; \
         client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u; \
         scgi_temp_path {dir}/s;\n server {{ listen {at} http2; location / {{ return 200 \"$server_protocol $request_uri\"; }} }}\n}}\n"
    );
    let file = fleet.file("nginx.conf", &text);
    let mut server = Process::start("nginx", nginx().arg("-c").arg(file).args(["-p", &dir]), fleet.dir());
    let sidecar = hop(&fleet, "one", "h2c", at);
    until("nginx answers", || {
        assert!(server.ended().is_none(), "nginx ended: {}", server.log());
        get(sidecar.entry, "app", "/").ok().filter(|answer| answer.status == 200)
    });
    for wire in ["--http1.1", "--http2-prior-knowledge"] {
        for number in 0..5 {
            let said = curl(&[wire, &format!("http://{}/{number}", sidecar.entry)]);
            assert_eq!(said, format!("HTTP/2.0 /{number}"), "{wire}");
        }
    }
}

#[test]
fn many_streams_on_few_connections_are_all_answered() {
    let (fleet, app) = (fleet(), app());
    let near = hop(&fleet, "near", "h1", app.address);
    let far = hop(&fleet, "far", "h2c", near.entry);
    let url = format!("http://{}/", far.entry);
    let said = ended_well(Command::new("h2load").args(["-n", "2000", "-c", "4", "-m", "50", &url]));
    assert!(said.contains("2000 succeeded, 0 failed, 0 errored"), "{said}");
    assert_eq!(app.began(), 2000);
}

#[test]
fn an_endpoint_that_does_not_speak_http2_is_no_connection() {
    let (fleet, app) = (fleet(), app());
    let sidecar = hop(&fleet, "one", "h2c", app.address);
    let answer = get(sidecar.entry, "app", "/").unwrap();
    assert_eq!((answer.status, answer.reason()), (502, Some("connect_failed")), "{answer:?}");
}

/// A frame (RFC 9113 §4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Reads frames until the connection ends; the error code of the GOAWAY that it was told.
fn goaway(client: &mut TcpStream) -> Option<u32> {
    let (mut head, mut code) = ([0; 9], None);
    while client.read_exact(&mut head).is_ok() {
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        if client.read_exact(&mut payload).is_err() {
            break;
        }
        if head[3] == 7 {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    code
}

#[test]
fn who_only_starts_and_cancels_is_told_to_calm_down_and_nobody_else_notices() {
    let (fleet, app) = (fleet(), app());
    let sidecar = hop(&fleet, "one", "h1", app.address);
    let mut client = TcpStream::connect(sidecar.entry).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut reader = client.try_clone().unwrap();
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    client.write_all(&frame(4, 0, 0, &[])).unwrap();
    let ended = std::thread::spawn(move || goaway(&mut reader));
    // GET http://app/ with literal names from HPACK's static table, and its RST_STREAM.
    let head = [&[0x82, 0x86, 0x84, 0x41, 3][..], b"app"].concat();
    for stream in (1..20_000).step_by(2) {
        let pair = [frame(1, 5, stream, &head), frame(3, 0, stream, &8_u32.to_be_bytes())].concat();
        // Once it is told to go away, the connection ends under it.
        if client.write_all(&pair).is_err() {
            break;
        }
    }
    // The reset of a connection that still brings streams may overtake its GOAWAY; no other word goes out.
    let told = ended.join().unwrap();
    assert!(told.is_none_or(|code| code == 11), "GOAWAY says {told:?} and not ENHANCE_YOUR_CALM");
    assert!(app.began() < 1000, "{} of 10000 reached the app", app.began());
    assert_eq!(curl(&["--http2-prior-knowledge", &format!("http://{}/well", sidecar.entry)]), "GET /well 0");
}

#[test]
fn a_connection_that_lay_idle_proves_that_somebody_is_there_before_it_is_trusted_with_a_post() {
    let (fleet, app) = (fleet(), app());
    let mut near = hop(&fleet, "near", "h1", app.address);
    let far = hop(&fleet, "far", "h2c", near.entry);
    let post = || request(far.entry, "POST", "/", &[("host", "app")], "abc").unwrap();
    assert_eq!(post().status, 200);
    near.process().freeze();
    // Longer than a connection is trusted without a sign of life.
    std::thread::park_timeout(Duration::from_millis(1200));
    let lost = post();
    assert!(lost.status >= 500 && lost.reason() != Some("outcome_unknown"), "{lost:?}");
    near.process().thaw();
    until("the endpoint serves again", || Some(post()).filter(|answer| answer.status == 200));
    let (all, answered) = (app.began(), 2);
    assert_eq!(all, answered, "what was not answered never reached the app");
}
