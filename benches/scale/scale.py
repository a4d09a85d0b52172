"""The control plane with a large fleet over real sockets: prints a table and says what falls short.

The control plane has one core and the fleet another. Every figure is what /proc says of the control plane's process or
what the fleet saw; the goals stand beside them.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

BINARY, LOAD = os.environ["SCALE_BINARY"], Path(os.environ["SCALE_TOOLS"]) / "scale-load"
MIB = 1024 * 1024
# The pacer's default budget in bytes a second, what it lets go at once, and what HTTP's framing adds.
BUDGET = 32 * MIB * 1.1 * 1.02
# Nobody waits longer for a start or an end.
PATIENCE = 60


class ControlPlane:
    """One control plane on its own core, with its data in a folder."""

    def __init__(self, folder):
        self.folder, self.process = folder, None

    def start(self):
        """Starts it; how long until it was ready."""
        began = time.monotonic()
        words = [BINARY, "control-plane", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", str(self.folder)]
        said = self.folder.with_suffix(".log")
        with said.open("w") as log:
            self.process = subprocess.Popen(["taskset", "-c", "0", *words], stderr=log)
        while not self.ready(said.read_text()):
            if self.process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise SystemExit(f"the control plane does not become ready: {said.read_text()[-2000:]}")
            time.sleep(0.005)
        return time.monotonic() - began

    def ready(self, said):
        address = re.search(r"control plane for nodes\s+http://(\S+)", said)
        if not address:
            return False
        self.listen = address.group(1)
        try:
            return urllib.request.urlopen(f"http://{self.listen}/readyz", timeout=PATIENCE).status == 200
        except urllib.error.URLError:
            return False

    def stop(self):
        self.process.terminate()
        self.process.wait(PATIENCE)

    def resident(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) * 1024


def load(phase, plane, *numbers):
    words = ["taskset", "-c", "1", str(LOAD), phase, plane.listen, str(plane.process.pid), *map(str, numbers)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise SystemExit(f"{phase}: {done.stderr}")
    told = json.loads(done.stdout)
    print(json.dumps(told), file=sys.stderr)
    return told


class Table:
    """Figures beside goals."""

    def __init__(self):
        self.missed = []
        print("| what | measured | goal | |\n|---|---|---|---|")

    def row(self, what, figure, goal, met):
        if not met:
            self.missed.append(what)
        print(f"| {what} | {figure} | {goal} | {'met' if met else 'missed'} |", flush=True)


def leases(table, folder, said):
    plane = ControlPlane(folder / "leases")
    plane.start()
    try:
        told = load("leases", plane, said.hosts, said.seconds)
        beats = told["beats"]
        resident = max(told["full"], told["after"]) / MIB
        table.row(f"resident with {told['instances']:,} instances of {said.hosts:,} hosts", f"{resident:.0f} MB", "≤ 120 MB", resident <= 120)
        rate = beats["renewals"] / beats["processor"]
        said_so = f"{rate:,.0f} ({beats['renewals'] / beats['seconds']:,.0f}/s on the wall)"
        table.row("lease renewals per second of one core", said_so, "≥ 40,000", rate >= 40_000)
        plane.stop()
        ready = plane.start()
        table.row("restart with the full snapshot until ready", f"{ready:.2f} s", "≤ 2 s", ready <= 2)
        table.row("resident after that restart", f"{plane.resident() / MIB:.0f} MB", "≤ 120 MB", plane.resident() / MIB <= 120)
    finally:
        plane.stop()


def watches(table, folder, said):
    plane = ControlPlane(folder / "watches")
    plane.start()
    try:
        told = load("watches", plane, said.hosts, said.watches, said.seconds)
    finally:
        plane.stop()
    held, storm, back = told["held"], told["storm"], told["reconnect"]
    table.row(f"resident for each of {held['watches']:,} held watches", f"{held['each'] / 1000:.1f} kB", "≤ 20 kB", held["each"] <= 20_000)
    worst = max(p99 for _, p99 in held["changes"])
    change = f"p99 {worst * 1e3:.0f} ms (worst of {len(held['changes'])}), {held['bytes_each']} B each, {held['whole']} whole"
    table.row("one change of 1,000 instances is with every watcher", change, "p99 ≤ 500 ms, as a difference", worst <= 0.5 and not held["whole"])
    bulk = told["bulk"]
    said, took = bulk["said"], bulk["took"]
    small = ", ".join(f"{one['said'] * 1e3:.0f} and {one['took'] * 1e3:.0f}" for one in held["forecasts"])
    pushed = f"{took:.2f} s, {said:.2f} forecast; of one change, in ms, forecast and taken: {small}"
    table.row(f"99 % of {bulk['followers']:,} are told of a push of {bulk['bytes'] / MIB:,.0f} MiB", pushed, "forecast within 20 %", abs(took - said) <= 0.2 * said)
    busiest = storm["busiest_second"]
    rate = storm["changes"] / storm["seconds"]
    table.row(f"storm of {rate:,.0f} changes/s: bytes in the busiest second", f"{busiest / MIB:.1f} MiB", f"≤ {BUDGET / MIB:.1f} MiB", busiest <= BUDGET)
    oldest, p99 = storm["oldest"]
    settled = storm["settled"]
    starved = f"oldest unheard change {oldest:.1f} s (p99 {p99:.1f} s), {storm['ended']} cut off, {storm['whole']} whole; all agree " + (
        f"{settled:.1f} s after it" if settled is not None else "never"
    )
    table.row("storm: no watcher starves", starved, "≤ 10 s, none cut off, all agree", oldest <= 10 and not storm["ended"] and settled is not None)
    behind = [(r, a) for r, a in zip(storm["removals"], storm["additions"]) if r[1] > a[1]]
    pairs = "; ".join(f"{r[1]:.2f} ≤ {a[1]:.2f}" for r, a in zip(storm["removals"], storm["additions"]))
    enough = min(len(storm["removals"]), len(storm["additions"])) > 0
    table.row("storm: p99 of a removal, of an addition made before it (s)", pairs, "never behind", enough and not behind)
    titles = "".join(f" ({title}: {count})" for title, count in back["refused"].items())
    refused = f"{sum(back['refused'].values())} told to come back{titles}, {back['refused_without_time']} without a time, {back['cut']} cut off; all held after {back['seconds']:.1f} s, agreed {back['settled']:.1f} s later"
    table.row(f"return of {back['watches']:,} in 10 s", refused, "0 without Retry-After", not back["refused_without_time"] and not back["cut"])
    whole = f"{back['whole']} of {back['differ']} that differ, {back['lines']} lists in all, {back['bytes'] / MIB:.0f} MiB"
    table.row("return: whole lists", whole, "only where digests differ", back["whole"] == back["differ"])


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--phase", default="leases,watches")
    ask.add_argument("--hosts", type=int, default=50_000, help="each has two instances")
    ask.add_argument("--watches", type=int, default=10_000)
    ask.add_argument("--seconds", type=int, default=20, help="of renewals, and of the storm")
    said = ask.parse_args()
    phases = {"leases": leases, "watches": watches}
    if unknown := [name for name in said.phase.split(",") if name not in phases]:
        ask.error(f"unknown: {', '.join(unknown)}")
    folder, table = Path(tempfile.mkdtemp(prefix="scale-")), Table()
    try:
        for name in said.phase.split(","):
            phases[name](table, folder, said)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n" + (f"falls short: {'; '.join(table.missed)}" if table.missed else "every goal met"))
    sys.exit(bool(table.missed))


if __name__ == "__main__":
    main()
