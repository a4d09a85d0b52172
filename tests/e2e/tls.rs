//! TLS on the ways in and towards endpoints, with openssl, curl and Python as peers.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use outrigger_tests::{Authority, Fleet, Process, TestApp, ended_well, free_port, get, python, until};

use crate::fleet;

/// An HTTPS server that says whose certificate it was shown.
const PYTHON_SERVER: &str = r#"
import http.server, ssl, sys
port, certificate, key, authority = int(sys.argv[1]), *sys.argv[2:5]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        shown = self.connection.getpeercert() or {}
        names = [value for rdn in shown.get("subject", ()) for (key, value) in rdn]
        body = (" ".join(names) or "nobody").encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
context.load_verify_locations(authority)
context.verify_mode = ssl.CERT_OPTIONAL
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

fn https_server(fleet: &Fleet, at: SocketAddr, authority: &Authority, name: &str) -> Process {
    let (certificate, key) = authority.sign(name, "backend.test", 1);
    let script = fleet.file("https.py", PYTHON_SERVER);
    let mut command = python();
    command.arg(script).arg(at.port().to_string()).arg(certificate).arg(key).arg(authority.file());
    let mut server = Process::start(name, &mut command, fleet.dir());
    until("the HTTPS server listens", || {
        assert!(server.ended().is_none(), "{}", server.log());
        std::net::TcpStream::connect(at).ok()
    });
    server
}

fn curl(ca: &Path, at: SocketAddr, more: &[&str]) -> std::process::Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--noproxy", "-", "--cacert"]).arg(ca).args(more);
    command.arg(format!("https://{at}/")).output().unwrap()
}

/// What `openssl s_client` tells of the server at `at`, after one whole exchange.
fn s_client(ca: &Path, at: SocketAddr, more: &[&str]) -> String {
    let mut command = Command::new("sh");
    let request = r"printf 'GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n' | timeout 20 openssl s_client -ign_eof";
    command.arg("-c").arg(format!(
        "{request} -connect {at} -CAfile {} -verify_return_error {} 2>&1; true",
        ca.display(),
        more.join(" ")
    ));
    ended_well(&mut command)
}

/// A sidecar that ends TLS before `app`, on the service's own port.
fn listening<'f>(fleet: &'f Fleet, app: &TestApp, pair: (&Path, &Path)) -> outrigger_tests::Sidecar<'f> {
    let at = free_port();
    let own = format!(
        "outbound: {{ listen: \"off\" }}\nservices: {{ app: {{ listen: {at}, endpoints: [{}], \
         listen_tls: {{ cert_file: {:?}, key_file: {:?} }} }} }}\n",
        app.address, pair.0, pair.1
    );
    fleet.sidecar("listening", at, &own)
}

#[test]
fn a_way_in_speaks_tls_offers_http_and_resumes() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let authority = Authority::new(fleet.dir(), "ca");
    let (certificate, key) = authority.sign("sidecar", "sidecar.test", 1);
    let sidecar = listening(&fleet, &app, (&certificate, &key));
    let answer = curl(&authority.file(), sidecar.entry, &["--http1.1"]);
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "app", "{answer:?}");
    for version in ["-tls1_2", "-tls1_3"] {
        let session = fleet.dir().join(format!("session{version}"));
        let (session, alpn) = (session.display().to_string(), ["-alpn", "http/1.1", version]);
        let first =
            s_client(&authority.file(), sidecar.entry, &[&alpn[..], &["-sess_out", &session]].concat());
        assert!(first.contains("HTTP/1.1 200") && first.contains("\nNew, TLSv1."), "{first}");
        assert!(first.contains("ALPN protocol: http/1.1"), "{first}");
        let again =
            s_client(&authority.file(), sidecar.entry, &[&alpn[..], &["-sess_in", &session]].concat());
        assert!(again.contains("HTTP/1.1 200") && again.contains("\nReused, TLSv1."), "{again}");
    }
    let answer = curl(&authority.file(), sidecar.entry, &["--http2", "--write-out", " %{http_version}"]);
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "app 2", "{answer:?}");
    let other = s_client(&authority.file(), sidecar.entry, &["-alpn", "spdy/1"]);
    assert!(other.contains("alert no application protocol"), "{other}");
    assert!(get(sidecar.entry, "app", "/").is_err(), "nothing is said in clear");
}

