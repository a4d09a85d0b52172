"""What a row is, and the words its experiments are told in. Rows themselves stand in `rows*.py`, a list each."""
from dataclasses import dataclass, field
from typing import Callable

from arms import Direct, Fleet, Ours


@dataclass
class Goal:
    """One figure with the most or the least it may be; the bound may depend on the peers' figures."""

    what: str
    figure: Callable
    bound: Callable
    least: bool = False
    digits: int = 1

    def met(self, found, bound):
        if bound is None:
            return True
        found, bound = round(found, 3), round(bound, 3)
        return found >= bound if self.least else found <= bound


@dataclass
class Row:
    """An experiment."""

    name: str
    about: str
    scenario: Callable
    goals: list
    peers: dict
    policy: str = ""
    providers: bool = False  # measured also with sidecars before the hosts
    listed: bool = False  # needs a control plane, because the list changes
    simulated: bool = True  # told to the simulator too
    ours: Callable = None  # how ours stands with so many workers, where neither way below is meant
    deeds: list = field(default_factory=list)  # (seconds, verb, words...): what is done to an arm meanwhile, `arm.verb(place, started, words...)`

    def measures(self):
        """The peers that a goal is held against."""
        return {goal.bound.arm for goal in self.goals if isinstance(goal.bound, Against)}

    def work(self):
        """How many milliseconds every answer takes where chance has no part in it; else none."""
        hosts = self.scenario()["hosts"]
        steady = all(not host["exponential"] and not any("slow" in turn for turn in host["turns"]) for host in hosts)
        return hosts[0]["work_ms"] if steady else None

    def arms(self, workers):
        usual = lambda n: Fleet(n, inbound=False, policy=self.policy) if self.listed else Ours(n, self.policy)
        own = {f"ours ×{n}": (self.ours or usual)(n) for n in workers}
        ways = {f"ours ⇄ ×{n}": Fleet(n, policy=self.policy) for n in workers if self.providers}
        floor = {"direct": Direct()} if self.work() and self.simulated else {}
        return {**own, **ways, **self.peers, **floor}


def flat(number):
    """A bound that is a number."""
    return lambda _: number


@dataclass
class Against:
    """A bound that is a peer's median of the same figure, times something; none when that peer was left out."""

    arm: str
    times: float

    def __call__(self, peers):
        return peers[self.arm] * self.times if self.arm in peers else None


def against(arm, times):
    return Against(arm, times)


def hosts(count, slots, work, exponential=False, turns=None):
    """`count` hosts; `turns` by place."""
    return [{"slots": slots, "work_ms": work, "exponential": exponential, "turns": (turns or {}).get(n, [])} for n in range(count)]


def zoned(names, hosts):
    """The hosts with their zones."""
    return [{**host, "zone": name} for name, host in zip(names, hosts)]


def run(seconds, rate, hosts, patience=5.0, callers=1):
    return {"millis": int(seconds * 1e3), "patience_ms": int(patience * 1e3), "hosts": hosts,
            "callers": [{"rate": rate / callers} for _ in range(callers)]}


def bad(share=1.0, begin=0.0, end=None):
    """Fails this share of requests from `begin` on."""
    turns = [{"at_ms": int(begin * 1e3), "fail": share}]
    return turns + ([{"at_ms": int(end * 1e3), "fail": 0.0}] if end else [])
