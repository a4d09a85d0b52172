"""The scenarios: each makes its fault while an open loop of 400 requests/s runs, and says what came of it.

A scenario gives the words to print and whether the goal was met. The goals are those of docs/reliability.md.
"""
import asyncio
import signal
import socket
import struct
import time
import urllib.error
import urllib.request

from load import Load, errors, p99
from world import ARMS, call, until

RATE = 400
SCENARIOS = {}


def scenario(*only):
    """Declares a scenario; `only` names the arms that have what it is about."""
    def declare(function):
        SCENARIOS[function.__name__] = (function, only)
        return function
    return declare


def told(world, load, more="", good=True):
    """The common words: errors, what was wrong, what ran twice."""
    gets, posts = errors(load.seen)
    wrong, twice = sum(one.wrong for one in load.seen), world.twice()
    words = f"G{gets} P{posts} of {len(load.seen)}, p99 {p99(load.seen):.1f} ms"
    words += f", {wrong} wrong" if wrong else ""
    words += f", {twice} POSTs run twice" if twice else ""
    return words + (f", {more}" if more else ""), good and not wrong and not twice


def within(world, load, gets, posts, more="", good=True):
    seen = errors(load.seen)
    return told(world, load, more, good and seen[0] <= gets and seen[1] <= posts)


async def one_bad(world, mode, seconds=5, **how):
    """One of three is `mode` from the first second to the last but one."""
    load = Load(world.entry, **how)
    task = asyncio.create_task(load.run(RATE, seconds))
    await asyncio.sleep(1)
    await call(world.backends[0].be, mode)
    await asyncio.sleep(seconds - 2)
    await call(world.backends[0].be, "ok")
    await task
    return load


@scenario()
async def baseline(world):
    load = Load(world.entry)
    await load.run(RATE, 4)
    return within(world, load, 0, 0)


async def rolling(world, number):
    load = Load(world.entry)
    task = asyncio.create_task(load.run(RATE, 10))
    for backend in world.backends:
        await asyncio.sleep(1.2)
        await call(backend.end, number)
        await asyncio.sleep(0.5)
        await call(backend.start)
    await task
    return load


