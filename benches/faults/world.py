"""Three backends, one arm before them, and what the kernel says of both."""
import asyncio
import collections
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICK = os.sysconf("SC_CLK_TCK")
ARMS = ["outrigger", "haproxy", "nginx"]


def free_ports(count):
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def listens(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def until(what, look, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.02)
    raise SystemExit(f"not so after {seconds} s: {what}")


class Backend:
    """A backend's process, which may end and come again."""

    def __init__(self, name, port, folder):
        self.name, self.port, self.log, self.process = name, port, folder / f"{name}.log", None
        self.start()

    def start(self):
        command = [sys.executable, str(HERE / "backend.py"), str(self.port), str(self.log)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.process.stdout.readline()

    def be(self, mode):
        self.process.stdin.write(mode.encode() + b"\n")
        self.process.stdin.flush()
        self.process.stdout.readline()

    def send(self, number):
        self.process.send_signal(number)

    def end(self, number=signal.SIGKILL):
        self.send(number)
        self.process.wait()

    def executed(self):
        """Each request that it began to execute, checks apart."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if not line.endswith("/healthz")]


class World:
    """One arm for one scenario."""

    def __init__(self, arm, binary):
        self.arm, self.binary = arm, binary
        self.folder = Path(tempfile.mkdtemp(prefix="faults-"))
        os.chmod(self.folder, 0o777)
        *ports, self.entry, self.admin, self.control, self.operators = free_ports(7)
        self.backends = [Backend(name, port, self.folder) for name, port in zip("abc", ports)]
        self.others, self.proxy, self.successor = [], None, None

    def start(self, command=None, wait=True):
        """Starts the arm; by its ordinary command when there is none."""
        log = open(self.folder / f"{self.arm}.log", "ab")
        self.proxy = subprocess.Popen(command or self.ordinary(), stdout=log, stderr=log, cwd=self.folder)
        if wait:
            until(f"{self.arm} listens:\n{self.told()[-800:]}", lambda: listens(self.entry))
            # Pools are empty and checks have run once.
            time.sleep(0.6)
        return self

    def ordinary(self):
        words = dict(entry=self.entry, admin=self.admin, folder=self.folder, **{b.name: b.port for b in self.backends})
        if self.arm == "outrigger":
            to = ",".join(f"127.0.0.1:{backend.port}" for backend in self.backends)
            return [self.binary, "sidecar", "--listen", f"127.0.0.1:{self.entry}", "--to", to, "--admin", f"127.0.0.1:{self.admin}",
                    "--policy", str(HERE / "arms/policy.yaml")]
        name = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}[self.arm]
        text = re.sub(r"@(\w+)@", lambda m: str(words[m[1]]), (HERE / "arms" / name).read_text())
        (self.folder / name).write_text(text)
        return {"haproxy": ["haproxy", "-db", "-f"], "nginx": ["nginx", "-c"]}[self.arm] + [str(self.folder / name)]

    def run(self, command, name):
        """Another process of ours, ended with the world."""
        log = open(self.folder / f"{name}.log", "ab")
        self.others.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder))
        return self.others[-1]

    def told(self):
        file = self.folder / f"{self.arm}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    def upgrade(self):
        """Has another process take over."""
        old = self.successor or self.proxy.pid
        os.kill(old, signal.SIGUSR2)
        children = lambda: " ".join(task.read_text() for task in Path(f"/proc/{old}/task").glob("*/children")).split()
        self.successor = int(until("another process takes over", children)[-1])

    def family(self):
        """The arm's processes."""
        found = [self.successor or self.proxy.pid]
        for pid in found:
            try:
                found += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
            except OSError:
                pass
        return found

    def cpu(self):
        """Seconds of processor time."""
        total = 0
        for pid in self.family():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += (int(fields[11]) + int(fields[12])) / TICK
        return total

    def resident(self):
        """MB."""
        return sum(int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) for pid in self.family()) / 1000

    def executed(self):
        return [line for backend in self.backends for line in backend.executed()]

    def twice(self):
        """POSTs that more than one backend, or one of them more than once, began to execute."""
        counts = collections.Counter(line for line in self.executed() if line.startswith("POST"))
        return sum(1 for count in counts.values() if count > 1)

    def close(self):
        for process in [self.proxy, *self.others, *(backend.process for backend in self.backends)]:
            if process and process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait()
        if self.successor:
            os.kill(self.successor, signal.SIGKILL)
        subprocess.run(["rm", "-rf", str(self.folder)], check=False)


async def call(function, *words):
    """What blocks, beside the load."""
    return await asyncio.get_running_loop().run_in_executor(None, function, *words)
