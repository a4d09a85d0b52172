"""Services that have room for all, however slow they become: what a found cap refuses there nobody had to refuse.

`benches/resilience/run --calm` tells each shape to the simulator with several seeds, with caps that are found and without, and
judges the worst seed by what was refused beyond what fails without.
"""
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

from row import hosts, run
from rows_overload import AUTO

# What may be refused, in percent: one of a thousand.
MOST = 0.1
ROOM = 10_000


def steady():
    """Hosts of a few slots at loads that they do: chance alone makes queues."""
    for load in (10, 50, 75):
        for count, slots in ((1, 8), (1, 2), (4, 2), (10, 2), (3, 32)):
            for chance in (True, False):
                name = f"{count} host{'s' * (count > 1)} of {slots}{', by chance' * chance} at {load} % load"
                yield name, run(40, count * slots / 0.04 * load / 100, hosts(count, slots, 40, chance))


def slower():
    """A dependency makes all work many times slower for ten seconds, and nothing queues at the hosts."""
    for count, times, chance in ((n, t, c) for n in (1, 4) for t in (3, 5, 10, 25) for c in (True, False)):
        turns = {n: [{"at_ms": 10000, "slow": float(times)}, {"at_ms": 20000, "slow": 1.0}] for n in range(count)}
        name = f"work {times} × slower, {count} host{'s' * (count > 1)}{', by chance' * chance}"
        yield name, run(30, 300, hosts(count, ROOM, 20, chance, turns))


def bursts():
    """Quiet, then many times more, well within what the hosts can do; a pause that the host had; long polls that callers leave."""
    for count, times in ((n, t) for n in (1, 4) for t in (4, 20)):
        once, often = (run(30, 20 * count, hosts(count, ROOM, 40, True)) for _ in range(2))
        once["callers"].append({"rate": 20 * count * times, "sidecar": 0, "from_ms": 10000, "until_ms": 12000})
        often["callers"] += [{"rate": 20 * count * times, "sidecar": 0, "from_ms": at, "until_ms": at + 300} for at in range(5000, 28000, 1500)]
        yield f"2 s of {times} × more, {count} host{'s' * (count > 1)}", once
        yield f"bursts of {times} × more, {count} host{'s' * (count > 1)}", often
    yield "a pause of 300 ms", run(20, 500, hosts(1, ROOM, 4, False, {0: [{"at_ms": 10000, "slots": 1}, {"at_ms": 10300, "slots": ROOM}]}))
    polls = lambda: {**run(60, 20, hosts(2, ROOM, 8000, True)), "callers": [{"rate": 20, "try_ms": 3000}]}
    yield "long polls that most leave", polls()
    more = polls()
    more["callers"].append({"rate": 30, "sidecar": 0, "from_ms": 30000, "try_ms": 3000})
    yield "long polls that most leave, then more", more


def refused(story):
    """Percent of all requests that we answered, with an error."""
    return 100 * sum(status >= 400 for _, _, status, _, _ in story.requests) / max(1, len(story.requests))


def calm(simulate, seeds):
    """Prints each shape in which more is refused than may be; how many there are."""
    shapes = [*steady(), *slower(), *bursts()]

    def worst(shape):
        # The scenario is placed anew for each run.
        name, scenario = shape
        fresh = lambda: {**scenario, "hosts": [dict(h) for h in scenario["hosts"]], "callers": [dict(c) for c in scenario["callers"]]}
        told = [refused(simulate(fresh(), seed, AUTO)) - refused(simulate(fresh(), seed, "")) for seed in seeds]
        return name, sorted(told)

    with ThreadPoolExecutor(cpu_count()) as pool:
        found = list(pool.map(worst, shapes))
    missed = [(name, told) for name, told in found if told[-1] > MOST]
    print("| shape | refused with a found cap beyond what fails without, %: median (least–worst) |\n|---|---|")
    for name, told in missed:
        print(f"| {name} | {told[len(told) // 2]:.2f} ({told[0]:.2f}–{told[-1]:.2f}) |", flush=True)
    print(f"\n{len(found) - len(missed)} of {len(found)} shapes lose nothing by a found cap")
    return len(missed)