#[test]
fn a_certificate_is_swapped_under_living_connections_and_a_bad_one_is_not() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let (old, new) = (Authority::new(fleet.dir(), "old-ca"), Authority::new(fleet.dir(), "new-ca"));
    let (certificate, key) = old.sign("sidecar", "sidecar.test", 1);
    let sidecar = listening(&fleet, &app, (&certificate, &key));
    // One connection is held from before the swap until after it.
    let held = "import http.client, ssl, sys\n\
                context = ssl.create_default_context(cafile=sys.argv[1])\n\
                connection = http.client.HTTPSConnection('127.0.0.1', int(sys.argv[2]), context=context)\n\
                def ask():\n\
                \x20   connection.request('GET', '/', headers={'host': 'app'})\n\
                \x20   return connection.getresponse().read().decode()\n\
                print(ask(), flush=True)\n\
                socket = connection.sock\n\
                sys.stdin.readline()\n\
                assert ask() == 'app' and connection.sock is socket\n\
                print('held')\n";
    let mut command = python();
    command.args(["-c", held]).arg(old.file()).arg(sidecar.entry.port().to_string());
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut client = command.spawn().unwrap();
    let mut told = std::io::BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert_eq!(line, "app\n");
    let reloads = |result: &str| {
        let metrics = get(sidecar.admin, "localhost", "/metrics").unwrap().body;
        metrics.contains(&format!("outrigger_tls_reloads_total{{result=\"{result}\"}} 1"))
    };
    fs::write(&key, "no key").unwrap();
    until("the bad pair is noticed", || reloads("failed").then_some(()));
    assert!(curl(&old.file(), sidecar.entry, &[]).status.success(), "the old pair stays in use");
    let renewed = new.sign("renewed", "sidecar.test", 1);
    fs::rename(renewed.1, &key).unwrap();
    fs::rename(renewed.0, &certificate).unwrap();
    until("the new pair is in use", || curl(&new.file(), sidecar.entry, &[]).status.success().then_some(()));
    assert!(!curl(&old.file(), sidecar.entry, &[]).status.success());
    drop(client.stdin.take());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut told, &mut rest).unwrap();
    assert!(client.wait().unwrap().success() && rest == "held\n", "{rest}");
}

#[test]
fn endpoints_with_tls_are_trusted_by_authority_and_name_and_shown_a_certificate() {
    let fleet = fleet();
    let (authority, stranger) = (Authority::new(fleet.dir(), "ca"), Authority::new(fleet.dir(), "stranger"));
    let (certificate, key) = authority.sign("client", "client.test", 1);
    let (at, entry) = (free_port(), free_port());
    let _server = https_server(&fleet, at, &authority, "server");
    let service = |name: &str, tls: &str| format!("  {name}: {{ endpoints: [{at}], tls: {{ {tls} }} }}\n");
    let ca = format!("ca_file: {:?}", authority.file());
    let shown = format!("cert_file: {certificate:?}, key_file: {key:?}");
    let own = format!("outbound: {{ listen: {entry} }}\nservices:\n")
        + &service("anonymous", &ca)
        + &service("named", &format!("{ca}, server_name: backend.test, {shown}"))
        + &service("misnamed", &format!("{ca}, server_name: other.test"))
        + &service("strange", &format!("ca_file: {:?}", stranger.file()));
    let sidecar = fleet.sidecar("consumer", entry, &own);
    for _ in 0..3 {
        // One address, two identities: neither ever rides on the other's connection.
        assert_eq!(sidecar.get("anonymous", "/").body, "nobody");
        assert_eq!(sidecar.get("named", "/").body, "client.test");
    }
    for service in ["misnamed", "strange"] {
        let answer = sidecar.get(service, "/");
        assert_eq!((answer.status, answer.reason()), (502, Some("tls_failed")), "{service}: {answer:?}");
    }
    let metrics = get(sidecar.admin, "localhost", "/metrics").unwrap().body;
    assert!(metrics.contains("outrigger_connections_reused_total 4\n"), "{metrics}");
}

#[test]
fn an_endpoint_whose_own_certificate_is_the_authority_is_trusted_and_no_other() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let (certificate, key) = Authority::itself(fleet.dir(), "itself", "itself.test");
    let (other, _) = Authority::itself(fleet.dir(), "other", "itself.test");
    let ends_tls = listening(&fleet, &app, (&certificate, &key));
    let entry = free_port();
    let service = |name: &str, ca: &Path, dns: &str| {
        let at = ends_tls.entry;
        format!("  {name}: {{ endpoints: [{at}], tls: {{ ca_file: {ca:?}, server_name: {dns} }} }}\n")
    };
    let own = format!("outbound: {{ listen: {entry} }}\nservices:\n")
        + &service("itself", &certificate, "itself.test")
        + &service("misnamed", &certificate, "else.test")
        + &service("strange", &other, "itself.test");
    let sidecar = fleet.sidecar("consumer", entry, &own);
    assert_eq!(sidecar.get("itself", "/").body, "app");
    for service in ["misnamed", "strange"] {
        let answer = sidecar.get(service, "/");
        assert_eq!((answer.status, answer.reason()), (502, Some("tls_failed")), "{service}: {answer:?}");
    }
}

