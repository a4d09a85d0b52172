"""The arms, the app behind them, the load, and what the kernel says they used."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = Path(os.environ.get("LINE_TOOLS", "target/release")).resolve()
BINARY = Path(os.environ.get("LINE_BINARY", TOOLS / "outrigger")).resolve()
TICK = os.sysconf("SC_CLK_TCK")
APPS = {"a": 19001, "b": 19002, "c": 19003}

# letter: what it is, which way in, its goal against HAProxy (PERFORMANCE.md)
SCENARIOS = {
    "a": ("GET 100 B, 64 connections", "plain", 0.85),
    "b": ("GET 10 kB, 64 connections", "plain", 0.78),
    "c": ("POST 10 kB, 64 connections", "plain", 0.95),
    "f": ("a new connection each", "plain", 0.95),
    "g": ("as a, features on", "features", 0.80),
    "o": ("open loop, 6,000/s", "plain", 0.80),
}

# Ours has every feature on always, so its two ways in are one.
ARMS = {
    "outrigger": ([str(BINARY), "sidecar", "--listen", "127.0.0.1:{plain}", "--to", "{to}", "--threads", "1"], None),
    "haproxy": (["haproxy", "-db", "-f", "{conf}"], "haproxy.cfg"),
    "nginx": (["nginx", "-c", "{conf}"], "nginx.conf"),
    "envoy": (["envoy", "-c", "{conf}", "--concurrency", "1", "--log-level", "error", "--disable-hot-restart"], "envoy.yaml"),
}


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


def stat(pids, read):
    """The sum of `read(pid)` over processes that still are."""
    total = 0
    for pid in pids:
        try:
            total += read(pid)
        except OSError:
            pass
    return total


def cpu(pids):
    """Seconds of CPU, user and system."""
    def one(pid):
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICK
    return stat(pids, one)


def switches(pids):
    """Context switches of all threads."""
    def one(pid):
        tasks = Path(f"/proc/{pid}/task").iterdir()
        return sum(int(n) for task in tasks for n in re.findall(r"ctxt_switches:\s+(\d+)", (task / "status").read_text()))
    return stat(pids, one)


def resident(pids):
    """kB, pages shared with others counted by their share."""
    return stat(pids, lambda pid: int(re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1]))


def answers(port, seconds):
    """Waits until a request to `port` is answered well."""
    end = time.time() + seconds
    while time.time() < end:
        try:
            with socket.create_connection(("127.0.0.1", port), 1) as stream:
                stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if stream.recv(4096).startswith(b"HTTP/1.1 200"):
                    return True
        except OSError:
            pass
        time.sleep(0.05)
    return False


class Arm:
    """One proxy on core 0 with one worker."""

    def __init__(self, name, folder, place, under=()):
        command, conf = ARMS[name]
        self.name, self.folder = name, folder
        words = dict(APPS, plain=19100 + 10 * place, features=19101 + 10 * place, folder=folder,
                     to=",".join(f"127.0.0.1:{port}" for port in APPS.values()))
        if name == "outrigger":
            words["features"] = words["plain"]
        if conf:
            text = re.sub(r"@(\w+)@", lambda m: str(words[m[1]]) if m[1] in words else m[0], (HERE / "arms" / conf).read_text())
            words["conf"] = folder / conf
            words["conf"].write_text(text)
        self.ports = {way: words[way] for way in ("plain", "features")}
        command = [word.format(**words) for word in command]
        log = open(folder / f"{name}.log", "wb")
        self.process = subprocess.Popen(["taskset", "-c", "0", *under, *command], stdout=log, stderr=log, start_new_session=True)
        for way, port in self.ports.items():
            if not answers(port, 120 if under else 20):
                self.stop()
                raise SystemExit(f"{name} does not answer on its {way} way in:\n{(folder / f'{name}.log').read_text()[-2000:]}")
        self.pids = family(self.process.pid)

    def stop(self):
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.process.pid, number)
                self.process.wait(5)
                return
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue


class Bench:
    """The app on core 1, and the arms asked for."""

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="line-"))
        os.chmod(self.folder, 0o777)
        command = ["taskset", "-c", "1", str(TOOLS / "line-backend"), *(f"127.0.0.1:{port}" for port in APPS.values())]
        self.app = subprocess.Popen(command, start_new_session=True)
        self.arms = []
        if not answers(APPS["c"], 10):
            raise SystemExit("the app did not start")

    def arm(self, name, under=()):
        self.arms.append(Arm(name, self.folder, list(ARMS).index(name), under))
        return self.arms[-1]

    def close(self):
        for arm in self.arms:
            arm.stop()
        self.app.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def command(scenario, arm, seconds):
    """What makes the load of `scenario`, and its environment."""
    port = arm.ports[SCENARIOS[scenario][1]]
    if scenario == "o":
        return [str(TOOLS / "line-open"), str(port), "64", "6000", str(seconds)], {}
    words = ["wrk", "-t1", "-c64", f"-d{seconds}s", "--timeout", "5s", "-s", str(HERE / "wrk.lua")]
    words += ["-H", "Connection: close"] if scenario == "f" else []
    path = "/10k" if scenario == "b" else "/"
    return [*words, f"http://127.0.0.1:{port}{path}"], ({"POST": "10240"} if scenario == "c" else {})


def load(scenario, arm, seconds, before=()):
    """Runs the load on core 1; how many requests were answered. A failed one fails the bench."""
    words, env = command(scenario, arm, seconds)
    done = subprocess.run([*before, "taskset", "-c", "1", *words], env=dict(os.environ, **env), capture_output=True, text=True)
    found = re.search(r"\{.*\}", done.stdout)
    if not found:
        raise SystemExit(f"{arm.name}, {scenario}: no result: {done.stdout[-300:]}{done.stderr[-300:]}")
    result = json.loads(found[0])
    if result["errors"] > result["requests"] / 1000 or not result["requests"]:
        raise SystemExit(f"{arm.name}, {scenario}: {result['errors']} of {result['requests']} failed")
    return result
