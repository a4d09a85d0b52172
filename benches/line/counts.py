"""What does not move with the machine: instructions, system calls, memory, wake-ups."""
import contextlib
import re
import shutil
import statistics
import subprocess
import time

from arms import CANNOT
from bench import cpu, request, resident, switches
from loads import ROWS, load

IDLE = 10_000
IDLE_SECONDS = 5
# Names and endpoints that are there for their weight: none is called, nothing listens.
FIFTY = {f"service-{n}": [f"127.1.{n}.{host}:80" for host in range(1, 11)] for n in range(1, 51)}
THOUSAND = {f"service-{n}": [f"127.{1 + n // 250}.{n % 250}.{host}:80" for host in range(1, 101)] for n in range(1, 1001)}


ALLOCATE = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"}


def allocations(dump):
    """How often memory was asked for in what callgrind dumped."""
    asks = {number for number, name in re.findall(r"^c?fn=\((\d+)\) (.+)$", dump, re.M) if name in ALLOCATE}
    calls = re.findall(r"^cfn=\((\d+)\)[^\n]*\ncalls=(\d+)", dump, re.M)
    return sum(int(count) for number, count in calls if number in asks)


def instructions(bench, name, letter, seconds=4, services=None, alone=False):
    """User instructions and allocations per request, counted by callgrind: free of noise, blind to the kernel. With
    `alone`, without what is done by the clock: under callgrind it falls on fewer requests than it would."""
    out = bench.folder / f"callgrind.{name}.{letter}"
    arm = bench.arm(name, ["valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={out}.%p"], services)
    load(letter, arm, 1)
    busiest = max(arm.pids, key=lambda pid: sum(cpu([pid])))
    control = lambda what: subprocess.run(["timeout", "20", "callgrind_control", what, str(busiest)], capture_output=True)

    def counted(deed):
        control("--zero")
        known = set(bench.folder.glob(f"{out.name}.*"))
        done = deed()
        control("--dump")
        dumps = [f.read_text(errors="replace") for f in set(bench.folder.glob(f"{out.name}.*")) - known]
        if not dumps:
            raise SystemExit(f"{name}, {letter}: callgrind counted nothing")
        return done, max((sum(int(n) for n in re.findall(r"^totals: (\d+)", dump, re.M)), allocations(dump)) for dump in dumps)

    done, counts = counted(lambda: load(letter, arm, seconds)["requests"])
    idle = counted(lambda: time.sleep(seconds))[1] if alone else (0, 0)
    arm.stop()
    return tuple((count - by_the_clock) / done for count, by_the_clock in zip(counts, idle))


@contextlib.contextmanager
def halved(letter):
    """Half of the arms' core is taken, so that whoever is measured always has something to do: of two cores in all, one that is
    done as soon as its clients finds few of them at each look, and looks oftener. The open loop is there for who rests."""
    busy = letter != "o" and subprocess.Popen(["taskset", "-c", "0", "sh", "-c", "while :; do :; done"])
    try:
        yield
    finally:
        if busy:
            busy.kill()
            busy.wait()


def syscalls(arm, letter, seconds=4):
    """System calls per request at load; by perf, or by strace where the kernel lets nobody count."""
    with halved(letter):
        return at_load(arm, letter, seconds)


def at_load(arm, letter, seconds):
    load(letter, arm, 1)
    counter, pattern = counting(arm.pids, seconds)
    done = load(letter, arm, seconds)["requests"]
    found = re.search(pattern, counter.communicate()[1], re.M)
    if not found:
        raise SystemExit("neither perf nor strace can count system calls here; one of them needs root")
    return int(found[1]) / done


def counting(pids, seconds):
    """Who counts the system calls of these processes for a little longer than so many seconds, and how it says how many there were."""
    pids = [str(pid) for pid in pids]
    by_perf = ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-p", ",".join(pids), "--"]
    if shutil.which("perf") and subprocess.run([*by_perf, "true"], capture_output=True).returncode == 0:
        return subprocess.Popen([*by_perf, "sleep", str(seconds + 1)], stderr=subprocess.PIPE, text=True), r"^(\d+),"
    by_strace = ["strace", "-f", "-c", "-q", "-U", "calls,name", *(word for pid in pids for word in ("-p", pid))]
    counter = subprocess.Popen(["timeout", "-s", "INT", str(seconds + 2), *by_strace], stderr=subprocess.PIPE, text=True)
    # It attaches to one thread after the other.
    time.sleep(0.5)
    return counter, r"^\s*(\d+)\s+total"