#[test]
fn two_sidecars_speak_tls_with_each_other() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let control = fleet.control_plane();
    let authority = Authority::new(fleet.dir(), "ca");
    let (certificate, key) = authority.sign("provider", "app.test", 1);
    let (inbound, entry) = (free_port(), free_port());
    let provider = format!(
        "outbound: {{ listen: \"off\" }}\napps:\n- {{ service: app, app: {}, inbound: {inbound}, \
         inbound_tls: {{ cert_file: {certificate:?}, key_file: {key:?} }}, allow_loopback: true }}\n\
         control: {{ urls: [\"http://{}\"] }}\n",
        app.address, control.listen
    );
    let _provider = fleet.sidecar("provider", inbound, &provider);
    let consumer = format!(
        "outbound: {{ listen: {entry}, tls: {{ ca_file: {:?}, server_name: app.test }} }}\n\
         control: {{ urls: [\"http://{}\"] }}\n",
        authority.file(),
        control.listen
    );
    let consumer = fleet.sidecar("consumer", entry, &consumer);
    control.lists("app", 1);
    assert_eq!(control.instances("app")[0]["tls"], true);
    until("the app answers", || Some(consumer.get("app", "/")).filter(|answer| answer.status == 200));
    assert_eq!(consumer.get("app", "/").body, "app");
}

#[test]
fn check_tells_a_certificate_that_is_over_a_key_of_another_and_a_missing_file() {
    let fleet = fleet();
    let authority = Authority::new(fleet.dir(), "ca");
    authority.sign("good", "a.test", 1);
    authority.sign("over", "a.test", -1);
    authority.sign("other", "a.test", 1);
    let cases = [
        ("good.pem", "good.key", None),
        ("over.pem", "over.key", Some("over.pem expired a day ago")),
        ("good.pem", "other.key", Some("other.key is not the key of good.pem")),
        ("gone.pem", "good.key", Some("gone.pem: No such file")),
        ("good.key", "good.key", Some("good.key holds no certificate")),
    ];
    for (certificate, key, wrong) in cases {
        let text = format!("outbound: {{ listen_tls: {{ cert_file: {certificate}, key_file: {key} }} }}\n");
        fleet.file("sidecar.yaml", &text);
        let told = fleet.outrigger().args(["check", "sidecar.yaml"]).output().unwrap();
        let text = String::from_utf8_lossy(&told.stderr);
        assert_eq!(told.status.code(), Some(if wrong.is_some() { 78 } else { 0 }), "{text}");
        assert!(wrong.is_none_or(|wrong| text.contains(wrong)), "{wrong:?} is missing from {text}");
    }
}

#[test]
fn http_2_to_an_endpoint_with_tls_is_asked_for_by_name() {
    let (fleet, app) = (fleet(), TestApp::named("app"));
    let authority = Authority::new(fleet.dir(), "ca");
    let (certificate, key) = authority.sign("sidecar", "sidecar.test", 1);
    let before = listening(&fleet, &app, (&certificate, &key));
    let entry = free_port();
    let own = format!(
        "outbound: {{ listen: {entry} }}\nservices: {{ app: {{ protocol: h2c, endpoints: [{}], \
         tls: {{ ca_file: {:?} }} }} }}\n",
        before.entry,
        authority.file()
    );
    let sidecar = fleet.sidecar("consumer", entry, &own);
    assert_eq!(sidecar.get("app", "/").body, "app");
    drop(sidecar);
    let speaks_http_1 = free_port();
    let _server = https_server(&fleet, speaks_http_1, &authority, "http-1");
    let entry = free_port();
    let own = format!(
        "outbound: {{ listen: {entry} }}\nservices: {{ app: {{ protocol: h2c, endpoints: [{speaks_http_1}], \
         tls: {{ ca_file: {:?} }} }} }}\n",
        authority.file()
    );
    let sidecar = fleet.sidecar("disappointed", entry, &own);
    assert_eq!(sidecar.get("app", "/").status, 502, "nothing is sent to who does not speak it");
}
