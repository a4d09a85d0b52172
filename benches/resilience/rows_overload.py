"""Overload: a trigger that passes and may leave an outage behind, more load than there is capacity, capacity that changes."""
from arms import Envoy, HAProxy
from row import Goal, Row, against, flat, hosts, run

CALM, TRIGGER, AFTER = 10, 4, 12
LEAST = {"lb_policy": "LEAST_REQUEST"}
FILTERS = "type.googleapis.com/envoy.extensions.filters.http."
ADMISSION = {"name": "admission", "typed_config": {"@type": FILTERS + "admission_control.v3.AdmissionControl",
             "success_criteria": {"http_criteria": {"http_success_status": [{"start": 100, "end": 500}]}}}}
ADAPTIVE = {"name": "adaptive", "typed_config": {"@type": FILTERS + "adaptive_concurrency.v3.AdaptiveConcurrency", "gradient_controller_config": {
            "sample_aggregate_percentile": {"value": 50}, "concurrency_limit_params": {"concurrency_update_interval": "0.1s"},
            "min_rtt_calc_params": {"interval": "30s", "request_count": 50}}}}
PEERS = {"envoy plain": Envoy(LEAST), "envoy admission control": Envoy(LEAST, filters=[ADMISSION]),
         "envoy adaptive concurrency": Envoy(LEAST, filters=[ADAPTIVE])}
# Slots by hand, which is what no sidecar knows.
QUEUE = HAProxy(["balance leastconn", "timeout queue 100ms"], "maxconn 2")


def metastable(honours):
    """Four hosts at 75 % load work four times slower for four seconds; callers give up after 300 ms and try again, three times."""
    turns = {n: [{"at_ms": CALM * 1000, "slow": 4.0}, {"at_ms": (CALM + TRIGGER) * 1000, "slow": 1.0}] for n in range(4)}
    scenario = run(CALM + TRIGGER + AFTER, 150, hosts(4, 2, 40, turns=turns), patience=1.2)
    scenario["hosts"] = [{**host, "honours_cancel": honours} for host in scenario["hosts"]]
    scenario["callers"] = [{**caller, "tries": 4, "try_ms": 300} for caller in scenario["callers"]]
    return scenario


def recovery(story, step=0.5):
    """Seconds from the trigger's end until at least 95 % are served in each half second that follows."""
    begin = CALM + TRIGGER
    late = [n for n in range(int(AFTER / step) - 2) if story.error_share(begin + n * step, begin + (n + 1) * step) > 5]
    return (late[-1] + 1) * step if late else 0.0


def metastable_row(name, about, honours, served):
    return Row(
        name, about, lambda: metastable(honours),
        [Goal("s to recover", recovery, flat(0.5)),
         Goal("ok % meanwhile", lambda s: 100 - s.error_share(CALM, CALM + TRIGGER), flat(served), least=True),
         Goal("failed % before", lambda s: s.error_share(1, CALM), flat(0.1), digits=2)],
        {**PEERS, "haproxy slots by hand": QUEUE}, providers=True)


def step(exponential=False):
    """One host whose eight slots become four for ten seconds, asked for three quarters of what eight do."""
    return run(30, 150, hosts(1, 8, 40, exponential, {0: [{"at_ms": 10000, "slots": 4}, {"at_ms": 20000, "slots": 8}]}))


def in_flight(story, begin, end):
    """What is in flight to hosts in the mean of a span."""
    came = sum(end - max(at, begin) for at, _, _ in story.hits if at < end)
    went = sum(end - max(due + took, begin) for due, took, _, host, _ in story.requests if host >= 0 and due + took < end)
    return (came - went) / (end - begin)


def settled(story, slots, begin, end, step=0.5):
    """Seconds from `begin` until no more than half as much again as there are slots is in flight, for good."""
    late = [n for n in range(int((end - begin) / step)) if in_flight(story, begin + n * step, begin + (n + 1) * step) > slots * 1.5]
    return (late[-1] + 1) * step if late else 0.0


# Before the hosts too, where sidecars stand there: what several callers send together no caller sees (decision 012).
CLASSES = "kind: Policy\nname: classes\nmatch: { service: app }\nconcurrency: { before_app: auto }\nroutes: [{ name: critical, match: { header: { x-class: critical } }, priority: critical }]\n"


def priority():
    """Twice what there is capacity for; every fifth request is critical."""
    scenario = run(20, 400, hosts(4, 2, 40))
    return {**scenario, "callers": [{"rate": 320, "sidecar": 0}, {"rate": 80, "sidecar": 0, "headers": ["x-class: critical"]}]}


# Whoever is critical goes first. A cap by hand, of somebody who does not know that a host has two slots, is the published one of
# 209 ms (211 with 8); one that knows them is the published oracle of 72 ms, and no goal is held against that.
QUEUED = ["balance leastconn", "timeout queue 100ms", "http-request set-priority-class int(-1) if { req.hdr(x-class) critical }"]


def critical(story):
    return [r for r in story.due(1) if r[4] == 1]


ROWS = [
    metastable_row("metastable", "75 % load, 4 s of 4 × slower work, callers try again; hosts ignore who leaves", False, 15),
    metastable_row("metastable-honoured", "the same; hosts drop what nobody waits for", True, 28),
    Row("priority", "2 × overload, 20 % critical", priority,
        [Goal("critical ok %", lambda s: 100 * sum(r[2] == 200 for r in critical(s)) / len(critical(s)), flat(99), least=True, digits=2),
         Goal("goodput, of 200 a second", lambda s: sum(r[2] == 200 and 1 <= r[0] + r[1] < 20 for r in s.requests) / 19, flat(190), least=True, digits=0),
         Goal("critical p99, ms", lambda s: 1e3 * sorted(r[1] for r in critical(s))[int(len(critical(s)) * 0.99)],
              against("haproxy cap by hand", 0.7), digits=0)],
        {**PEERS, "haproxy cap by hand": HAProxy(QUEUED, "maxconn 8"), "haproxy slots by hand": HAProxy(QUEUED, "maxconn 2")},
        policy=CLASSES, providers=True),
    Row("adaptive-limit", "one host's capacity 8, 4, 8 slots at 150 requests of 40 ms a second", step,
        [Goal("s to settle", lambda s: settled(s, 4, 10, 20), flat(2)),
         Goal("in flight × right", lambda s: in_flight(s, 12, 20) / 4, flat(1.5), digits=2),
         Goal("goodput, of 100 a second", lambda s: sum(r[2] == 200 and 12 <= r[0] + r[1] < 20 for r in s.requests) / 8, flat(95), least=True),
         Goal("false shed %", lambda s: max(s.error_share(1, 10), s.error_share(22, 30)), flat(0.5), digits=2)],
        PEERS, providers=True),
    *[Row(f"steady-{load}", f"10 hosts at {load} % load: nothing is shed", lambda load=load: run(20, 5 * load, hosts(10, 2, 40, True)),
          [Goal("failed %", lambda s: s.error_share(), flat(0.1), digits=2)], {}) for load in (10, 75)],
]