def idle(bench, name, way):
    """kB resident for each of many connections that were answered once and are silent now."""
    arm = bench.arm(name)
    time.sleep(1)
    start, held = resident(arm.pids), []
    trust = bench.trust if way == "tls" else None
    for _ in range(IDLE):
        held.append(request(arm.ways[way], trust))
    time.sleep(1.5)
    each = (resident(arm.pids) - start) / IDLE
    for stream in held:
        stream.close()
    arm.stop()
    return each


def at_start(bench, name):
    """MiB resident once it answers, with fifty services of ten endpoints known."""
    arm = bench.arm(name, services=FIFTY)
    time.sleep(1)
    kilobytes = resident(arm.pids)
    arm.stop()
    return kilobytes / 1024


def memory(bench, names):
    print(f"| arm | MiB at start, 50 services × 10 endpoints | kB per idle connection of {IDLE:,} | with TLS |\n|---|---|---|---|")
    for name in names:
        tls = "–" if "tls" in CANNOT.get(name, ()) else f"{idle(bench, name, 'tls'):.2f}"
        print(f"| {name} | {at_start(bench, name):.1f} | {idle(bench, name, 'plain'):.2f} | {tls} |", flush=True)


def wakeups(bench, names, rounds, seconds):
    """How often whoever stands there is woken: in rounds that load every arm once, the next in the opposite order, and
    then once none is loaded."""
    arms = [bench.arm(name) for name in names]
    near_idle = {arm: [] for arm in arms}
    for turn in range(rounds):
        for arm in arms[:: 1 if turn % 2 == 0 else -1]:
            load("o", arm, 1)
            before = switches(arm.pids)
            done = load("o", arm, seconds)["requests"]
            near_idle[arm].append((switches(arm.pids) - before) / done)
    time.sleep(1)
    start = {arm: switches(arm.pids) for arm in arms}
    time.sleep(IDLE_SECONDS)
    print("| arm | context switches per request, open loop | per second without requests |\n|---|---|---|")
    for arm in arms:
        found = near_idle[arm]
        idle = (switches(arm.pids) - start[arm]) / IDLE_SECONDS
        print(f"| {arm.name} | {statistics.median(found):.3f} ({min(found):.3f}–{max(found):.3f}) | {idle:.1f} |", flush=True)
        arm.stop()


def growth(bench, rounds, seconds):
    """What a long list costs each request: ours beside ours, one with a thousand services of a hundred endpoints."""
    few, many = bench.arm("outrigger"), bench.arm("outrigger", services=THOUSAND)
    ratios = []
    for turn in range(rounds):
        cost = {}
        for arm in (few, many)[:: 1 if turn % 2 == 0 else -1]:
            load("a", arm, 1)
            before = sum(cpu(arm.pids))
            cost[arm] = load("a", arm, seconds)["requests"] / (sum(cpu(arm.pids)) - before)
        ratios.append(cost[few] / cost[many])
    print(f"CPU per request with 1,000 services × 100 endpoints ÷ with one service of 3: {statistics.median(ratios):.3f} "
          f"({min(ratios):.3f}–{max(ratios):.3f}; goal ≤ 1.10)")
    print(f"resident: {resident(many.pids) / 1024:.1f} MiB and {resident(few.pids) / 1024:.1f} MiB")
    few.stop()
    many.stop()
    counted = [instructions(bench, "outrigger", "a", services=services, alone=True)[0] for services in (None, THOUSAND)]
    print(f"instructions per request: {counted[1]:,.0f} and {counted[0]:,.0f}: {counted[1] / counted[0]:.3f}")


def check(bench, ceilings):
    """Ours against the ceilings in the tree."""
    over = []
    for letter, row in ceilings.items():
        arm = bench.arm("outrigger")
        found = {"syscalls": syscalls(arm, letter)}
        arm.stop()
        found["instructions"], found["allocations"] = instructions(bench, "outrigger", letter)
        for what, ceiling in row.items():
            print(f"{letter} {ROWS[letter].what}: {found[what]:,.2f} {what} per request, at most {ceiling:,}", flush=True)
            over += [f"{letter} {what}"] if found[what] > ceiling else []
    if over:
        raise SystemExit(f"above its ceiling: {', '.join(over)}. A change that raises one says why in ceilings.toml.")
