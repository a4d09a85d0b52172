"""What a hop costs: the figures of PERFORMANCE.md, each a ratio within one interleaved run or a count.

The arms stand on core 0 with one worker each, the app and the load on core 1. Every round measures each arm once,
the next round in the opposite order; cells are medians, ratios are medians of the rounds' ratios.
"""
import argparse
import re
import socket
import statistics
import subprocess
import time
import tomllib

from bench import ARMS, HERE, SCENARIOS, Bench, cpu, load, resident, switches


def words():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--scenario", default=",".join(SCENARIOS), help="letters: " + ", ".join(f"{k} {v[0]}" for k, v in SCENARIOS.items()))
    ask.add_argument("--only", default=",".join(ARMS), help="arms")
    ask.add_argument("--rounds", type=int, default=5)
    ask.add_argument("--seconds", type=int, default=3)
    mode = ask.add_mutually_exclusive_group()
    mode.add_argument("--insn", action="store_true", help="user instructions per request (callgrind)")
    mode.add_argument("--syscalls", action="store_true", help="system calls per request (perf, or strace without it)")
    mode.add_argument("--rss", action="store_true", help="memory at start and with 10,000 idle connections")
    mode.add_argument("--wakeups", action="store_true", help="context switches per request near idle")
    mode.add_argument("--check", action="store_true", help="ours against ceilings.toml; fails above one")
    said = ask.parse_args()
    said.scenario, said.only = said.scenario.split(","), said.only.split(",")
    unknown = [s for s in said.scenario if s not in SCENARIOS] + [a for a in said.only if a not in ARMS]
    if unknown:
        ask.error(f"unknown: {', '.join(unknown)}")
    return said


def table(bench, said):
    """CPU per request, paired and interleaved."""
    arms = [bench.arm(name) for name in said.only]
    print("CPU µs per request; ratio to HAProxy in the same round\n")
    print("| scenario | " + " | ".join(said.only) + " | ours ÷ HAProxy | goal | |")
    print("|---" * (len(arms) + 4) + "|")
    missed = 0
    for scenario in said.scenario:
        cost = {arm.name: [] for arm in arms}
        for turn in range(said.rounds):
            for arm in arms[:: 1 if turn % 2 == 0 else -1]:
                load(scenario, arm, 1)
                before = cpu(arm.pids)
                done = load(scenario, arm, said.seconds)
                cost[arm.name].append((cpu(arm.pids) - before) / done["requests"] * 1e6)
        what, _, goal = SCENARIOS[scenario]
        cells = [f"{statistics.median(cost[name]):.1f} ({min(cost[name]):.0f}–{max(cost[name]):.0f})" for name in said.only]
        verdict = "– | – |"
        if "haproxy" in cost and "outrigger" in cost:
            ratio = statistics.median(ours / theirs for ours, theirs in zip(cost["outrigger"], cost["haproxy"]))
            missed += ratio > goal
            verdict = f"**{ratio:.2f}** | ≤ {goal:.2f} | {'met' if ratio <= goal else 'missed'}"
        print(f"| {scenario} {what} | " + " | ".join(cells) + f" | {verdict} |", flush=True)
    print(f"\n{missed} of {len(said.scenario)} goals missed")


def instructions(bench, name, scenario, seconds=4):
    """User instructions per request, counted by callgrind: free of noise, blind to the kernel."""
    out = bench.folder / f"callgrind.{name}"
    arm = bench.arm(name, ["valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={out}.%p"])
    load(scenario, arm, 1)
    busiest = max(arm.pids, key=lambda pid: cpu([pid]))
    control = lambda what: subprocess.run(["timeout", "20", "callgrind_control", what, str(busiest)], capture_output=True)
    control("--zero")
    known = set(bench.folder.glob(f"{out.name}.*"))
    done = load(scenario, arm, seconds)["requests"]
    control("--dump")
    counts = [sum(int(n) for n in re.findall(r"^totals: (\d+)", f.read_text(errors="replace"), re.M))
              for f in set(bench.folder.glob(f"{out.name}.*")) - known]
    arm.stop()
    bench.arms.remove(arm)
    if not counts:
        raise SystemExit(f"{name}: callgrind counted nothing")
    return max(counts) / done


def syscalls(arm, scenario, seconds=4):
    """System calls per request at load."""
    pids = ",".join(map(str, arm.pids))
    load(scenario, arm, 1)
    counted = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", pids, "--", "sleep", str(seconds + 1)],
                               stderr=subprocess.PIPE, text=True)
    done = load(scenario, arm, seconds)["requests"]
    found = re.search(r"^(\d+),", counted.communicate()[1], re.M)
    if not found:
        raise SystemExit("perf cannot count system calls here; it needs root or a lower kernel.perf_event_paranoid")
    return int(found[1]) / done


def memory(bench, said):
    print("| arm | at start, MiB | kB per idle connection of 10,000 |\n|---|---|---|")
    for name in said.only:
        arm = bench.arm(name)
        time.sleep(1)
        start, held = resident(arm.pids), []
        for _ in range(10_000):
            stream = socket.create_connection(("127.0.0.1", arm.ports["plain"]))
            stream.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            if not stream.recv(4096).startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"{name}: connection {len(held)} was not answered")
            held.append(stream)
        time.sleep(1.5)
        print(f"| {name} | {start / 1024:.1f} | {(resident(arm.pids) - start) / 10_000:.2f} |", flush=True)
        for stream in held:
            stream.close()
        arm.stop()
        bench.arms.remove(arm)


def wakeups(bench, said):
    print("| arm | context switches per request at 6,000/s | per second without requests |\n|---|---|---|")
    for name in said.only:
        arm = bench.arm(name)
        load("o", arm, 1)
        before = switches(arm.pids)
        done = load("o", arm, 5)["requests"]
        busy = (switches(arm.pids) - before) / done
        time.sleep(1)
        before = switches(arm.pids)
        time.sleep(5)
        print(f"| {name} | {busy:.3f} | {(switches(arm.pids) - before) / 5:.1f} |", flush=True)
        arm.stop()
        bench.arms.remove(arm)


def check(bench):
    """Ours against the ceilings in the tree."""
    over = []
    for scenario, ceilings in tomllib.loads((HERE / "ceilings.toml").read_text()).items():
        arm = bench.arm("outrigger")
        found = {"syscalls": syscalls(arm, scenario)}
        arm.stop()
        bench.arms.remove(arm)
        found["instructions"] = instructions(bench, "outrigger", scenario)
        for what, ceiling in ceilings.items():
            print(f"{scenario}: {found[what]:.2f} {what} per request, at most {ceiling}", flush=True)
            over += [f"{scenario} {what}"] if found[what] > ceiling else []
    if over:
        raise SystemExit(f"above its ceiling: {', '.join(over)}")


def main():
    said = words()
    bench = Bench()
    try:
        if said.check:
            check(bench)
        elif said.rss:
            memory(bench, said)
        elif said.wakeups:
            wakeups(bench, said)
        elif said.insn:
            for scenario in said.scenario:
                for name in said.only:
                    print(f"{scenario} {name}: {instructions(bench, name, scenario):.0f} user instructions per request", flush=True)
        elif said.syscalls:
            for arm in [bench.arm(name) for name in said.only]:
                for scenario in said.scenario:
                    print(f"{scenario} {arm.name}: {syscalls(arm, scenario):.2f} system calls per request", flush=True)
        else:
            table(bench, said)
    finally:
        bench.close()


if __name__ == "__main__":
    main()
