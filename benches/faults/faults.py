"""What each fault costs whoever calls: errors, time and requests run twice, ours beside Debian's HAProxy and nginx.

Every scenario has backends and an arm of its own, all on loopback, under an open loop of 400 requests/s of which a fifth
are POSTs. All arms are told how long a try may take (1 s), and may try an idempotent request three times. A line says G and P:
the GETs and POSTs that failed. Ends badly where ours misses a goal.
"""
import argparse
import asyncio
import os
import resource
import sys

from scenarios import SCENARIOS
from world import ARMS, World


def words():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--scenario", default=",".join(SCENARIOS), help=", ".join(SCENARIOS))
    ask.add_argument("--only", default=",".join(ARMS), help="arms")
    said = ask.parse_args()
    said.scenario, said.only = said.scenario.split(","), said.only.split(",")
    for name in said.scenario:
        if name not in SCENARIOS:
            ask.error(f"no scenario {name}")
    return said


def run(name, arm):
    """One scenario at one arm: the words, and whether the goal was met."""
    function, only = SCENARIOS[name]
    if only and arm not in only:
        return "-", None
    world = World(arm, os.environ["FAULTS_BINARY"])
    try:
        if not only:
            world.start()
        return asyncio.run(function(world))
    finally:
        world.close()


def main():
    said = words()
    # Thousands of connections are held here, too.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    missed = []
    for name in said.scenario:
        for arm in said.only:
            told, good = run(name, arm)
            if good is not None:
                print(f"{name:26} {arm:10} {'  ' if good else 'x '}{told}", flush=True)
            if good is False and arm == "outrigger":
                missed.append(name)
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