@scenario()
async def rolling_kill(world):
    load = await rolling(world, signal.SIGKILL)
    return within(world, load, 0, len(load.seen) // 1000)


@scenario()
async def rolling_graceful(world):
    return within(world, await rolling(world, signal.SIGTERM), 0, 0)


@scenario()
async def one_refuses(world):
    return within(world, await one_bad(world, "refuse", 4), 0, 1)


@scenario()
async def one_resets(world):
    return within(world, await one_bad(world, "reset"), 0, 4)


@scenario()
async def one_hangs(world):
    load = await one_bad(world, "hang")
    latest = max(one.took for one in load.seen)
    return told(world, load, f"latest {latest:.1f} s", sum(errors(load.seen)) <= 5 and latest <= 2.2)


@scenario()
async def sigstop(world):
    load = Load(world.entry)
    task = asyncio.create_task(load.run(RATE, 7))
    await asyncio.sleep(1)
    world.backends[0].send(signal.SIGSTOP)
    await asyncio.sleep(3)
    world.backends[0].send(signal.SIGCONT)
    await task
    latest = max(one.took for one in load.seen)
    return told(world, load, f"latest {latest:.1f} s", sum(errors(load.seen)) <= 5 and latest <= 2.2)


@scenario()
async def one_503(world):
    return within(world, await one_bad(world, "503"), 0, 8)


@scenario()
async def one_slow_headers(world):
    return within(world, await one_bad(world, "slow_headers"), 0, 5)


@scenario()
async def one_garbage(world):
    return within(world, await one_bad(world, "garbage"), 0, 9)


@scenario()
async def one_truncates(world):
    # Its head has gone out before its body ends too soon: a failure can be told, not mended.
    load = await one_bad(world, "truncate")
    return told(world, load, good=sum(errors(load.seen)) <= 10)


@scenario()
async def one_slow_300ms(world):
    load = await one_bad(world, "slow")
    share = sum(1 for one in load.seen if one.took > 0.25) / len(load.seen)
    return within(world, load, 0, 0, f"slow share {share:.3f}", share <= 0.02)


@scenario()
async def keepalive_idle_close(world):
    for backend in world.backends:
        backend.be("idle_close")
    load = Load(world.entry, posts=0.5)
    await load.run(RATE / 4, 12)
    return within(world, load, 0, 5)


@scenario()
async def keepalive_close_on_reuse(world):
    for backend in world.backends:
        backend.be("close_on_reuse")
    load = Load(world.entry, posts=0.5)
    await load.run(RATE / 4, 7.5)
    return within(world, load, 0, len(load.seen))


@scenario()
async def all_die_and_return(world):
    load = Load(world.entry)
    task = asyncio.create_task(load.run(RATE, 7))
    await asyncio.sleep(2)
    for backend in world.backends:
        await call(backend.end)
    await asyncio.sleep(2.5)
    await call(world.backends[0].start)
    returned = time.monotonic() - load.start
    await asyncio.sleep(0.5)
    for backend in world.backends[1:]:
        await call(backend.start)
    await task
    bad = [one.due for one in load.seen if not one.good and one.due >= returned]
    back = max(0.0, (max(bad) if bad else returned) - returned)
    return told(world, load, f"good {back:.2f} s after the first return", back <= 0.5)


async def storm(world, mode):
    load = Load(world.entry)
    task = asyncio.create_task(load.run(RATE, 6))
    await asyncio.sleep(2)
    before = len(world.executed())
    for backend in world.backends:
        await call(backend.be, mode)
    await asyncio.sleep(3)
    attempts = len(world.executed()) - before
    for backend in world.backends:
        await call(backend.be, "ok")
    await task
    failing = [one for one in load.seen if 2.2 < one.due < 4.8]
    return load, failing, attempts / (3 * RATE)


@scenario()
async def retry_storm(world):
    load, failing, factor = await storm(world, "503")
    return told(world, load, f"failing p99 {p99(failing):.1f} ms, attempts x{factor:.2f}", factor <= 1.25 and p99(failing) <= 2500)


@scenario()
async def hang_storm(world):
    load, failing, factor = await storm(world, "hang")
    return told(world, load, f"failing p99 {p99(failing):.1f} ms, attempts x{factor:.2f}", factor <= 1.25 and p99(failing) <= 2500)


def controlled(world):
    """A control plane and a sidecar of it, both ready; the sidecar has the world's backends as fixed endpoints."""
    at = f"127.0.0.1:{world.control}"
    words = [world.binary, "control-plane", "--listen", at, "--admin", f"127.0.0.1:{world.operators}", "--data", "control"]
    plane = world.run(words, "control-plane")
    until("the control plane is ready", lambda: ready(world.control))
    to = ", ".join(f"127.0.0.1:{backend.port}" for backend in world.backends)
    (world.folder / "sidecar.yaml").write_text(
        f"node: bench\nstate: {world.folder}/state\noutbound: {{ listen: 127.0.0.1:{world.entry}, domains: [] }}\n"
        f"admin: {{ listen: 127.0.0.1:{world.admin} }}\ncontrol: {{ urls: [\"http://{at}\"] }}\n"
        f"services: {{ upstream: {{ endpoints: [{to}] }} }}\n")
    world.start([world.binary, "sidecar", "--config", "sidecar.yaml"])
    until("the sidecar is ready", lambda: ready(world.admin))
    return plane


def ready(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def push(world, text):
    """Puts a policy; the status."""
    url = f"http://127.0.0.1:{world.operators}/v1/namespaces/default/policies/bench"
    fields = {"content-type": "application/yaml", "x-author": "bench", "x-message": "bench"}
    request = urllib.request.Request(url, text.encode(), fields, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status
    except urllib.error.HTTPError as answer:
        return answer.code


@scenario("outrigger")
async def reload_under_load(world):
    """Five policies pushed, and one that is none, while a download runs."""
    controlled(world)
    load = Load(world.entry)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.entry)
    writer.write(b"GET /drip HTTP/1.1\r\nhost: upstream\r\nconnection: close\r\n\r\n")
    task = asyncio.create_task(load.run(RATE, 6.5))
    for number in range(5):
        await asyncio.sleep(1)
        text = f"kind: Policy\nname: bench\nmatch: {{ service: upstream }}\ntimeout: {{ total: {number + 3}s }}\n"
        assert await call(push, world, text) in (200, 201)
    bad = await call(push, world, "kind: Policy\nname: bench\nmatch: { service: upstream }\ntimeout: { total: soon }\n")
    await task
    download = await reader.read()
    whole = download.endswith(b"0\r\n\r\n") and download.count(b"\r\n64\r\n") == 60
    return within(world, load, 0, 0, f"download {'whole' if whole else 'cut'}, bad policy {bad}", whole and bad >= 400)


@scenario("outrigger")
async def upgrade_under_load(world):
    """Five processes take over from one another while a download runs."""
    world.start()
    load = Load(world.entry)
    reader, writer = await asyncio.open_connection("127.0.0.1", world.entry)
    writer.write(b"GET /drip HTTP/1.1\r\nhost: upstream\r\nconnection: close\r\n\r\n")
    task = asyncio.create_task(load.run(RATE, 6.5))
    for _ in range(5):
        await asyncio.sleep(1)
        await call(world.upgrade)
    await task
    download = await reader.read()
    whole = download.endswith(b"0\r\n\r\n") and download.count(b"\r\n64\r\n") == 60
    first = world.proxy.poll() if world.proxy.poll() is not None else "serves on"
    return within(world, load, 0, 0, f"download {'whole' if whole else 'cut'}, first process: {first}", whole)


@scenario("outrigger")
async def control_plane_kill(world):
    plane = controlled(world)
    load = Load(world.entry)
    task = asyncio.create_task(load.run(RATE, 5))
    await asyncio.sleep(1)
    plane.kill()
    await task
    return within(world, load, 0, 0)


async def ask(world, target, patience=10):
    """The first bytes of an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", world.entry)
    writer.write(f"GET {target} HTTP/1.1\r\nhost: upstream\r\nconnection: close\r\n\r\n".encode())
    try:
        return await asyncio.wait_for(reader.read(), patience)
    except (OSError, asyncio.TimeoutError):
        return b""
    finally:
        writer.close()


@scenario()
async def graceful_stop(world):
    stop = {"haproxy": signal.SIGUSR1, "nginx": signal.SIGQUIT}.get(world.arm, signal.SIGTERM)
    flying = [asyncio.create_task(ask(world, f"/wait/0.8/{number}")) for number in range(20)]
    await asyncio.sleep(0.3)
    world.proxy.send_signal(stop)
    answers = await asyncio.gather(*flying)
    done = sum(b" 200 " in answer[:15] for answer in answers)
    ended = await call(until, "it ended", lambda: world.proxy.poll() is not None)
    return f"{done}/20 done", done == 20 and ended


@scenario(*ARMS)
async def fd_exhaustion(world):
    """More clients than descriptors for five seconds, then room again."""
    clients = []
    world.start(["sh", "-c", 'ulimit -n 160 && exec "$@"', "sh", *world.ordinary()])
    for _ in range(200):
        stream = socket.socket()
        stream.setblocking(False)
        stream.connect_ex(("127.0.0.1", world.entry))
        clients.append(stream)
    await asyncio.sleep(1)
    cpu = world.cpu()
    await asyncio.sleep(4)
    cpu = (world.cpu() - cpu) / 4
    for stream in clients:
        stream.close()
    await asyncio.sleep(2)
    load = Load(world.entry)
    await load.run(RATE / 4, 3)
    log = len(world.told())
    return within(world, load, 0, 0, f"CPU {100 * cpu:.1f} % while full, {log} bytes of log", cpu < 0.05 and log < 10_000)


@scenario()
async def idle_connections(world):
    await Load(world.entry, seed=2).run(RATE, 1)
    before = world.resident()
    held = []
    for _ in range(5000):
        held.append(await asyncio.open_connection("127.0.0.1", world.entry))
        reader, writer = held[-1]
        writer.write(b"GET /one HTTP/1.1\r\nhost: upstream\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(104)
        assert b" 200 " in head[:15], head
    each = (world.resident() - before) * 1000 / len(held)
    load = Load(world.entry)
    await load.run(RATE, 2)
    for _, writer in held:
        writer.close()
    return within(world, load, 0, 0, f"{each:.2f} kB a connection", each <= 4)


async def is_open(reader):
    try:
        await asyncio.wait_for(reader.read(), 0.5)
        return False
    except asyncio.TimeoutError:
        return True
    except OSError:
        return False


@scenario()
async def slowloris(world):
    """A thousand clients that write a byte a second; others must not notice."""
    held = [await asyncio.open_connection("127.0.0.1", world.entry) for _ in range(1000)]
    for _, writer in held:
        writer.write(b"GET / HTTP/1.1\r\nhost: up")
    load = Load(world.entry)
    task = asyncio.create_task(load.run(RATE, 8))
    for _ in range(8):
        await asyncio.sleep(0.9)
        for _, writer in held:
            if not writer.is_closing():
                writer.write(b"x")
    await task
    left = sum(await asyncio.gather(*(is_open(reader) for reader, _ in held)))
    for _, writer in held:
        writer.close()
    return within(world, load, 0, 0, f"{left} left", left == 0)


@scenario()
async def slow_readers(world):
    """Two hundred clients that ask for 20 MB and read nothing."""
    before, held = world.resident(), []
    for _ in range(200):
        stream = socket.socket()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stream.connect(("127.0.0.1", world.entry))
        stream.sendall(b"GET /big HTTP/1.1\r\nhost: upstream\r\n\r\n")
        held.append(stream)
    await asyncio.sleep(2)
    load = Load(world.entry)
    await load.run(RATE, 2)
    grown = world.resident() - before
    for stream in held:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        stream.close()
    return within(world, load, 0, 0, f"{grown:+.1f} MB, {1000 * grown / len(held):.0f} kB each", grown <= 32)


@scenario()
async def client_abort_propagates(world):
    """Fifty clients leave while their answers are awaited; how many backends are told."""
    for number in range(50):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.entry)
        writer.write(f"GET /wait/0.9/{number} HTTP/1.1\r\nhost: upstream\r\n\r\n".encode())
        await writer.drain()
        asyncio.get_running_loop().call_later(0.2, writer.close)
    await asyncio.sleep(1.5)
    heard = sum(line.startswith("ABORT") for line in world.executed())
    return f"{heard}/50 told", heard == 50


@scenario()
async def soak(world):
    """Faults by turns and clients that leave; memory after the first quarter against the end. What is kept of requests that
    failed has a fixed size and is filled first: 4,096 records of ours."""
    for backend in world.backends:
        await call(backend.be, "503")
    await Load(world.entry, seed=2).run(3 * RATE, 5)
    for backend in world.backends:
        await call(backend.be, "ok")
    load, sizes = Load(world.entry), []
    for number, mode in enumerate(["ok", "reset", "503", "garbage", "truncate", "refuse", "close_on_reuse", "ok"] * 2):
        await call(world.backends[number % 3].be, mode)
        leaving = [asyncio.create_task(ask(world, f"/wait/0.5/{number}-{at}", 0.1)) for at in range(10)]
        await load.run(2 * RATE, 1.75)
        await asyncio.gather(*leaving)
        await call(world.backends[number % 3].be, "ok")
        sizes.append((load.count, world.resident()))
    (first, before), (last, after) = sizes[len(sizes) // 4], sizes[-1]
    slope = (after - before) / (last - first) * 10_000
    started = world.resident()
    wrong, twice = sum(one.wrong for one in load.seen), world.twice()
    words = f"{slope:+.2f} MB per 10,000 of {last}, {started:.1f} MB at the end, {wrong} wrong, {twice} POSTs run twice"
    return words, slope <= 0.25 and not wrong and not twice
