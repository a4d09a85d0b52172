"""What a list that changes costs ours: how long it holds a worker up, and how much of a core a stream of changes takes.

A control plane of the bench's own (`line-control`) tells 1,000 services of 100 endpoints, and `app`. The sidecar times
each piece of news that a worker takes (`outrigger_worker_news_seconds`).
"""
import json
import re
import subprocess
import time
import urllib.request

from bench import BINARY, answers, end, family, free_ports, ran, spawn
from loads import TOOLS

SERVICES, ENDPOINTS = 1_000, 100
# A list of so many endpoints that comes and goes, so often.
MANY, TIMES = 1_000, 20
RATE, SECONDS = 100, 30
# Requests beside the changes, so that a worker has something else to do.
BESIDE = 2_000


class World:
    """A sidecar whose lists come from a control plane that does what it is told."""

    def __init__(self, bench, services):
        control, admin, self.way, self.port = free_ports(4)
        self.admin, apps = admin, [f"127.0.0.1:{self.port}"]
        bench.running.append(spawn("1", [str(TOOLS / "line-backend"), f"0.0.0.0:{self.port}"], bench.folder / "changing-app.log"))
        self.control = subprocess.Popen(
            ["taskset", "-c", "1", str(TOOLS / "line-control"), str(control), str(services), str(ENDPOINTS), *apps],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        bench.running.append(self.control)
        watched = {f"service-{n}": {} for n in range(1, services + 1)}
        file = {"threads": 1, "state": str(bench.folder / f"changing-{services}"), "outbound": {"listen": "off"},
                "admin": {"listen": f"127.0.0.1:{admin}"}, "control": {"urls": [f"http://127.0.0.1:{control}"]},
                "services": {"app": {"listen": f"127.0.0.1:{self.way}"}, **watched}}
        path = bench.folder / f"changing-{services}.yaml"
        path.write_text(json.dumps(file))
        self.process = spawn("0", [str(BINARY), "sidecar", "--config", str(path)], bench.folder / "changing.log")
        bench.running.append(self.process)
        if not answers(self.way, 120):
            raise SystemExit(f"no list arrived:\n{(bench.folder / 'changing.log').read_text()[-2000:]}")
        self.pids = family(self.process.pid)

    def order(self, words):
        """Has the lists changed; back once all was told."""
        self.control.stdin.write(f"{words}\n")
        self.control.stdin.flush()
        return int(self.control.stdout.readline())

    def taken(self):
        """News that the worker took so far: how many, how many in over a millisecond, and the seconds of all."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=60).read().decode()
        named = lambda what: float(re.search(rf"^outrigger_worker_news_seconds_{what} (\S+)$", text, re.M)[1])
        return named("count"), named("count") - named(r'bucket\{le="0.001"\}'), named("sum")

    def settled(self, told):
        """Waits until the worker took `told` more than it had."""
        until = time.time() + 60
        while self.taken()[0] < told:
            if time.time() > until:
                raise SystemExit("the worker did not take what was told")
            time.sleep(0.1)


def stalls(bench):
    """How long lists of a thousand hold a worker up that carries requests."""
    world = World(bench, 0)
    beside = lambda seconds: subprocess.Popen(
        ["taskset", "-c", "1", str(TOOLS / "line-open"), str(world.way), "16", str(BESIDE), str(seconds)],
        stdout=subprocess.PIPE, text=True)
    print(f"| a list changes, {BESIDE:,} requests/s beside | changes | µs each, on the worker | over 1 ms | p99 of the requests, µs |\n|---|---|---|---|---|")
    for what, orders in {
        "nothing": [],
        f"{MANY:,} endpoints join, and leave": [f"join {MANY}", f"leave {MANY}"] * (TIMES // 2),
        f"one of {MANY:,} leaves, or is back": ["one 1 1"] * TIMES,
    }.items():
        if "one" in what and orders:
            world.order(f"join {MANY}")
            time.sleep(1)
        load = beside(6)
        time.sleep(0.5)
        before = world.taken()
        for order in orders:
            world.order(order)
            time.sleep(0.2 if "one" not in order else 0)
        world.settled(before[0] + len(orders))
        count, slow, seconds = (now - then for now, then in zip(world.taken(), before))
        p99 = json.loads(load.communicate()[0])["p99"]
        print(f"| {what} | {count:.0f} | {seconds / max(count, 1) * 1e6:.0f} | {slow:.0f} | {p99:,} |", flush=True)
    end(world.process)


def steady(bench):
    """What a hundred changes a second cost."""
    world = World(bench, SERVICES)
    world.settled(SERVICES + 1)
    time.sleep(3)

    def used(order):
        before = ran(world.pids)
        world.order(order) if order else time.sleep(SECONDS)
        time.sleep(1)
        return (ran(world.pids) - before) / SECONDS

    idle = used(None)
    print(f"\nno changes, {SERVICES:,} services × {ENDPOINTS} endpoints: {idle:.1%} of a core")
    for what, order in {f"of {SERVICES:,} services × {ENDPOINTS} endpoints, in turn": "each", f"of one list of {MANY:,}": "one"}.items():
        if order == "one":
            world.order(f"join {MANY}")
            time.sleep(2)
        print(f"{RATE} changes/s {what}: {used(f'{order} {RATE} {SECONDS}') - idle:.1%} of a core more (goal ≤ 3 %)", flush=True)
    end(world.process)


def changes(bench):
    stalls(bench)
    steady(bench)
