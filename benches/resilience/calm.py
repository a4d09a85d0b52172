"""Services that have room for all, however slow they become: what a found cap refuses there nobody had to refuse.

`benches/resilience/run --calm` tells each shape to the simulator with several seeds, with caps that are found and without, and
judges the worst seed by what fails beyond what fails without.
"""
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count

from row import hosts, run

# Caps that are found are the default.
OFF = "kind: Policy\nname: off\nmatch: { service: app }\nconcurrency: { per_endpoint: off }\n"
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


def mixed():
    """A route among others takes twenty times longer: one of twenty requests; and hosts that are unlike each other."""
    for count, slots, load in ((1, 32, 30), (1, 32, 60), (4, 16, 50), (4, ROOM, 0)):
        for chance in (True, False):
            rate = count * slots / (0.02 * 1.95) * load / 100 if load else 300
            long = {"long": {"share": 0.05, "times": 20}}
            told = run(40, rate, [{**host, **long} for host in hosts(count, slots, 20, chance)])
            room = f"of {slots} at {load} % load" if load else "with room for all"
            yield f"one of 20 takes 20 × longer, {count} host{'s' * (count > 1)} {room}{', by chance' * chance}", told
    for times in (3, 10):
        told = hosts(4, ROOM, 20, True)
        told[0]["work_ms"] *= times
        yield f"one of 4 hosts {times} × slower, with room", run(30, 300, told)


def rises():
    """More comes than a moment ago, and there is room for it."""
    for begin, then in ((10, 75), (30, 75), (5, 50)):
        for chance in (True, False):
            told = run(30, 200 * begin / 100, hosts(4, 2, 40, chance))
            told["callers"].append({"rate": 200 * (then - begin) / 100, "sidecar": 0, "from_ms": 10000})
            yield f"from {begin} to {then} % load at once{', by chance' * chance}", told
    told = run(40, 20, hosts(4, 2, 40, True))
    told["callers"] += [{"rate": 13, "sidecar": 0, "from_ms": 3000 * n} for n in range(1, 11)]
    yield "from 10 to 75 % load little by little", told
    told = run(30, 1, hosts(4, 2, 40, True))
    told["callers"] += [{"rate": 160, "sidecar": 0, "from_ms": 1000 * n, "until_ms": 1000 * n + 500} for n in range(1, 29)]
    yield "80 % load each other half second", told


def batches():
    """Many at once, or workers that wait for their answers: all of it is done in time."""
    def at_once(often, so_many, load=20):
        told = run(40, 200 * load / 100, hosts(4, 2, 40, True), patience=30)
        told["callers"] += [{"rate": 1e3 * so_many / 5, "sidecar": 0, "from_ms": at, "until_ms": at + 5} for at in range(5000, 36000, often)]
        return told

    for often, so_many in ((2000, 50), (5000, 200), (10000, 500), (31000, 1000)):
        yield f"{so_many} at once each {often / 1e3:g} s", at_once(often, so_many)
    for workers in (16, 256):
        told = run(20, 20, hosts(4, 2, 40, True), patience=30)
        told["callers"].append({"rate": 0, "workers": workers, "sidecar": 0, "from_ms": 2000, "until_ms": 18000})
        yield f"{workers} workers beside callers", told


