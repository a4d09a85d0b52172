"""How often each branch of ours is taken under load: the compiler is told (`.cargo/rustc`), and lays out, inlines and orders
what it makes by it. Counts are kept by a function's name and shape; a function that changed since has none, which is no error.
"""
import os
import subprocess
import time
from pathlib import Path

from counts import FIFTY
from loads import ROWS, load

PROFILE = Path("src/profile.profdata")


def branches(bench):
    """Runs every row through a build that counts (`run` makes it), which tells what it counted when it ends."""
    counted = bench.folder / "counted.profraw"
    os.environ["LLVM_PROFILE_FILE"] = str(counted)
    arm = bench.arm("outrigger", services=FIFTY)
    for letter in ROWS:
        load(letter, arm, 2)
    arm.stop()
    if not counted.exists():
        raise SystemExit("the build that counts told nothing at its end")
    subprocess.run([merger(), "merge", "--sparse", "-o", PROFILE, counted], check=True)
    print(f"{PROFILE} is written. cargo does not look at it: `cargo clean --release`, build anew, then `--layout` and `--check`.")


def merger():
    """The tool of the very compiler: the form of what was counted changes with it."""
    root = subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()
    found = list(Path(root).glob("lib/rustlib/*/bin/llvm-profdata"))
    if not found:
        raise SystemExit("llvm-profdata of this toolchain is missing: rustup component add llvm-tools")
    return found[0]
