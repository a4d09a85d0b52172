"""The rows: who serves, who calls, what goes wrong, which arms meet it, and what they are judged by.

Every number here is a parameter of an experiment, none of a decision: ours has one configuration, its defaults.
`no_retry` and `bare` take something away from it where a row asks what is left then.
"""
from arms import Envoy, HAProxy
from arms_listed import Joined, OwnZone, SlowStart, ZoneAware
from row import Goal, Row, against, bad, flat, hosts, run, zoned

BARE = "kind: Policy\nname: bare\nmatch: { service: app }\nretry: { attempts: 1 }\nhealth: { consecutive: 1000000, minimum: 1000000 }\n"
NO_RETRY = "kind: Policy\nname: no-retry\nmatch: { service: app }\nretry: { attempts: 1 }\n"

LEAST = {"lb_policy": "LEAST_REQUEST"}
FULL_SCAN = {"lb_policy": "LEAST_REQUEST", "load_balancing_policy": {"policies": [{"typed_extension_config": {
    "name": "envoy.load_balancing_policies.least_request", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
        "selection_method": "FULL_SCAN"}}}]}}
PLAIN_EJECT = {**LEAST, "outlier_detection": {}}
ONE_RETRY = {"retry_policy": {"retry_on": "5xx,reset,connect-failure", "num_retries": 3}}
NOW = {"common_lb_config": {"update_merge_window": "0s"}}
# The best found for small clusters: out after three failures, for two seconds and then longer, whatever the share.
TUNED_EJECT = {**LEAST, **NOW, "outlier_detection": {
    "consecutive_5xx": 3, "interval": "0.5s", "base_ejection_time": "30s", "max_ejection_percent": 50, "always_eject_one_host": True}}
SHORT_EJECT = {**LEAST, **NOW, "outlier_detection": {
    "consecutive_5xx": 2, "interval": "0.5s", "base_ejection_time": "2s", "max_ejection_percent": 50, "always_eject_one_host": True}}
RATE_EJECT = {**LEAST, **NOW, "outlier_detection": {
    "consecutive_5xx": 5, "interval": "1s", "base_ejection_time": "10s", "max_ejection_percent": 50, "always_eject_one_host": True,
    "enforcing_failure_percentage": 100, "failure_percentage_threshold": 20, "failure_percentage_minimum_hosts": 1,
    "failure_percentage_request_volume": 10, "enforcing_success_rate": 0}}
OBSERVE = "check inter 2s observe layer7 error-limit 3 on-error mark-down"


def sinkhole():
    return run(10, 400, hosts(5, 64, 20, turns={0: bad()}))


def ejection(count, ill):
    return run(14, 200, hosts(count, 64, 20, turns={n: bad() for n in range(ill)}))


def ejection_row(count, ill, most):
    return Row(
        f"ejection-{count}-{ill}", f"{ill} of {count} hosts always 500, no retry", lambda: ejection(count, ill),
        [Goal("errors", lambda s: s.errors(), flat(most), digits=0), Goal("errors after 2 s", lambda s: s.errors(2), flat(0), digits=0)],
        {"envoy plain": Envoy(PLAIN_EJECT), "envoy tuned": Envoy(TUNED_EJECT), "haproxy tuned": HAProxy(["balance leastconn"], OBSERVE)},
        policy=NO_RETRY)


def flap():
    return run(45, 200, hosts(5, 64, 20, turns={0: bad(begin=5, end=35)}))


def returns(story):
    """Bad hits per return: those after the first ejection (a quiet second) divided by how often the host was tried."""
    at = [at for at, host, status in story.hits if host == 0 and status == 500]
    groups = []
    for moment in at:
        if groups and moment - groups[-1][-1] < 0.5:
            groups[-1].append(moment)
        else:
            groups.append([moment])
    later = groups[1:]
    return sum(map(len, later)) / len(later) if later else 0.0


def back(story, healed=35.0):
    """Seconds from the healing until the host is used again."""
    return min((at for at, host, status in story.hits if host == 0 and status == 200 and at >= healed), default=1e9) - healed


def partial(share):
    return run(30, 200, hosts(10, 64, 20, turns={0: bad(share)}))


def everywhere(share):
    return run(30, 200, hosts(10, 64, 20, turns={n: bad(share) for n in range(10)}))


