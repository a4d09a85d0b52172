"""The proxies between callers and hosts: how each is configured and started."""
import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

TOOLS = Path(os.environ.get("RESILIENCE_TOOLS", "target/release")).resolve()
BINARY = Path(os.environ.get("RESILIENCE_BINARY", TOOLS / "outrigger")).resolve()
TYPE = "type.googleapis.com/envoy.extensions."


def until(so, seconds, pause):
    """Whether it is `so` within that time, asked again after each pause; whoever is not there yet says no."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            if so():
                return True
        except OSError:
            pass
        time.sleep(pause)
    return False


def got(url):
    """What is answered to a GET."""
    with urllib.request.urlopen(url, timeout=2) as answer:
        return answer.read().decode()


def answers(port):
    """Waits until somebody answers a request to `port`."""
    def so():
        with socket.create_connection(("127.0.0.1", port), 1) as stream:
            stream.settimeout(2)
            stream.sendall(b"OPTIONS / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n")
            return stream.recv(4096).startswith(b"HTTP/1.1 ")
    return until(so, 20, 0.05)


def listens_at(port):
    """Waits until somebody takes connections at `port`."""
    def so():
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    return until(so, 20, 0.02)


# Every process of this bench, for whoever has to end it before its time.
STARTED = []


def start(words, log, core):
    pin = ["taskset", "-c", core] if core else []
    out = open(log, "wb")
    STARTED.append(subprocess.Popen([*pin, *map(str, words)], stdout=out, stderr=out, start_new_session=True))
    return STARTED[-1]


def end_all(*_):
    """Ends the bench and all that it started."""
    for process in STARTED:
        process.kill()
    os._exit(1)


def stop(process):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(3 if number == signal.SIGTERM else 5)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


class Direct:
    """No proxy: callers meet a host that never fails and never has them wait, so that what their answers take longer
    than its work is what the bench itself adds."""

    def instead(self, scenario):
        host = {**scenario["hosts"][0], "slots": 10000, "turns": [], "joins_ms": 0}
        hosts = [{**host, "port": port} for port in sorted({caller["port"] for caller in scenario["callers"]})]
        return {**scenario, "hosts": hosts}

    def start(self, _place):
        return []


class Ours:
    """The sidecar on its defaults; `policy` only where a row asks for less than them."""

    def __init__(self, workers=1, policy=None):
        self.workers, self.policy = workers, policy

    def start(self, place):
        words = [BINARY, "sidecar", "--to", ",".join(f"127.0.0.1:{port}" for port in place.hosts), "--threads", self.workers]
        if self.policy:
            words += ["--policy", write(place, "policy.yaml", self.policy)]
        return [start([*words, "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{port + 1}"], place.folder / f"ours-{port}.log", place.core)
                for port in place.listens]


class Fleet:
    """A control plane and the callers' sidecars on their defaults; hosts register through sidecars of their own, which
    stand before them, or without `inbound` through one that speaks for all of a zone."""

    def __init__(self, workers=1, inbound=True, policy=None):
        self.workers, self.inbound, self.policy = workers, inbound, policy

    def urls(self, place, _name):
        """Where the sidecar of that name finds its control planes."""
        return [f"http://127.0.0.1:{place.control}"]

    def config(self, place, name, text):
        text += f'node: {name}\nstate: {place.folder / name}.state\ncontrol: {{ urls: {json.dumps(self.urls(place, name))} }}\n'
        return write(place, f"{name}.yaml", text)

    def control(self, place, port, name="control"):
        """A control plane, on that port and the next."""
        text = f"listen: 127.0.0.1:{port}\nadmin: 127.0.0.1:{port + 1}\ndata: {place.folder / name}.data\n"
        place.running[name] = start([BINARY, "control-plane", "--config", write(place, f"{name}.yaml", text)], place.folder / f"{name}.log", None)
        answers(port)
        return place.running[name]

    def provider(self, place, numbers):
        """The sidecar of these hosts."""
        first = numbers[0]
        apps = [(place.hosts[number], f"127.0.0.1:{place.inbound + number}" if self.inbound else '"off"') for number in numbers]
        return self.beside(place, f"host-{first}", place.inbound + 100 + first, apps, zone(place.scenario["hosts"][first]))

    def beside(self, place, name, admin, apps, more=""):
        """A sidecar that registers apps by their ports, and where it takes what is for them."""
        text = f'outbound: {{ listen: "off" }}\nadmin: {{ listen: 127.0.0.1:{admin} }}\n{more}apps:\n'
        for port, inbound in apps:
            text += f"- {{ service: app, app: 127.0.0.1:{port}, inbound: {inbound}, allow_loopback: true, check_every: 500ms }}\n"
        return start([BINARY, "sidecar", "--config", self.config(place, name, text)], place.folder / f"{name}.log", None)

    def caller(self, place, port):
        """The sidecar of the callers that use that port."""
        caller = next(caller for caller in place.scenario["callers"] if caller["port"] == port)
        text = (f'outbound: {{ listen: "off" }}\nthreads: {self.workers}\nservices: {{ app: {{ listen: 127.0.0.1:{port} }} }}\n'
                f"admin: {{ listen: 127.0.0.1:{port + 1} }}\n{zone(caller)}")
        words = [BINARY, "sidecar", "--config", self.config(place, f"caller-{port}", text)]
        place.running[port] = start(words, place.folder / f"ours-{port}.log", place.core)
        return place.running[port]

    def together(self, place):
        """The hosts that are there from the start, by whose sidecar is theirs."""
        here = [number for number in range(len(place.hosts)) if number not in place.late]
        if self.inbound:
            return [[number] for number in here]
        zones = {}
        for number in here:
            zones.setdefault(place.scenario["hosts"][number].get("zone"), []).append(number)
        return list(zones.values())

    def start(self, place):
        started, together = [self.control(place, place.control)], self.together(place)
        started += [self.provider(place, numbers) for numbers in together]
        # To a caller's sidecar that is there before it, a host is a newcomer and ramps.
        here = all(shows(place.inbound + 100 + numbers[0], "outrigger_registered_instances", len(numbers)) for numbers in together)
        started += [self.caller(place, port) for port in place.listens]
        wanted = len(place.hosts) - len(place.late)
        if not here or not all(listed(port + 1, wanted) for port in place.listens):
            [stop(process) for process in started]
            raise RuntimeError(f"a sidecar does not know its {wanted} hosts")
        if self.policy:
            words = [BINARY, "apply", "-f", write(place, "policy.yaml", self.policy), "--control", f"http://127.0.0.1:{place.control + 1}"]
            subprocess.run(list(map(str, words)), check=True, timeout=30, stdout=subprocess.DEVNULL)
        return started

    def join(self, place, started, number):
        """One more host comes, with its sidecar."""
        started.append(self.provider(place, [number]))


def zone(of):
    """The line that says where a caller or a host stands."""
    return f"zone: {of['zone']}\n" if of.get("zone") else ""


def write(place, name, text):
    path = place.folder / name
    path.write_text(text)
    return path


def listed(admin, wanted, seconds=30, state="ready"):
    """Waits until the sidecar behind `admin` has so many endpoints in a state."""
    return shows(admin, rf'outrigger_endpoints\{{[^}}]*state="{state}"\}}', wanted, seconds)


def shows(admin, what, wanted, seconds=30):
    """Waits until what is measured behind `admin` is so much."""
    def so():
        found = re.search(rf"^{what} (\d+)", got(f"http://127.0.0.1:{admin}/metrics"), re.M)
        return found and int(found[1]) >= wanted
    return until(so, seconds, 0.1)


class Envoy:
    """Envoy 1.40: cluster settings by name, and a route's retry policy."""

    def __init__(self, cluster=None, route=None, workers=1, runtime=None, filters=()):
        self.cluster, self.route, self.workers, self.runtime, self.filters = cluster or {}, route or {}, workers, runtime, filters

    def config(self, place, listen):
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
            "http_filters": [*self.filters, {"name": "router", "typed_config": {"@type": TYPE + "filters.http.router.v3.Router"}}],
        }
        filters = [{"name": "http", "typed_config": manager}]
        config = {"static_resources": {"clusters": [cluster], "listeners": [
            {"name": "in", "address": address(listen), "filter_chains": [{"filters": filters}]}]}}
        if self.runtime:
            config["layered_runtime"] = {"layers": [{"name": "static", "static_layer": self.runtime}]}
        return config

    def start(self, place):
        return [self.caller(place, port) for port in place.listens]

    def caller(self, place, port):
        """The proxy of the callers that use that port."""
        words = ["envoy", "--concurrency", self.workers, "--log-level", "error", "--disable-hot-restart"]
        words += ["-c", write(place, f"envoy-{port}.json", json.dumps(self.config(place, port)))]
        place.running[port] = start(words, place.folder / f"envoy-{port}.log", place.core)
        return place.running[port]


class HAProxy:
    """Debian's HAProxy: lines for its backend, and for each of its servers."""

    def __init__(self, backend, server="", workers=1):
        self.backend, self.server, self.workers = backend, server, workers

    def start(self, place):
        return [self.caller(place, port) for port in place.listens]

    def caller(self, place, port):
        """The proxy of the callers that use that port."""
        words = ["haproxy", "-db", "-f", write(place, f"haproxy-{port}.cfg", self.config(place, port))]
        place.running[port] = start(words, place.folder / f"haproxy-{port}.log", place.core)
        return place.running[port]

    def config(self, place, listen):
        lines = ["global", f" nbthread {self.workers}", " maxconn 20000", " no strict-limits", "defaults", " mode http",
                 " timeout connect 1s", " timeout client 60s", " timeout server 15s", " http-reuse always",
                 "frontend in", f" bind 127.0.0.1:{listen}", " default_backend app", "backend app"]
        lines += [f" {line}" for line in self.backend]
        lines += [f" server s{n} 127.0.0.1:{port} {self.server}" for n, port in enumerate(place.hosts)]
        return "\n".join(lines) + "\n"
