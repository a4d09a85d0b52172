"""Proxies whose control plane says something wrong, is lost, or both while one of them is restarted.

Each arm knows the same deeds: `push` tells that only these hosts serve, `mend` that all do, `lose` ends the control plane,
and `restart` kills a proxy and starts it at once.
"""
import json
import os
import sys
import time
from pathlib import Path

from arms import TYPE, Envoy, Fleet, HAProxy, got, listed, start, stop, until, write
from arms_listed import door

# How soon news must have been heard to be part of the experiment.
HEARD = 4


class Restarted:
    """What every arm does alike."""

    def restart(self, place, started):
        for port in place.listens:
            place.running[port].kill()
            place.running[port].wait()
            started.append(self.caller(place, port))


class PushedFleet(Restarted, Fleet):
    """Ours, with a second control plane that knows few hosts or none, has been up for long enough to be sure of that, and is
    where the callers' sidecars turn to when theirs is killed."""

    def __init__(self, workers, knows=()):
        super().__init__(workers, inbound=False)
        self.knows = list(knows)

    def urls(self, place, name):
        own, other = f"http://127.0.0.1:{place.control}", f"http://127.0.0.1:{place.control + 2}"
        return [other] if name.startswith("other") else [own, other] if name.startswith("caller") else [own]

    def start(self, place):
        """Who never knew anybody says nothing: the other control plane says that nobody serves because somebody was there, a
        stranger, and left."""
        other = place.control + 2
        apps = [(place.hosts[number], '"off"') for number in self.knows] or [(other, '"off"')]
        started = [self.control(place, other, "other")]
        try:
            started.append(self.beside(place, "other-host", place.inbound + 190, apps))
            says(other, f"instances {len(apps)}")
            if not self.knows:
                stop(started.pop())
                says(other, "instances 0")
            started += super().start(place)
            [says(port, "warming false") for port in (place.control, other)]
        except RuntimeError:
            [stop(process) for process in started]
            raise
        return started

    def push(self, place, _started, hosts):
        assert hosts == self.knows, "the other control plane was given others"
        place.running["control"].kill()
        for port in place.listens:
            if not listed(port + 1, len(place.hosts) - len(hosts), HEARD, "held"):
                raise RuntimeError("a sidecar was not told the wrong list")

    def mend(self, place, started):
        started.append(self.control(place, place.control))
        place.running["other"].kill()

    def lose(self, place, _started):
        place.running["control"].kill()
        place.running["other"].kill()


def says(port, word):
    """Waits until the control plane there says that of itself."""
    if not until(lambda: f"{word}\n" in got(f"http://127.0.0.1:{port}/readyz?verbose"), 60, 0.2):
        raise RuntimeError(f"a control plane does not say {word}")


class PushedEnvoy(Restarted, Envoy):
    """Envoy, which asks five times a second where hosts are."""

    def config(self, place, listen):
        config = super().config(place, listen)
        address = {"socket_address": {"address": "127.0.0.1", "port_value": place.control}}
        cluster = config["static_resources"]["clusters"][0]
        del cluster["load_assignment"]
        source = {"api_type": "REST", "transport_api_version": "V3", "cluster_names": ["control"], "refresh_delay": "0.2s"}
        cluster.update(type="EDS", eds_cluster_config={"eds_config": {"resource_api_version": "V3", "api_config_source": source}})
        config["static_resources"]["clusters"].append({
            "name": "control", "type": "STATIC", "load_assignment": {"cluster_name": "control", "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": address}}]}]}})
        config["node"] = {"id": str(listen), "cluster": "callers"}
        return config

    def start(self, place):
        self.push(place, None, range(len(place.hosts)))
        words = [sys.executable, Path(__file__).with_name("discovery.py"), place.control, place.folder / "hosts.json"]
        place.running["control"] = start(words, place.folder / "discovery.log", None)
        return [place.running["control"], *super().start(place)]

    def push(self, place, _started, hosts):
        address = lambda port: {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        told = {"@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": "app",
                "endpoints": [{"lb_endpoints": [address(place.hosts[number]) for number in hosts]}]}
        fresh = write(place, "hosts.new", json.dumps({"version_info": str(time.time()), "resources": [told], "type_url": told["@type"]}))
        os.replace(fresh, place.folder / "hosts.json")

    def mend(self, place, _started):
        self.push(place, None, range(len(place.hosts)))

    def lose(self, place, _started):
        place.running["control"].kill()


class PushedHAProxy(Restarted, HAProxy):
    """HAProxy, whose servers somebody enables and disables by its socket and saves for the next start."""

    def config(self, place, listen):
        lines = super().config(place, listen).splitlines()
        lines[1:1] = [f" stats socket {place.folder}/{listen}.sock level admin", f" server-state-file {place.folder}/{listen}.state"]
        return "\n".join([*lines, " load-server-state-from-file global"]) + "\n"

    def push(self, place, _started, hosts):
        for listen in place.listens:
            for number in range(len(place.hosts)):
                door(place, listen, f"set server app/s{number} state {'ready' if number in hosts else 'maint'}")
            write(place, f"{listen}.state", door(place, listen, "show servers state"))

    def mend(self, place, started):
        self.push(place, started, range(len(place.hosts)))

    def lose(self, _place, _started):
        """Nobody holds a connection to whoever gives it orders."""
