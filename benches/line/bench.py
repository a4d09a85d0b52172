"""The processes of the bench, where they stand, and what the kernel says they used."""
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path

from arms import ARMS, CANNOT, Layout, h2_app, tls_app
from loads import TOOLS

BINARY = Path(os.environ.get("LINE_BINARY", TOOLS / "outrigger")).resolve()
TICK = os.sysconf("SC_CLK_TCK")
WAYS = ("plain", "features", "tls", "mtls", "h2c", "h2up", "tcp")
SPEAK_HTTP1 = ("plain", "features", "tls", "mtls", "h2up")

# ---- what the kernel says ----


def family(pid):
    """`pid` and its descendants."""
    children = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
            except OSError:
                continue
            children.setdefault(int(stat.rsplit(")", 1)[1].split()[1]), []).append(int(folder.name))
    found, todo = [], [pid]
    while todo:
        found.append(todo.pop())
        todo += children.get(found[-1], [])
    return found


def over(pids, read):
    """`read(pid)` of each process that still is."""
    for pid in pids:
        try:
            yield read(pid)
        except OSError:
            pass


def cpu(pids):
    """Seconds of CPU: (user, system)."""
    fields = list(over(pids, lambda pid: Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()))
    return sum(int(f[11]) for f in fields) / TICK, sum(int(f[12]) for f in fields) / TICK


def ran(pids):
    """Seconds that all threads ran, to the nanosecond: ticks count wrongly what happens at their own beat."""
    def one(pid):
        return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())
    return sum(over(pids, one)) / 1e9


def busy():
    """Seconds that the whole machine worked or that were taken from it."""
    values = [int(word) / TICK for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return values[0] + values[1] + values[2] + values[5] + values[6] + values[7]


def switches(pids):
    """Context switches of all threads."""
    def one(pid):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int(n) for task in tasks for n in re.findall(r"ctxt_switches:\s+(\d+)", (task / "status").read_text()))
    return sum(over(pids, one))


def resident(pids):
    """kB, pages shared with others counted by their share."""
    return sum(over(pids, lambda pid: int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])))


# ---- processes ----


def free_ports(count):
    """Ports that nobody listens on, each another one."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def request(port, trust=None):
    """One connection that was answered once, and well. Closed by whoever asked."""
    stream = socket.create_connection(("127.0.0.1", port), 5)
    try:
        if trust:
            stream = trust.wrap_socket(stream, server_hostname="localhost")
        stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        if not stream.recv(4096).startswith(b"HTTP/1.1 200"):
            raise OSError("not answered with 200")
    except OSError:
        stream.close()
        raise
    return stream


def answers(port, seconds, trust=None):
    """Waits until a request to `port` is answered well."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            request(port, trust).close()
            return True
        except OSError:
            time.sleep(0.02)
    return False


def spawn(core, words, log):
    with open(log, "wb") as out:
        return subprocess.Popen(["taskset", "-c", core, *words], stdout=out, stderr=out, start_new_session=True)


def end(process):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(5)
            return
        except (ProcessLookupError, subprocess.TimeoutExpired):
            continue


class Arm:
    """One proxy with one worker, on core 0."""

    def __init__(self, bench, name, under, services):
        self.name, self.ways = name, dict(zip(WAYS, free_ports(len(WAYS))))
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=bench.folder))
        os.chmod(folder, 0o777)
        for pem in ("cert.pem", "key.pem"):
            shutil.copy(bench.folder / pem, folder)
        words = ARMS[name](Layout(folder, BINARY, self.ways, bench.apps, bench.tls_apps, bench.h2_apps, services))
        if name in ("outrigger", "floor"):
            # One way in speaks both and has every feature, or none: others need two.
            self.ways["features"] = self.ways["h2c"] = self.ways["plain"]
        self.process = spawn("0", [*under, *words], folder / "log")
        for way in (way for way in SPEAK_HTTP1 if way not in CANNOT.get(name, ())):
            if not answers(self.ways[way], 120 if under else 20, bench.trust if way == "tls" else None):
                self.stop()
                raise SystemExit(f"{name} does not answer on its {way} way in:\n{(folder / 'log').read_text()[-2000:]}")
        self.pids = family(self.process.pid)

    def stop(self):
        end(self.process)


class Bench:
    """The apps on core 1, and the arms asked for."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="line-"))
        os.chmod(self.folder, 0o777)
        self.running = []
        self.certify()
        ports = [f"127.0.0.1:{port}" for port in free_ports(9)]
        self.apps, self.tls_apps, self.h2_apps = ports[:3], ports[3:6], ports[6:]
        self.running.append(spawn("1", [str(TOOLS / "line-backend"), *self.apps], self.folder / "app.log"))
        os.chmod(self.folder / "key.pem", 0o644)
        layout = Layout(self.folder, BINARY, {}, [], self.tls_apps, self.h2_apps)
        self.running.append(spawn("1", tls_app(layout), self.folder / "tls-app.log"))
        self.running.append(spawn("1", h2_app(layout), self.folder / "h2-app.log"))
        self.trust = ssl.create_default_context(cafile=self.folder / "cert.pem")
        if not all(answers(int(at.split(":")[1]), 10) for at in self.apps):
            raise SystemExit(f"the app did not start: {(self.folder / 'app.log').read_text()}")

    def certify(self):
        """One pair for everybody, which vouches for itself."""
        words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                 "-keyout", self.folder / "key.pem", "-out", self.folder / "cert.pem", "-subj", "/CN=localhost",
                 "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        subprocess.run(words, check=True, capture_output=True)

    def arm(self, name, under=(), services=None):
        arm = Arm(self, name, under, services or {})
        self.running.append(arm.process)
        return arm

    def others(self):
        """Seconds of CPU so far that neither the bench nor what it started used, the load among it."""
        running = sum(sum(cpu(family(process.pid))) for process in self.running)
        return busy() - running - sum(os.times()[:4])

    def close(self):
        for process in self.running:
            end(process)
        shutil.rmtree(self.folder, ignore_errors=True)
