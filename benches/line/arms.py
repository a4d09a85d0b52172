"""The proxies that are compared: what each is told, written from one description of ports and apps.

Every arm gets the same ways in and the same endpoints, one worker, no access log, and nothing that would slow a peer
down. The way in called `features` has what a sidecar has switched on always: retries, ejection of bad endpoints, a
rate limit, a request id. Ours has all of that, and its records and metrics, on every way in.
"""
import json
from dataclasses import dataclass, field
from pathlib import Path

from loads import TOOLS

FOREVER = 1_000_000_000


@dataclass
class Layout:
    """Where everything stands. `services` are there for their weight only: none is called."""

    folder: Path
    binary: Path
    ways: dict                                        # plain, features, tls, mtls, h2c, h2up, tcp → port
    apps: list                                        # host:port in clear
    tls_apps: list                                    # host:port, a client's certificate demanded
    h2_apps: list                                     # host:port, HTTP/2 in clear and nothing else
    services: dict = field(default_factory=dict)      # name → [host:port]

    @property
    def cert(self):
        return self.folder / "cert.pem"

    @property
    def key(self):
        return self.folder / "key.pem"

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)


def outrigger(at):
    pair = {"cert_file": str(at.cert), "key_file": str(at.key)}
    listen = lambda way: f"127.0.0.1:{at.ways[way]}"
    services = {
        "app": {"listen": listen("plain"), "endpoints": at.apps},
        "tls": {"listen": listen("tls"), "listen_tls": pair, "endpoints": at.apps},
        "mtls": {"listen": listen("mtls"), "endpoints": at.tls_apps,
                 "tls": {"ca_file": str(at.cert), "server_name": "localhost", **pair}},
        "h2up": {"listen": listen("h2up"), "endpoints": at.h2_apps, "protocol": "h2c"},
        "tcp": {"listen": listen("tcp"), "endpoints": at.apps, "protocol": "tcp"},
        **{name: {"endpoints": hosts} for name, hosts in at.services.items()},
    }
    file = {"threads": 1, "state": str(at.folder / "state"), "outbound": {"listen": "off"}, "services": services,
            "admin": {"listen": "off"}, "limits": {"connections": 20000}}
    return [str(at.binary), "sidecar", "--config", at.write("outrigger.yaml", json.dumps(file))]


def haproxy(at):
    at.write("pair.pem", at.cert.read_text() + at.key.read_text())
    servers = lambda hosts, more="": "".join(f"    server s{n} {host}{more}\n" for n, host in enumerate(hosts))
    verify = f" ssl verify required ca-file {at.cert} crt {at.folder}/pair.pem sni str(localhost) verifyhost localhost"
    text = f"""\
global
    nbthread 1
    maxconn 20000
    no strict-limits
defaults
    mode http
    timeout connect 2s
    timeout client 180s
    timeout server 60s
    timeout http-keep-alive 180s
    http-reuse always
    balance roundrobin
frontend plain
    bind 127.0.0.1:{at.ways['plain']}
    bind 127.0.0.1:{at.ways['h2c']}
    bind 127.0.0.1:{at.ways['tls']} ssl crt {at.folder}/pair.pem alpn h2,http/1.1
    default_backend app
frontend features
    bind 127.0.0.1:{at.ways['features']}
    stick-table type ip size 100k expire 30s store http_req_rate(10s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {FOREVER} }}
    http-request set-header x-request-id %[uuid()] unless {{ req.hdr(x-request-id) -m found }}
    option forwardfor
    default_backend app_features
frontend mtls
    bind 127.0.0.1:{at.ways['mtls']}
    default_backend app_mtls
frontend h2up
    bind 127.0.0.1:{at.ways['h2up']}
    default_backend app_h2
listen tcp
    mode tcp
    bind 127.0.0.1:{at.ways['tcp']}
{servers(at.apps)}
backend app
{servers(at.apps)}
backend app_features
    retries 3
    option redispatch
    retry-on conn-failure empty-response 503
    default-server check inter 2s observe layer7 error-limit 50 on-error mark-down
{servers(at.apps)}
backend app_mtls
{servers(at.tls_apps, verify)}
backend app_h2
{servers(at.h2_apps, " proto h2")}
""" + "".join(f"backend {name}\n{servers(hosts)}" for name, hosts in at.services.items())
    return ["haproxy", "-db", "-f", at.write("haproxy.cfg", text)]


