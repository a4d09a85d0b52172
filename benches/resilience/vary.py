"""Other host counts, rates, shares and work times than the rows': whether a mechanism was built or a row was met.

`benches/resilience/run --vary` tells each to the simulator with several seeds and judges the median. Failures come at
once, or after five quiet seconds in which everybody earned trust. Then six shapes of services that work well: nothing is shed.
"""
import itertools

from figures import median
from row import bad, hosts, run
from rows import BARE, NO_RETRY


def ill(count, of, share=1.0, begin=0, rate=200, work=20, seconds=14):
    """So many of the hosts fail this share from `begin` on."""
    return run(seconds, rate, hosts(of, 64, work, turns={n: bad(share, begin) for n in range(count)}))


# Services that work well: how many hosts, their slots, their work in ms, whether each takes as long as chance has it.
SHAPES = {"1 host of 8": (1, 8, 40, False), "4 hosts of 2": (4, 2, 40, False), "4 hosts of 2, by chance": (4, 2, 40, True),
          "10 hosts of 2, by chance": (10, 2, 40, True), "20 hosts of 1, by chance": (20, 1, 40, True), "3 hosts of 16, by chance": (3, 16, 20, True)}


def steady():
    """Where nothing is wrong nothing is shed, with any seed. One host whose work takes as long as chance has it is not among
    them: at 75 % load eight slots have a queue of three times their number now and then, which is told from overload by nothing."""
    for (name, (count, slots, work, chance)), load in itertools.product(SHAPES.items(), (10, 30, 50, 75)):
        yield (f"{name} at {load} % load: failed %, the worst seed", run(20, count * slots / work * 10 * load, hosts(count, slots, work, chance)), "",
               lambda s: s.error_share(), 0.1)


def variations():
    """Each with its name, its scenario, the policy, what is judged, and the most that may be."""
    for (of, count), begin, (rate, work) in itertools.product([(3, 1), (5, 1), (5, 2), (7, 3), (10, 2), (10, 4), (20, 3)], (0, 5), ((50, 20), (200, 20), (200, 5))):
        # Three each, and one more for each further host that makes the others look ill. An answer that was under way when its host fell ill ends the run of failures that began meanwhile.
        most = 4 * count - 1 + (begin > 0 and rate * work >= 4000) * (1 + count)
        yield f"{count} of {of} fail from {begin} s, {rate}/s of {work} ms: errors", ill(count, of, 1, begin, rate, work), NO_RETRY, lambda s: s.errors(), most
        if rate >= 20 * of:
            yield f"{count} of {of} fail from {begin} s, {rate}/s of {work} ms: after 2 s", ill(count, of, 1, begin, rate, work), NO_RETRY, lambda s, b=begin: s.errors(b + 2), 0
    for of, share, each in itertools.product((3, 5, 10, 20), (0.2, 0.3, 0.6, 0.9), (20, 60)):
        # A tenth of what an even share would cost, or the sixteen failures that evidence takes where few requests come.
        even = 100 * share / of
        yield (f"1 of {of} fails {share:.0%}, {each}/s each: err %", ill(1, of, share, 0, of * each, seconds=30), NO_RETRY, lambda s: s.error_share(),
               max(even / 10, 16 / each / of / 0.3))
    for of, share, begin, each in itertools.product((3, 10, 30), (0.1, 0.3, 0.5), (0, 5), (20, 100)):
        yield (f"all {of} fail {share:.0%} from {begin} s, {each}/s each: % starved", ill(of, of, share, begin, of * each, seconds=30), NO_RETRY,
               lambda s, n=of: 100 * s.starved(2, 30) / (28 * n), 0.35)
    for of, rate in itertools.product((3, 5, 10, 20), (400, 1500)):
        yield f"1 of {of} is a sinkhole, {rate}/s, neither ejected nor retried: its share, %", ill(1, of, rate=rate, seconds=10), BARE, lambda s: s.share([0]), 2
        yield f"1 of {of} is a sinkhole, {rate}/s: hits", ill(1, of, rate=rate, seconds=10), "", lambda s: s.at([0]), 5
        yield f"1 of {of} is a sinkhole, {rate}/s: client errors", ill(1, of, rate=rate, seconds=10), "", lambda s: s.errors(), 0


def vary(simulate, seeds):
    """Prints what is missed and how many were met; the number of misses."""
    met, missed = 0, 0
    print("| variation | found | at most |\n|---|---|---|")
    for worst_counts, (name, scenario, policy, figure, most) in itertools.chain(
            ((False, one) for one in variations()), ((True, one) for one in steady())):
        found, least, worst = median([simulate(scenario, seed, policy) for seed in seeds], figure)
        if (worst if worst_counts else found) <= most:
            met += 1
        else:
            missed += 1
            print(f"| {name} | {found:.2f} ({least:.2f}–{worst:.2f}) | {most:.2f} |", flush=True)
    print(f"\n{met} of {met + missed} variations within their bounds")
    return missed
