"""The proxies between callers and hosts: how each is configured and started."""
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

TOOLS = Path(os.environ.get("RESILIENCE_TOOLS", "target/release")).resolve()
BINARY = Path(os.environ.get("RESILIENCE_BINARY", TOOLS / "outrigger")).resolve()
TYPE = "type.googleapis.com/envoy.extensions."


def answers(port, seconds=20):
    """Waits until somebody answers a request to `port`."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as stream:
                stream.settimeout(2)
                stream.sendall(b"OPTIONS / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
                if stream.recv(4096).startswith(b"HTTP/1.1 "):
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


def start(words, log, core):
    pin = ["taskset", "-c", core] if core else []
    out = open(log, "wb")
    return subprocess.Popen([*pin, *map(str, words)], stdout=out, stderr=out, start_new_session=True)


def stop(process):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(3 if number == signal.SIGTERM else 5)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


class Ours:
    """The sidecar on its defaults; `policy` only where a row asks for less than them."""

    def __init__(self, workers=1, policy=None):
        self.workers, self.policy = workers, policy

    def start(self, place):
        words = [BINARY, "sidecar", "--listen", f"127.0.0.1:{place.listen}", "--admin", f"127.0.0.1:{place.admin}",
                 "--to", ",".join(f"127.0.0.1:{port}" for port in place.hosts), "--threads", self.workers]
        if self.policy:
            path = place.folder / "policy.yaml"
            path.write_text(self.policy)
            words += ["--policy", path]
        return [start(words, place.folder / "ours.log", place.core)]


class Envoy:
    """Envoy 1.40: cluster settings by name, and a route's retry policy."""

    def __init__(self, cluster=None, route=None, workers=1, runtime=None):
        self.cluster, self.route, self.workers, self.runtime = cluster or {}, route or {}, workers, runtime

    def config(self, place):
        address = lambda port: {"socket_address": {"address": "127.0.0.1", "port_value": port}}
        wide = {"max_connections": 100000, "max_pending_requests": 100000, "max_requests": 100000, "max_retries": 100000}
        cluster = {
            "name": "app", "type": "STATIC", "connect_timeout": "1s", "circuit_breakers": {"thresholds": [wide]},
            "load_assignment": {"cluster_name": "app", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address(port)}} for port in place.hosts]}]},
            **self.cluster,
        }
        manager = {
            "@type": TYPE + "filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in", "generate_request_id": False,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                {"match": {"prefix": "/"}, "route": {"cluster": "app", "timeout": "15s", **self.route}}]}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": TYPE + "filters.http.router.v3.Router"}}],
        }
        filters = [{"name": "http", "typed_config": manager}]
        config = {"static_resources": {"clusters": [cluster], "listeners": [
            {"name": "in", "address": address(place.listen), "filter_chains": [{"filters": filters}]}]}}
        if self.runtime:
            config["layered_runtime"] = {"layers": [{"name": "static", "static_layer": self.runtime}]}
        return config

    def start(self, place):
        path = place.folder / "envoy.json"
        path.write_text(json.dumps(self.config(place)))
        words = ["envoy", "-c", path, "--concurrency", self.workers, "--log-level", "error", "--disable-hot-restart"]
        return [start(words, place.folder / "envoy.log", place.core)]


class HAProxy:
    """Debian's HAProxy: lines for its backend, and for each of its servers."""

    def __init__(self, backend, server="", workers=1):
        self.backend, self.server, self.workers = backend, server, workers

    def start(self, place):
        lines = ["global", f" nbthread {self.workers}", " maxconn 20000", " no strict-limits", "defaults", " mode http",
                 " timeout connect 1s", " timeout client 60s", " timeout server 15s", " http-reuse always",
                 "frontend in", f" bind 127.0.0.1:{place.listen}", " default_backend app", "backend app"]
        lines += [f" {line}" for line in self.backend]
        lines += [f" server s{n} 127.0.0.1:{port} {self.server}" for n, port in enumerate(place.hosts)]
        path = place.folder / "haproxy.cfg"
        path.write_text("\n".join(lines) + "\n")
        return [start(["haproxy", "-db", "-f", path], place.folder / "haproxy.log", place.core)]
