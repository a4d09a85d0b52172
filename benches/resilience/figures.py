"""What a row is judged by, computed from a story: see `benches/src/resilience/story.rs` for its shape."""
import statistics


class Story:
    """What callers and hosts saw; times in seconds."""

    def __init__(self, told, scenario):
        self.scenario = scenario
        self.requests = [(due / 1e6, took / 1e6, status, host, caller) for due, took, status, host, caller in told["requests"]]
        self.hits = [(at / 1e6, host, status) for at, host, status in told["hits"]]
        self.reasons, self.late = told["reasons"], told["late_p99"] / 1e6
        self.seconds = scenario["millis"] / 1e3

    def due(self, begin=0.0, end=1e9):
        """The requests that were due in a span."""
        return [r for r in self.requests if begin <= r[0] < end]

    def errors(self, begin=0.0, end=1e9):
        """How many callers got no good answer."""
        return sum(r[2] != 200 for r in self.due(begin, end))

    def error_share(self, begin=0.0, end=1e9):
        """The same in percent."""
        return 100 * self.errors(begin, end) / max(len(self.due(begin, end)), 1)

    def percentile(self, share, begin=0.0, end=1e9):
        """Milliseconds until callers had their answer; who left counts with the time it waited."""
        took = sorted(r[1] for r in self.due(begin, end))
        return 1e3 * took[min(int(len(took) * share), len(took) - 1)]

    def at(self, hosts, begin=0.0, end=1e9):
        """How many requests reached these hosts."""
        return sum(begin <= at < end and host in hosts for at, host, _ in self.hits)

    def share(self, hosts, begin=0.0, end=1e9):
        """Their share of all that reached a host, in percent."""
        return 100 * self.at(hosts, begin, end) / max(self.at(range(10**6), begin, end), 1)

    def starved(self, begin, end, least=0.2):
        """Host-seconds in which a host got less than `least` of an even share."""
        hosts, found = len(self.scenario["hosts"]), 0
        for second in range(int(begin), int(end)):
            counts = [0] * hosts
            for at, host, _ in self.hits:
                if second <= at < second + 1:
                    counts[host] += 1
            found += sum(count < least * sum(counts) / hosts for count in counts)
        return found

    def worst_ratio(self, window=5.0, step=0.5):
        """The most that reached hosts for each request that callers sent, in any `window`."""
        worst, at = 0.0, 0.0
        while at + window <= self.seconds:
            sent = len(self.due(at, at + window))
            worst, at = max(worst, self.at(range(10**6), at, at + window) / max(sent, 1)), at + step
        return worst


    def local(self, begin=0.0, end=1e9):
        """The share of answers that came from the caller's own zone, in percent."""
        zone = lambda of, at: self.scenario[of][at].get("zone")
        answered = [r for r in self.due(begin, end) if r[3] >= 0]
        return 100 * sum(zone("hosts", r[3]) == zone("callers", r[4]) for r in answered) / max(len(answered), 1)

    def busiest(self, begin=0.0, end=1e9):
        """The busiest host's requests for each that a host gets on average."""
        hosts = range(len(self.scenario["hosts"]))
        return max(self.at([host], begin, end) for host in hosts) * len(hosts) / max(self.at(hosts, begin, end), 1)

    def newcomers(self):
        """The places of those who join while it runs, and the second in which they do."""
        joins = {place: host["joins_ms"] / 1e3 for place, host in enumerate(self.scenario["hosts"]) if host.get("joins_ms")}
        return list(joins), min(joins.values())

    def off_ramp(self, ramp=30):
        """How far the newcomers' share of each second is from a straight ramp of so many, on average, in percent of a fair share."""
        (places, joined), found = self.newcomers(), 0.0
        fair = len(places) / len(self.scenario["hosts"])
        for second in range(ramp):
            begin = joined + second
            found += abs(self.share(places, begin, begin + 1) / 100 / fair - (second + 0.5) / ramp)
        return 100 * found / ramp

    def first_hit(self):
        """Seconds until a newcomer was met first."""
        places, joined = self.newcomers()
        return min((at for at, host, _ in self.hits if host in places), default=1e9) - joined


def median(stories, figure):
    """The median of a figure over seeds, and its spread."""
    found = [figure(story) for story in stories]
    return statistics.median(found), min(found), max(found)
