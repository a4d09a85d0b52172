"""Proxies that keep one limit together, of which one comes, one is killed and started again, and whose control plane is killed."""
from math import ceil

from arms import Envoy, Fleet

# Envoy fills a bucket no more often than this.
FILL = 0.05


class Coming:
    """What every arm does alike; a proxy is named by its place among the callers."""

    def arrive(self, place, started, number):
        started.append(self.caller(place, port_of(place, number)))

    def die(self, place, _started, number):
        place.running[port_of(place, number)].kill()
        place.running[port_of(place, number)].wait()


def port_of(place, number):
    return place.scenario["callers"][number]["port"]


class SharedFleet(Coming, Fleet):
    """Ours, with the limit as a fleet's."""

    def __init__(self, workers, rate):
        limit = f"limits: [{{ name: all, rate: {rate}/s, scope: fleet }}]"
        super().__init__(workers, inbound=False, policy=f"kind: Policy\nname: all\nmatch: {{ service: app }}\n{limit}\n")

    def lose(self, place, _started):
        place.running["control"].kill()


class EvenEnvoy(Coming, Envoy):
    """Envoy's local rate limit, an even part of the whole for each."""

    def __init__(self, rate, parts):
        each = {"default_value": {"numerator": 100}}
        tokens = ceil(FILL * rate / parts)
        bucket = {"max_tokens": round(rate / parts), "tokens_per_fill": tokens, "fill_interval": f"{tokens * parts / rate:.6f}s"}
        kind = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
        limit = {"@type": kind, "stat_prefix": "all", "token_bucket": bucket, "filter_enabled": each, "filter_enforced": each}
        super().__init__(filters=[{"name": "limit", "typed_config": limit}])

    def lose(self, _place, _started):
        """It has none."""