def slow_host():
    return run(30, 350, hosts(10, 2, 40, True, {0: [{"at_ms": 0, "slow": 3.0}]}))


def many_callers():
    """2 of 20 hosts three times slower, 71 % load: a request that waits where nobody else would send it costs most."""
    slow = [{"at_ms": 0, "slow": 3.0}]
    return run(30, 330, hosts(20, 1, 40, True, {0: slow, 1: slow}), callers=6)


def many_callers_equal():
    return run(20, 750, hosts(20, 2, 40, True), callers=6)


def many_callers_row(name, about, scenario):
    return Row(
        name, about, scenario,
        [Goal("p50, ms", lambda s: s.percentile(0.5), against("haproxy leastconn", 0.8), digits=0),
         Goal("p99, ms", lambda s: s.percentile(0.99), against("haproxy leastconn", 0.6), digits=0)],
        {"envoy P2C": P2C, "haproxy leastconn": LEASTCONN}, providers=True)


def brownout(slow):
    return run(20, 220, hosts(5, 4, 40, True, {n: [{"at_ms": 5000, "slow": 10.0}, {"at_ms": 15000, "slow": 1.0}] for n in range(slow)}), patience=1.0)


def zones():
    """Hosts 4/4/2 in three zones, callers 1/1/4: a sixth of all is asked in each of the first two, which keep it, and 30 % of
    the third's can stay there. After the lead in which callers' zones are told, half of the first zone dies."""
    dies = [{"at_ms": 30000, "dies": True}]
    told = run(45, 300, zoned("aaaabbbbcc", hosts(10, 64, 20, turns={0: dies, 1: dies})), callers=6)
    for caller, zone in zip(told["callers"], "abcccc"):
        caller["zone"] = zone
    return told


def slow_start(count, newcomers):
    told = run(37, 500, hosts(count + newcomers, 64, 20))
    for host in told["hosts"][:newcomers]:
        host["joins_ms"] = 5000
    return told


P2C, LEASTCONN, ROUND = Envoy(LEAST), HAProxy(["balance leastconn"]), Envoy({"lb_policy": "ROUND_ROBIN"})
HEDGE = Envoy(LEAST, {"retry_policy": {"retry_on": "5xx,reset", "num_retries": 1, "per_try_timeout": "0.12s",
              "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
                  "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}],
              "host_selection_retry_max_attempts": 5},
              "hedge_policy": {"hedge_on_per_try_timeout": True}})
RETRIES = Envoy(LEAST, {"retry_policy": {"retry_on": "5xx,reset", "num_retries": 3, "per_try_timeout": "0.3s"}})

SLOW_START = {"lb_policy": "ROUND_ROBIN", "round_robin_lb_config": {"slow_start_config": {"slow_start_window": "30s"}}}
JOINED = {"envoy": Joined({**NOW, "lb_policy": "ROUND_ROBIN"}), "envoy slow start": Joined({**NOW, **SLOW_START}),
          "haproxy slowstart": SlowStart(["balance roundrobin"], "check inter 500ms slowstart 30s")}