def nginx_head(at, name):
    """What any nginx of ours begins with; its temporary files stay in our folder."""
    temporary = "".join(f"    {kind}_temp_path {at.folder}/{name}-{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    return f"""\
daemon off;
worker_processes 1;
worker_rlimit_nofile 40000;
pid {at.folder}/{name}.pid;
error_log stderr crit;
events {{ worker_connections 30000; }}
http {{
    access_log off;
    keepalive_requests {FOREVER};
    keepalive_timeout 180s;
{temporary}"""


def nginx(at):
    kept = f"keepalive 256; keepalive_requests {FOREVER}; keepalive_timeout 180s;"
    group = lambda name, hosts, more="": f"    upstream {name} {{ " + "".join(f"server {host}{more}; " for host in hosts) + kept + " }\n"
    text = nginx_head(at, "nginx") + f"""\
    limit_req_zone $binary_remote_addr zone=all:1m rate=900000r/s;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
{group("app", at.apps)}{group("app_features", at.apps, " max_fails=5 fail_timeout=10s")}{group("app_mtls", at.tls_apps)}\
{"".join(group(name, hosts) for name, hosts in at.services.items())}
    server {{
        listen 127.0.0.1:{at.ways['plain']} backlog=4096;
        listen 127.0.0.1:{at.ways['h2c']} http2 backlog=4096;
        listen 127.0.0.1:{at.ways['tls']} ssl backlog=4096;
        ssl_certificate {at.cert};
        ssl_certificate_key {at.key};
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{ proxy_pass http://app; }}
    }}
    server {{
        listen 127.0.0.1:{at.ways['features']} backlog=4096;
        location / {{
            limit_req zone=all burst=100000 nodelay;
            proxy_next_upstream error timeout http_503;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Request-Id $request_id;
            proxy_pass http://app_features;
        }}
    }}
    server {{
        listen 127.0.0.1:{at.ways['mtls']} backlog=4096;
        proxy_ssl_certificate {at.cert};
        proxy_ssl_certificate_key {at.key};
        proxy_ssl_trusted_certificate {at.cert};
        proxy_ssl_verify on;
        proxy_ssl_name localhost;
        proxy_ssl_server_name on;
        location / {{ proxy_pass https://app_mtls; }}
    }}
}}
"""
    return ["nginx", "-c", at.write("nginx.conf", text)]


def tls_app(at):
    """Not an arm: the app behind `mtls`, which demands a client's certificate. 100 bytes, as the others."""
    listens = "".join(f"        listen {host} ssl backlog=4096;\n" for host in at.tls_apps)
    text = nginx_head(at, "tls-app") + f"""\
    default_type text/plain;
    ssl_certificate {at.cert};
    ssl_certificate_key {at.key};
    ssl_client_certificate {at.cert};
    ssl_verify_client on;
    server {{
{listens}        location / {{ return 200 "{"x" * 100}"; }}
    }}
}}
"""
    return ["nginx", "-c", at.write("tls-app.conf", text)]


def h2_app(at):
    """Not an arm: the app behind `h2up`. 100 bytes, as the others."""
    listens = "".join(f"        listen {host} http2 backlog=4096;\n" for host in at.h2_apps)
    text = nginx_head(at, "h2-app") + f"""\
    default_type text/plain;
    server {{
{listens}        location / {{ return 200 "{"x" * 100}"; }}
    }}
}}
"""
    return ["nginx", "-c", at.write("h2-app.conf", text)]


def envoy(at):
    typed = lambda kind, more: {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **more}
    named = lambda name, kind, more: {"name": name, "typed_config": typed(kind, more)}
    place = lambda host: {"socket_address": {"address": host.split(":")[0], "port_value": int(host.split(":")[1])}}
    here = lambda way: place(f"127.0.0.1:{at.ways[way]}")
    router = named("envoy.filters.http.router", "filters.http.router.v3.Router", {})
    always = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    limit = named("envoy.filters.http.local_ratelimit", "filters.http.local_ratelimit.v3.LocalRateLimit", {
        "stat_prefix": "all", "filter_enabled": always, "filter_enforced": always,
        "token_bucket": {"max_tokens": 100_000_000, "tokens_per_fill": 100_000_000, "fill_interval": "1s"}})
    pair = {"certificate_chain": {"filename": str(at.cert)}, "private_key": {"filename": str(at.key)}}
    newest = {"tls_maximum_protocol_version": "TLSv1_3"}

    def http(name, cluster, route=None, filters=(), more=None):
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": cluster, **(route or {})}}]
        return named("envoy.filters.network.http_connection_manager",
                     "filters.network.http_connection_manager.v3.HttpConnectionManager",
                     {"stat_prefix": name, "generate_request_id": False, "http_filters": [*filters, router],
                      "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}, **(more or {})})

    def listener(way, chain, **more):
        return {"name": way, "address": here(way), "filter_chains": [{"filters": [chain], **more}]}

    def cluster(name, hosts, **more):
        wide = {"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000, "max_retries": 1000}
        found = [{"endpoint": {"address": place(host)}} for host in hosts]
        return {"name": name, "type": "STATIC", "connect_timeout": "2s", "circuit_breakers": {"thresholds": [wide]},
                "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": found}]}, **more}

    retry = {"retry_on": "5xx,connect-failure,refused-stream,reset", "num_retries": 2, "per_try_timeout": "5s"}
    down = named("envoy.transport_sockets.tls", "transport_sockets.tls.v3.DownstreamTlsContext", {"common_tls_context": {
        "alpn_protocols": ["h2", "http/1.1"], "tls_params": newest, "tls_certificates": [pair]}})
    up = named("envoy.transport_sockets.tls", "transport_sockets.tls.v3.UpstreamTlsContext", {"sni": "localhost", "common_tls_context": {
        "tls_params": newest, "tls_certificates": [pair], "validation_context": {"trusted_ca": {"filename": str(at.cert)}}}})
    raw = named("envoy.filters.network.tcp_proxy", "filters.network.tcp_proxy.v3.TcpProxy", {"stat_prefix": "tcp", "cluster": "app"})
    ejecting = {"consecutive_5xx": 5, "interval": "5s", "base_ejection_time": "10s", "max_ejection_percent": 50}
    file = {"node": {"id": "line", "cluster": "line"}, "static_resources": {
        "listeners": [
            listener("plain", http("plain", "app")), listener("h2c", http("h2c", "app")),
            listener("tls", http("tls", "app"), transport_socket=down), listener("mtls", http("mtls", "app_mtls")),
            listener("features", http("features", "app_features", {"timeout": "15s", "retry_policy": retry}, [limit],
                                      {"use_remote_address": True, "generate_request_id": True})),
            listener("h2up", http("h2up", "app_h2")), listener("tcp", raw)],
        "clusters": [
            cluster("app", at.apps), cluster("app_features", at.apps, outlier_detection=ejecting),
            cluster("app_mtls", at.tls_apps, transport_socket=up),
            cluster("app_h2", at.h2_apps, http2_protocol_options={}),
            *(cluster(name, hosts) for name, hosts in at.services.items())]}}
    return ["envoy", "-c", at.write("envoy.json", json.dumps(file)), "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"]


def floor(at):
    """No proxy: what the kernel takes of whoever stands here. See benches/src/bin/line-floor.rs."""
    return [str(TOOLS / "line-floor"), str(at.ways["plain"]), *at.apps]


ARMS = {"outrigger": outrigger, "haproxy": haproxy, "nginx": nginx, "envoy": envoy, "floor": floor}
# Debian's nginx carries raw TCP only with a module of its own, which is not installed, and speaks no HTTP/2 to endpoints.
# The floor passes HTTP/1.1 on in clear over connections that stay, and does nothing else. A way or a row's letter each.
CANNOT = {"nginx": {"tcp", "h2up"}, "floor": {"tls", "mtls", "h2c", "h2up", "tcp", "f"}}


def can(name, row, letter):
    """Whether an arm can be measured in a row."""
    return not CANNOT.get(name, set()) & {row.way, letter}