def pauses():
    """Hosts that stop for a moment: collection of garbage, a lock, a cache that is filled anew; and ones that begin cold."""
    for count, slots in ((1, ROOM), (4, ROOM), (4, 8)):
        for millis in (100, 300, 900):
            turns = {n: [turn for at in range(5000 + 700 * n, 28000, 4000) for turn in ({"at_ms": at, "slots": 0}, {"at_ms": at + millis, "slots": slots})] for n in range(count)}
            yield f"each of {count} of {slots} stops for {millis} ms each 4 s", run(30, 60 * count, hosts(count, slots, 40, True, turns))
    for count, millis in ((1, 500), (4, 500), (4, 2000)):
        turns = {n: [{"at_ms": 10000, "slots": 0}, {"at_ms": 10000 + millis, "slots": ROOM}] for n in range(count)}
        yield f"all {count} stop for {millis} ms", run(30, 60 * count, hosts(count, ROOM, 40, True, turns), patience=10)
        turns = {n: [{"at_ms": 0, "slots": 0}, {"at_ms": millis, "slots": ROOM}] for n in range(count)}
        yield f"all {count} begin after {millis} ms", run(20, 60 * count, hosts(count, ROOM, 40, True, turns), patience=10)
    for count, times in ((1, 20), (4, 20), (4, 5)):
        cold = lambda chance: run(20, 100, hosts(count, ROOM, 20, chance, {n: [{"at_ms": 0, "slow": float(times)}, {"at_ms": 2000, "slow": 1.0}] for n in range(count)}))
        yield f"{times} × slower for the first two seconds, {count} host{'s' * (count > 1)}", cold(False)
        yield f"{times} × slower for the first two seconds, {count} host{'s' * (count > 1)}, by chance", cold(True)
    for times in (3, 10):
        turns = {n: [turn for at in range(5000, 28000, 3000) for turn in ({"at_ms": at, "slow": float(times)}, {"at_ms": at + 400, "slow": 1.0})] for n in range(4)}
        yield f"work {times} × slower for 400 ms each 3 s", run(30, 200, hosts(4, ROOM, 20, True, turns))
    turns = {n: [{"at_ms": 1000 * s, "slow": 1 + s / 2} for s in range(5, 35)] for n in range(4)}
    yield "work that becomes slower little by little", run(40, 200, hosts(4, ROOM, 20, True, turns))
    turns = {n: [{"at_ms": 10000, "slow": 3.0}, {"at_ms": 20000, "slow": 1.0}] for n in range(4)}
    for load in (10, 20, 25):
        yield f"work 3 × slower at {load} % load of 4 hosts of 8", run(30, 800 * load / 100, hosts(4, 8, 40, True, turns))


def left():
    """Callers that leave early, by habit or because they have what they want."""
    for millis, share in ((60, 0.5), (20, 0.9), (200, 0.3)):
        told = run(30, 200 * (1 - share), hosts(4, ROOM, 40, True))
        told["callers"].append({"rate": 200 * share, "sidecar": 0, "try_ms": millis})
        yield f"{share:.0%} are left after {millis} ms", told
    told = run(40, 100, hosts(4, ROOM, 40, True))
    told["callers"].append({"rate": 100, "sidecar": 0, "try_ms": 60, "from_ms": 15000, "until_ms": 25000})
    yield "callers that leave after 60 ms come and go", told
    for answered, polls in ((100, 10), (20, 40)):
        told = run(60, answered, hosts(2, ROOM, 20, True), patience=30)
        for host in told["hosts"]:
            host["long"] = {"share": polls / (answered + polls), "times": 1000}
        told["callers"].append({"rate": polls, "sidecar": 0})
        yield f"{polls} long polls a second beside {answered} requests", told


def failed(story):
    """Percent of all requests that got no good answer."""
    return 100 * sum(status != 200 for _, _, status, _, _ in story.requests) / max(1, len(story.requests))


def calm(simulate, seeds):
    """Prints each shape in which more is refused than may be; how many there are."""
    shapes = [shape for shapes in (steady, slower, bursts, mixed, rises, batches, pauses, left) for shape in shapes()]

    def worst(shape):
        # The scenario is placed anew for each run.
        name, scenario = shape
        fresh = lambda: {**scenario, "hosts": [dict(h) for h in scenario["hosts"]], "callers": [dict(c) for c in scenario["callers"]]}
        told = [failed(simulate(fresh(), seed, "")) - failed(simulate(fresh(), seed, OFF)) for seed in seeds]
        return name, sorted(told)

    with ThreadPoolExecutor(cpu_count()) as pool:
        found = list(pool.map(worst, shapes))
    missed = [(name, told) for name, told in found if told[-1] > MOST]
    print("| shape | failed with a found cap beyond what fails without, %: median (least–worst) |\n|---|---|")
    for name, told in missed:
        print(f"| {name} | {told[len(told) // 2]:.2f} ({told[0]:.2f}–{told[-1]:.2f}) |", flush=True)
    print(f"\n{len(found) - len(missed)} of {len(found)} shapes lose nothing by a found cap")
    return len(missed)
