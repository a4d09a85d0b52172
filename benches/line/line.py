"""What a hop costs: the rows of the project's goals, each a ratio within one interleaved run, or a count.

The arms stand on core 0 with one worker each, the apps and the load on core 1. A round measures each arm once, the
next in the opposite order. Cells are medians, ratios are medians of the rounds' ratios; a measurement during which
others used the machine is made again, at most twice.
"""
import argparse
import signal
import statistics
import sys
import time
import tomllib

import counts
from arms import ARMS, can
from bench import Bench, cpu
from branches import branches
from changes import changes
from first_byte import first_byte
from layout import layout
from loads import HERE, ROWS, load

# Cores that others may use during a measurement before it is made again.
NOISE = 0.15


def words():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--rows", default=",".join(ROWS), help="letters: " + ", ".join(f"{k} {row.what}" for k, row in ROWS.items()))
    ask.add_argument("--only", default=",".join(ARMS), help="arms: " + ", ".join(ARMS))
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--seconds", type=int, default=3)
    mode = ask.add_mutually_exclusive_group()
    mode.add_argument("--insn", action="store_true", help="user instructions and allocations per request (callgrind)")
    mode.add_argument("--syscalls", action="store_true", help="system calls per request (perf, or strace without it)")
    mode.add_argument("--rss", action="store_true", help="memory at start, and with 10,000 idle connections")
    mode.add_argument("--wakeups", action="store_true", help="context switches per request near idle")
    mode.add_argument("--growth", action="store_true", help="ours with 1,000 services × 100 endpoints against ours with one")
    mode.add_argument("--changes", action="store_true", help="ours while lists change: what holds a worker up, and what it costs")
    mode.add_argument("--layout", action="store_true", help="writes src/order.txt anew: what every start and request of ours runs")
    mode.add_argument("--profile", action="store_true", help="writes src/profile.profdata anew: which branches requests of ours take")
    mode.add_argument("--start", action="store_true", help="ours, from exec to the first answer")
    mode.add_argument("--check", action="store_true", help="ours against ceilings.toml; fails above one")
    said = ask.parse_args()
    said.rows, said.only = said.rows.split(","), said.only.split(",")
    unknown = [s for s in said.rows if s not in ROWS] + [a for a in said.only if a not in ARMS]
    if unknown:
        ask.error(f"unknown: {', '.join(unknown)}")
    return said


def measure(bench, letter, arm, seconds):
    """CPU microseconds per request: (user, system)."""
    best = None
    for _ in range(3):
        load(letter, arm, 1)
        start, strange, before = time.time(), bench.others(), cpu(arm.pids)
        found = load(letter, arm, seconds)
        cost = [(now - then) / found["requests"] * 1e6 for now, then in zip(cpu(arm.pids), before)]
        others = (bench.others() - strange) / (time.time() - start)
        if best is None or others < best[0]:
            best = (others, cost)
        if others < NOISE:
            break
    return best[1]


def table(bench, said):
    """CPU per request, paired and interleaved."""
    arms = [bench.arm(name) for name in said.only]
    print("CPU µs per request, user + system; ratios within a round\n")
    print("| row | " + " | ".join(said.only) + " | ÷ HAProxy | goal | ÷ Envoy | goal | floor ÷ HAProxy |")
    print("|---" * (len(arms) + 6) + "|")
    missed = rows = 0
    for letter in said.rows:
        row, cost = ROWS[letter], {arm.name: [] for arm in arms}
        able = [arm for arm in arms if can(arm.name, row, letter)]
        for turn in range(said.rounds):
            for arm in able[:: 1 if turn % 2 == 0 else -1]:
                cost[arm.name].append(measure(bench, letter, arm, said.seconds))
        middle = lambda name, part: statistics.median(pair[part] for pair in cost[name])
        total = lambda name: statistics.median(map(sum, cost[name]))
        cells = [f"{total(name):.1f} = {middle(name, 0):.1f} + {middle(name, 1):.1f}" if cost[name] else "–" for name in said.only]
        def ratio(name, peer):
            if cost.get(name) and cost.get(peer):
                return statistics.median(sum(its) / sum(theirs) for its, theirs in zip(cost[name], cost[peer]))

        for peer, goal in (("haproxy", row.goal), ("envoy", row.envoy_goal)):
            found = ratio("outrigger", peer)
            if not found:
                cells += ["–", "–"]
                continue
            met = goal is None or found <= goal
            rows, missed = rows + (goal is not None), missed + (not met)
            cells += [f"{found:.2f}", "–" if goal is None else f"≤ {goal:.2f} {'met' if met else 'missed'}"]
        floor = ratio("floor", "haproxy")
        cells.append(f"{floor:.2f}" if floor else "–")
        print(f"| {letter} {row.what} | " + " | ".join(cells) + " |", flush=True)
    print(f"\n{missed} of {rows} goals missed")


def main():
    said = words()
    # Whoever ends the bench ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    bench = Bench()
    try:
        if said.check:
            counts.check(bench, tomllib.loads((HERE / "ceilings.toml").read_text()))
        elif said.rss:
            counts.memory(bench, said.only)
        elif said.wakeups:
            counts.wakeups(bench, said.only, said.rounds, said.seconds)
        elif said.growth:
            counts.growth(bench, said.rounds, said.seconds)
        elif said.changes:
            changes(bench)
        elif said.layout:
            layout(bench)
        elif said.profile:
            branches(bench)
        elif said.start:
            first_byte(bench)
        elif said.insn:
            told = "{:,.0f} user instructions, {:.2f} allocations".format
            each(said, lambda name, letter: told(*counts.instructions(bench, name, letter)))
        elif said.syscalls:
            arms = {name: bench.arm(name) for name in said.only}
            each(said, lambda name, letter: f"{counts.syscalls(arms[name], letter):.2f} system calls")
        else:
            table(bench, said)
    finally:
        bench.close()


def each(said, count):
    for letter in said.rows:
        for name in said.only:
            if can(name, ROWS[letter], letter):
                print(f"{letter} {ROWS[letter].what}, {name}: {count(name, letter)} per request", flush=True)


if __name__ == "__main__":
    main()
