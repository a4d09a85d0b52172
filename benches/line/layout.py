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
# Functions that every start and request run, the busiest first: `benches/line/run --layout` writes this.
"""


def layout(bench):
    out = bench.folder / "callgrind.layout"
    under = ["valgrind", "--tool=callgrind", "--demangle=no", f"--callgrind-out-file={out}"]
    arm = bench.arm("outrigger", under, FIFTY)
    for letter in ROWS:
        load(letter, arm, 2)
    time.sleep(2)
    busiest = max(arm.pids, key=lambda pid: sum(cpu([pid])))
    subprocess.run(["callgrind_control", "--dump", str(busiest)], check=True, capture_output=True)
    dump = "".join(file.read_text(errors="replace") for file in out.parent.glob(f"{out.name}*"))
    arm.stop()
    ran = sorted(costs(dump).items(), key=lambda pair: (-pair[1], pair[0]))
    ORDER.write_text(HEAD + "".join(f"{name}\n" for name, _ in ran))
    print(f"{len(ran)} functions in {ORDER}")


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
