"""The rows of the resilience goals over real sockets and in the simulator; prints a table and says what falls short.

Every arm meets the same callers, hosts and seeds. Arms stand beside each other as long as the machine has room for
their load; a run in which requests left late is done again alone, and fails the bench when that does not help.
"""
import argparse
import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from arms import STARTED, TOOLS, Direct, answers, end_all, listens_at, stop
from calm import calm
from figures import Story, median
from grid import grid
from vary import vary

WORLD = TOOLS / "resilience-world"
# Every module beside this one that holds rows, `rows.py` first.
MODULES = sorted(path.stem for path in Path(__file__).parent.glob("rows*.py"))
ROWS = {row.name: row for module in MODULES for row in importlib.import_module(module).ROWS}
# Requests per second that the machine carries in all without being what is measured, and how late they may leave.
ROOM, LATE = 2800, 0.015
PORTS = 20000


@dataclass
class Place:
    """Where one run's hosts, proxy and files are."""

    listens: list  # the port of each proxy that is there from the start; the one above it is its admin face
    hosts: list
    late: list  # the places of hosts that join later
    inbound: int  # where hosts' own sidecars listen, from this port on
    control: int
    folder: Path
    core: str
    scenario: dict
    running: dict = field(default_factory=dict)  # the process of each proxy, by its port, and what else an arm must find again


def placed(scenario, seed, hosts, listens):
    """The scenario with its ports."""
    scenario = dict(scenario, seed=seed)
    for host, port in zip(scenario["hosts"], hosts):
        host["port"] = port
    for number, caller in enumerate(scenario["callers"]):
        caller["port"] = listens + 2 * caller.pop("sidecar", number)
    return scenario


def simulated(scenario, seed, policy, reports=False):
    scenario = dict(placed(scenario, seed, range(PORTS, PORTS + 1000), 1), policy=policy, reports=reports)
    return Story(world(["--simulate"], scenario), scenario)


def world(words, scenario):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(scenario, file)
        file.flush()
        done = subprocess.run([WORLD, *words, file.name], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"the world failed: {done.stderr}")
    return json.loads(done.stdout)


def measure(row, arm, seed, number, folder):
    """One run over sockets."""
    base = PORTS + 400 * number
    scenario = row.scenario()
    ports = list(range(base, base + len(scenario["hosts"])))
    late = [n for n, host in enumerate(scenario["hosts"]) if host.get("joins_ms")]
    scenario = placed(scenario, seed, ports, base + 80)
    listens = sorted({caller["port"] for caller in scenario["callers"] if not caller.get("from_ms")})
    if isinstance(arm, Direct):
        scenario, late = arm.instead(scenario), []
    folder = folder / str(number)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    place = Place(listens, ports, late, base + 100, base + 300, folder, os.environ.get("RESILIENCE_PROXY_CORE", "0"), scenario)
    (folder / "world.json").write_text(json.dumps(scenario))
    words = ["taskset", "-c", "1", str(WORLD), str(folder / "world.json")]
    app = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    STARTED.append(app)
    started = []
    try:
        # A host that is not there yet refuses, and a proxy that goes by what hosts do would begin without it.
        if not all(listens_at(host["port"]) for host in scenario["hosts"]):
            raise RuntimeError(f"{row.name}: a host does not listen")
        started = arm.start(place)
        if not all(answers(port) for port in listens):
            logs = "".join(log.read_text(errors="replace")[-2000:] for log in folder.glob("*.log"))
            raise RuntimeError(f"{row.name}: an arm does not answer:\n{logs}")
        app.stdin.write("go\n")
        app.stdin.flush()
        joins = [(scenario["hosts"][n]["joins_ms"] / 1e3, "join", n) for n in late]
        deeds = [] if isinstance(arm, Direct) else row.deeds
        failed = []

        def do(verb, words):
            try:
                getattr(arm, verb)(place, started, *words)
            except Exception as why:  # told below: a deed left undone fails the bench
                failed.append(why)

        timers = [threading.Timer(at, do, (verb, words)) for at, verb, *words in joins + deeds]
        [timer.start() for timer in timers]
        told, why = app.communicate(timeout=scenario["millis"] / 1e3 + 60)
        [timer.join() for timer in timers]
        if failed:
            raise RuntimeError(f"{row.name}: {failed}")
        if app.returncode:
            raise RuntimeError(f"{row.name}: the world failed: {why}")
        return Story(json.loads(told), scenario)
    finally:
        app.kill()
        for process in started:
            stop(process)


