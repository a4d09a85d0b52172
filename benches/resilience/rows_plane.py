"""A control plane that is wrong or lost: what it says of who serves, and a limit that a fleet keeps together."""
from arms_pushed import PushedEnvoy, PushedFleet, PushedHAProxy
from arms_shared import EvenEnvoy, SharedFleet
from row import Goal, Row, flat, hosts, run

# When something wrong is said, when it is put right, when a proxy is restarted meanwhile, and for how long that is its gap.
BAD, RIGHT, RESTART, GAP = 5, 10, 8, 2
LEAST = {"lb_policy": "LEAST_REQUEST"}
CHECKS = {"health_checks": [{"timeout": "1s", "interval": "0.5s", "unhealthy_threshold": 2, "healthy_threshold": 1,
                             "http_health_check": {"path": "/"}}]}
TOLD = {"envoy plain": PushedEnvoy(LEAST), "envoy active checks": PushedEnvoy({**LEAST, **CHECKS}),
        "haproxy": PushedHAProxy(["balance leastconn"])}


def pushed(seconds):
    """Five hosts at 30 % load; what one of them can do alone is two thirds of what is asked."""
    return run(seconds, 150, hosts(5, 2, 20), patience=1.0)


def wrongly(kept):
    told = pushed(20)
    return {**told, "pushes": [{"at_ms": BAD * 1000, "hosts": kept}, {"at_ms": RIGHT * 1000, "hosts": list(range(len(told["hosts"])))}]}


def push_row(name, about, kept):
    return Row(
        name, about, lambda: wrongly(kept), [Goal("failed", lambda s: s.errors(), flat(0), digits=0)], TOLD,
        ours=lambda workers: PushedFleet(workers, kept), deeds=[(BAD, "push", kept), (RIGHT, "mend")])


def restart_row(name, about, *bad):
    return Row(
        name, about, lambda: pushed(20),
        [Goal("failed before", lambda s: s.errors(0, RESTART - 1), flat(0), digits=0),
         Goal("failed in the gap of the restart", lambda s: s.errors(RESTART - 1, RESTART + GAP), flat(20), digits=0),
         Goal("err % after it", lambda s: s.error_share(RESTART + GAP), flat(0), digits=2)],
        TOLD, simulated=False, ours=lambda workers: PushedFleet(workers), deeds=[(BAD, *bad), (RESTART, "restart")])


# The limit, what all together would like, and the parts that an even split has; per second.
LIMIT, WANTED, PARTS = 300, 480, 8
COMES, DIES, BACK, LOST, WARM = 30, 60, 75, 90, 12


def shared():
    """Eight callers whose demand follows Zipf's law; a ninth comes, the busiest dies and is back, the control plane is killed."""
    zipf = sum(1 / rank for rank in range(1, PARTS + 1))
    told = run(120, 0, hosts(1, 1000, 2))
    told["callers"] = [{"rate": WANTED / rank / zipf} for rank in range(1, PARTS + 1)]
    told["callers"].append({"rate": WANTED / 3 / zipf, "from_ms": int(COMES * 1e3) + 500})
    return told


def admitted(story):
    return sorted(at + took for at, took, status, _, _ in story.requests if status == 200)


def use(story):
    """What was admitted of what could be, in percent, from the second on in which parts are shared out."""
    callers = story.scenario["callers"]
    up = lambda number, second: second >= callers[number].get("from_ms", 0) / 1e3 and not (number == 0 and DIES <= second < BACK)
    wanted = [sum(caller["rate"] for number, caller in enumerate(callers) if up(number, second)) for second in range(WARM, int(story.seconds))]
    return 100 * sum(at >= WARM for at in admitted(story)) / sum(min(rate, LIMIT) for rate in wanted)


def over(story, window=10.0):
    """The most that any ten seconds let through above the limit, in percent of it."""
    times, begin, most = admitted(story), 0, 0
    for end, at in enumerate(times):
        while times[begin] <= at - window:
            begin += 1
        most = max(most, end - begin + 1) if at >= window else most
    return 100 * (most / (LIMIT * window) - 1)


ROWS = [
    push_row("bad-push-empty", "for 5 s the control plane says that nobody serves", []),
    push_row("bad-push-removal", "for 5 s it says that one of 5 hosts serves", [0]),
    restart_row("restart-empty", "a proxy is killed and started while the control plane says that nobody serves", "push", []),
    restart_row("restart-lost", "the same while there is no control plane", "lose"),
    Row("shared-quota", "8 callers share 300 a second and want 480; one comes, one dies, the control plane is killed", shared,
        [Goal("use %", use, flat(95), least=True), Goal("worst over-admission in 10 s, %", over, flat(2), digits=2)],
        {"envoy, an even part each": EvenEnvoy(LIMIT, PARTS)}, simulated=False, ours=lambda workers: SharedFleet(workers, LIMIT),
        deeds=[(COMES, "arrive", PARTS), (DIES, "die", 0), (BACK, "arrive", 0), (LOST, "lose")]),
]
