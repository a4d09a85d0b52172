"""Which functions of ours every start and request run: the linker lays them side by side (`build.rs`), so that a start
touches a fifth of the pages that it touches where they are strewn over the program.

Names are the compiler's; one that a later build no longer has is passed over, and one that is new lies elsewhere.
"""
import re
import subprocess
import time
from pathlib import Path

from bench import BINARY, cpu
from counts import FIFTY
from loads import load

ORDER = Path("src/order.txt")
ROWS = "acdefhmt"
HEAD = """\
# Functions that every start runs, then those that requests do, the busiest first: `benches/line/run --layout` writes this.
"""


def layout(bench):
    out = bench.folder / "callgrind.layout"
    under = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={out}"]
    arm = bench.arm("outrigger", under, FIFTY)
    time.sleep(2)
    started = dumped(out, arm)
    for letter in ROWS:
        load(letter, arm, 2)
    both = {**dumped(out, arm), **started}
    arm.stop()
    # What every start runs stands together: a process that carries nothing yet touches no more.
    ran = sorted(both, key=lambda name: (name not in started, -both[name], name))
    ORDER.write_text(HEAD + "".join(f"{name}\n" for name in ran))
    print(f"{len(started)} functions of a start and {len(both) - len(started)} of requests in {ORDER}")


def dumped(out, arm):
    """What ran since the last time."""
    known = set(out.parent.glob(f"{out.name}*"))
    busiest = max(arm.pids, key=lambda pid: sum(cpu([pid])))
    subprocess.run(["callgrind_control", "--dump", str(busiest)], check=True, capture_output=True)
    return costs("".join(file.read_text(errors="replace") for file in set(out.parent.glob(f"{out.name}*")) - known))


def costs(dump):
    """Instructions of each function of the program itself, without what it calls."""
    names, objects, own, called = {}, {}, {}, False
    name = place = None
    for line in dump.splitlines():
        if said := re.match(r"c?ob=\((\d+)\)(?: (.*))?$", line):
            if said[2]:
                objects[said[1]] = said[2]
            place = objects[said[1]] if line[0] == "o" else place
        elif said := re.match(r"c?fn=\((\d+)\)(?: (.*))?$", line):
            if said[2]:
                names[said[1]] = said[2].split("'")[0]
            name = names[said[1]] if line[0] == "f" else name
        elif line.startswith("calls="):
            called = True
        elif line[:1].isdigit() or line[:1] in "+-*":
            if not called and place and place.endswith(BINARY.name) and not name.startswith("0x"):
                # A cost of nothing is left out.
                own[name] = own.get(name, 0) + sum(map(int, line.split()[1:]))
            called = False
    return own
