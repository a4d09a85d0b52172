"""Peers that are told where hosts stand, or of hosts that join while they run."""
import json
import os
import socket
import threading

from arms import Envoy, HAProxy, write


def zone_of(place, listen):
    """Where the callers of the proxy on `listen` stand."""
    return next(caller["zone"] for caller in place.scenario["callers"] if caller["port"] == listen)


class ZoneAware(Envoy):
    """Envoy's zone aware routing: it knows its own zone, and all callers by theirs."""

    def config(self, place, listen):
        config = super().config(place, listen)
        address = lambda port: {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}

        def by_zone(ports):
            zones = sorted({zone for zone, _ in ports})
            return [{"locality": {"zone": name}, "lb_endpoints": [address(port) for zone, port in ports if zone == name]} for name in zones]

        callers = [(caller["zone"], caller["port"]) for caller in place.scenario["callers"]]
        hosts = [(host["zone"], host["port"]) for host in place.scenario["hosts"]]
        cluster = config["static_resources"]["clusters"][0]
        cluster["load_assignment"]["endpoints"] = by_zone(hosts)
        cluster["common_lb_config"] = {**cluster.get("common_lb_config", {}), "zone_aware_lb_config": {"min_cluster_size": 1}}
        config["static_resources"]["clusters"].append({
            "name": "callers", "type": "STATIC", "load_assignment": {"cluster_name": "callers", "endpoints": by_zone(callers)}})
        config["cluster_manager"] = {"local_cluster_name": "callers"}
        config["node"] = {"id": str(listen), "cluster": "callers", "locality": {"zone": zone_of(place, listen)}}
        return config


class OwnZone(HAProxy):
    """HAProxy: the own zone's hosts, the others when none of them is up."""

    def config(self, place, listen):
        own = zone_of(place, listen)
        lines = super().config(place, listen).splitlines()
        backup = lambda line: f"{line} backup" if place.scenario["hosts"][int(line.split()[1][1:])]["zone"] != own else line
        lines = [backup(line) if line.startswith(" server ") else line for line in lines]
        return "\n".join([*lines, " option allbackups"]) + "\n"


class Joined(Envoy):
    """Envoy with its hosts in a file that it watches."""

    turn = threading.Lock()  # two that join at once write one file

    def hosts(self, place, late=()):
        address = lambda port: {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        here = [port for number, port in enumerate(place.hosts) if number not in place.late or number in late]
        told = {"@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment", "cluster_name": "app",
                "endpoints": [{"lb_endpoints": [address(port) for port in here]}]}
        fresh = write(place, "hosts.new", json.dumps({"version_info": str(len(here)), "resources": [told]}))
        os.replace(fresh, place.folder / "hosts.json")

    def config(self, place, listen):
        config = super().config(place, listen)
        cluster = config["static_resources"]["clusters"][0]
        del cluster["load_assignment"]
        cluster.update(type="EDS", eds_cluster_config={"eds_config": {"path_config_source": {"path": str(place.folder / "hosts.json")}}})
        config["node"] = {"id": str(listen), "cluster": "callers"}
        return config

    def start(self, place):
        self.hosts(place)
        return super().start(place)

    def join(self, place, _started, number):
        with self.turn:
            joined = {*place.scenario.setdefault("joined", []), number}
            place.scenario["joined"] = sorted(joined)
            self.hosts(place, joined)


class SlowStart(HAProxy):
    """HAProxy with servers that leave maintenance when they join."""

    def config(self, place, listen):
        lines = super().config(place, listen).splitlines()
        late = {f"s{number}" for number in place.late}
        lines = [f"{line} disabled" if line.startswith(" server ") and line.split()[1] in late else line for line in lines]
        return "\n".join([lines[0], f" stats socket {place.folder}/{listen}.sock level admin", *lines[1:]]) + "\n"

    def join(self, place, _started, number):
        for listen in place.listens:
            door(place, listen, f"set server app/s{number} state ready")


def door(place, listen, order):
    """What the HAProxy on `listen` answers to an order by its socket."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(f"{place.folder}/{listen}.sock")
        stream.sendall(f"{order}\n".encode())
        told = b""
        while some := stream.recv(65536):
            told += some
        return told.decode()