ROWS = [
    Row("sinkhole-bare", "1 of 5 hosts answers 500 in 1 ms; no ejection, no retry", sinkhole,
        [Goal("its share, %", lambda s: s.share([0]), flat(2.0))],
        {"envoy round robin": ROUND, "envoy P2C": P2C, "haproxy leastconn": LEASTCONN}, policy=BARE),
    Row("sinkhole", "the same on the defaults", sinkhole,
        [Goal("hits on it", lambda s: s.at([0]), flat(5), digits=0), Goal("client errors", lambda s: s.errors(), flat(0), digits=0)],
        {"envoy plain": Envoy(PLAIN_EJECT, ONE_RETRY), "envoy tuned": Envoy(TUNED_EJECT, ONE_RETRY),
         "haproxy plain": HAProxy(["balance leastconn", "retry-on all-retryable-errors", "retries 3", "option redispatch 1"])}),
    ejection_row(3, 1, 3), ejection_row(5, 1, 3), ejection_row(5, 2, 7), ejection_row(10, 2, 7),
    Row("flap", "one of 5 bad for 30 s, then healed; no retry", flap,
        [Goal("bad hits per return", returns, flat(1)), Goal("errors", lambda s: s.errors(), flat(10), digits=0), Goal("s until back", back, flat(4))],
        {"envoy plain": Envoy(PLAIN_EJECT), "envoy always eject one": Envoy({**PLAIN_EJECT, "outlier_detection": {
            "always_eject_one_host": True, "base_ejection_time": "2s"}}), "envoy tuned": Envoy(SHORT_EJECT)}, policy=NO_RETRY),
    Row("partial-30", "1 of 10 hosts fails 30 %", lambda: partial(0.3), [Goal("err %", lambda s: s.error_share(), flat(0.5), digits=2)],
        {"envoy plain": Envoy(PLAIN_EJECT), "envoy tuned": Envoy(RATE_EJECT), "envoy consecutive": Envoy(SHORT_EJECT)}, policy=NO_RETRY),
    Row("partial-60", "1 of 10 hosts fails 60 %", lambda: partial(0.6), [Goal("err %", lambda s: s.error_share(), flat(0.3), digits=2)],
        {"envoy plain": Envoy(PLAIN_EJECT), "envoy tuned": Envoy(RATE_EJECT), "envoy consecutive": Envoy(SHORT_EJECT)}, policy=NO_RETRY),
    Row("global-30", "all 10 hosts fail 30 %", lambda: everywhere(0.3),
        [Goal("host-seconds starved", lambda s: s.starved(2, s.seconds), flat(1), digits=0)],
        {"envoy plain": Envoy(PLAIN_EJECT), "envoy tuned": Envoy(RATE_EJECT), "envoy consecutive": Envoy(SHORT_EJECT)}, policy=NO_RETRY),
    Row("slow-host", "1 of 10 three times slower, 75 % load", slow_host,
        [Goal("p99, ms", lambda s: s.percentile(0.99), against("haproxy leastconn", 0.88), digits=0)],
        {"envoy round robin": ROUND, "envoy P2C": P2C, "envoy full scan": Envoy(FULL_SCAN), "haproxy leastconn": LEASTCONN}),
    many_callers_row("many-callers", "6 sidecars call 20 hosts, 2 of them three times slower; each a little, 71 % load together", many_callers),
    many_callers_row("many-callers-equal", "6 sidecars call 20 hosts that are alike, 75 % load together", many_callers_equal),
    Row("zones", "hosts 4/4/2 in three zones, callers 1/1/4; then half of the first zone dies", zones,
        [Goal("local, %", lambda s: s.local(15, 30), flat(52), least=True), Goal("busiest × mean", lambda s: s.busiest(15, 30), flat(1.15), digits=2),
         Goal("err % once half a zone died", lambda s: s.error_share(30), flat(0.05), digits=2)],
        {"envoy zone-aware": ZoneAware({**LEAST, **NOW}, ONE_RETRY), "haproxy own zone first": OwnZone(["balance leastconn", "option redispatch 1", "retries 3",
                                                                                              "retry-on all-retryable-errors"], "check inter 500ms")},
        listed=True),
    Row("slow-start-1", "1 host joins 10", lambda: slow_start(10, 1),
        [Goal("off its ramp, % of a fair share", lambda s: s.off_ramp(), flat(6)), Goal("s until its first request", lambda s: s.first_hit(), flat(1), digits=2)],
        JOINED, listed=True),
    Row("slow-start-2", "2 hosts join 60", lambda: slow_start(60, 2),
        [Goal("off their ramp, % of a fair share", lambda s: s.off_ramp(), flat(6)), Goal("s until the first request", lambda s: s.first_hit(), flat(1), digits=2)],
        JOINED, listed=True),
    Row("brownout-1", "1 of 5 hosts ten times slower for 10 s", lambda: brownout(1),
        [Goal("p99 meanwhile, ms", lambda s: s.percentile(0.99, 5, 15), against("envoy hedge", 0.8), digits=0),
         Goal("worst upstream:offered", lambda s: s.worst_ratio(), flat(1.2), digits=2)],
        {"envoy P2C": P2C, "envoy 3 retries": RETRIES, "envoy hedge": HEDGE}),
    Row("brownout-3", "3 of 5 hosts ten times slower for 10 s", lambda: brownout(3),
        [Goal("ok % meanwhile", lambda s: 100 - s.error_share(5, 15), flat(94), least=True),
         Goal("worst upstream:offered", lambda s: s.worst_ratio(), flat(1.2), digits=2)],
        {"envoy P2C": P2C, "envoy 3 retries": RETRIES, "envoy hedge": HEDGE}),
]