def all_runs(row, arms, seeds, folder):
    """Each arm with each seed, in batches that the machine has room for."""
    rate = sum(caller["rate"] for caller in row.scenario()["callers"])
    todo, size = [(name, seed) for seed in seeds for name in arms], max(1, int(ROOM / rate))
    told = {name: [] for name in arms}
    while todo:
        batch, todo = todo[:size], todo[size:]
        found = {}

        def one(number, name, seed):
            try:
                found[name, seed] = measure(row, arms[name], seed, number, folder)
            except Exception as why:  # told below; a missing arm fails the bench
                found[name, seed] = why

        threads = [threading.Thread(target=one, args=(number, *job)) for number, job in enumerate(batch)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        for job in batch:
            if isinstance(found[job], Exception):
                raise SystemExit(f"{row.name}, {job[0]}, seed {job[1]}: {found[job]}")
            if found[job].late > LATE:
                if len(batch) == 1:
                    raise SystemExit(f"{row.name}, {job[0]}: requests left {found[job].late * 1e3:.0f} ms late; the machine is too busy")
                one(0, *job)
                if isinstance(found[job], Exception) or found[job].late > LATE:
                    raise SystemExit(f"{row.name}, {job[0]}: could not be measured again: {found[job]}")
            told[job[0]].append(found[job])
    return told


def judge(row, told):
    """Prints the row; how many goals of ours were missed."""
    missed = []
    told = {name: stories for name, stories in told.items() if name != "direct"}
    peers = [name for name in told if name in row.peers]
    for goal in row.goals:
        found = {name: median(stories, goal.figure) for name, stories in told.items()}
        bound = goal.bound({name: found[name][0] for name in peers})
        show = lambda f: f"{f[0]:.{goal.digits}f}" + (f" ({f[1]:.{goal.digits}f}–{f[2]:.{goal.digits}f})" if f[1] != f[2] else "")
        own = [name for name in told if name not in row.peers]
        bad = [name for name in own if not goal.met(found[name][0], bound)]
        missed += [f"{row.name}: {goal.what}, {name}" for name in bad]
        cells = [f"{name} {show(found[name])}" for name in peers]
        ours = " · ".join(f"{name} **{show(found[name])}**" for name in own)
        goal_said = "–" if bound is None else f"{'≥' if goal.least else '≤'} {bound:.{goal.digits}f}"
        verdict = "not judged" if bound is None else "missed" if bad else "met"
        print(f"| {row.name}: {goal.what} | {ours} | {goal_said} | {verdict} | {'; '.join(cells)} |", flush=True)
    return missed


def agree(row, told):
    """Prints whether the simulator told the same as sockets: the 99th percentile and the errors of each arm of ours within
    10 % of each other, or within what the seeds differ by. Where every answer takes equally long the percentile is what
    timers and the processor make of it, so what they add without a proxy is taken off."""
    missed, p99 = [], lambda s: s.percentile(0.99)
    floor = median(told["direct"], p99)[0] - row.work() if "direct" in told else 0.0
    over = f"p99 less {floor:.2f} of the bench's, ms" if floor else "p99, ms"
    figures = [(over, lambda s: p99(s) - floor), ("err %", lambda s: s.error_share())]
    for name in [name for name in told if name.startswith("ours")]:
        simulated = told.get("simulated ⇄" if "⇄" in name else "simulated")
        for what, figure in figures if simulated else []:
            told_by_it, least, most = median(simulated, p99 if figure is figures[0][1] else figure)
            real, low, high = median(told[name], figure)
            near = abs(real - told_by_it) <= 0.1 * real or (least <= high and low <= most)
            missed += [] if near else [f"{row.name}: simulator against sockets, {what}, {name}"]
            spread = f"{real:.2f} ({low:.2f}–{high:.2f}) · simulated {told_by_it:.2f} ({least:.2f}–{most:.2f})"
            print(f"| {row.name}: {what}, {name} | {spread} | 10 % or the spread | {'met' if near else 'missed'} | |", flush=True)
    return missed


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--row", "--rows", default=",".join(ROWS), help="; ".join(f"{row.name}: {row.about}" for row in ROWS.values()).replace("%", "%%"))
    ask.add_argument("--seeds", type=int, default=3)
    ask.add_argument("--workers", default="1,4", help="how many workers ours has, one arm each")
    ask.add_argument("--arm", default="", help="only arms whose name has this in it; goals against others are not judged then")
    ask.add_argument("--needed", action="store_true", help="of the peers only those that a goal is held against")
    ask.add_argument("--simulate", action="store_true", help="only the simulator")
    ask.add_argument("--vary", action="store_true", help="other parameters than the rows', in the simulator only")
    ask.add_argument("--calm", action="store_true", help="what found caps refuse where there is room for all, in the simulator only")
    ask.add_argument("--grid", action="store_true", help="which triggers at what load leave an outage behind, with and without guard and cap, in the simulator; draws docs/metastable.svg")
    ask.add_argument("--quick", action="store_true", help="one seed, one worker")
    said = ask.parse_args()
    # Whoever ends the bench ends what it started.
    signal.signal(signal.SIGTERM, end_all)
    rows, workers = said.row.split(","), [int(n) for n in said.workers.split(",")]
    if unknown := [name for name in rows if name not in ROWS]:
        ask.error(f"unknown: {', '.join(unknown)}")
    if said.quick:
        said.seeds, workers = 1, workers[:1]
    seeds, missed = range(1, said.seeds + 1), []
    if said.vary:
        sys.exit(bool(vary(simulated, seeds)))
    if said.calm:
        sys.exit(bool(calm(simulated, seeds)))
    if said.grid:
        sys.exit(bool(grid(simulated, seeds, "docs/metastable.svg")))
    folder = Path(tempfile.mkdtemp(prefix="resilience-"))
    print("| row: figure | ours | goal | | peers in the same run |\n|---|---|---|---|---|", flush=True)
    try:
        for name in rows:
            row, began = ROWS[name], time.monotonic()
            ways = [("simulated", False), ("simulated ⇄", True)][:1 + row.providers] if row.simulated else []
            told = {label: [simulated(row.scenario(), seed, row.policy, reports) for seed in seeds] for label, reports in ways}
            if not said.simulate:
                left_out = set(row.peers) - row.measures() if said.needed else set()
                arms = {label: arm for label, arm in row.arms(workers).items() if said.arm in label and label not in left_out}
                told = {**all_runs(row, arms, seeds, folder), **told}
            missed += judge(row, told) + agree(row, told)
            print(f"{name} took {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print("\n" + (f"falls short: {'; '.join(missed)}" if missed else "every goal met"))
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
