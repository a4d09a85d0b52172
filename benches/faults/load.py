"""An open loop: requests fall due at random (Poisson) whether or not earlier ones were answered, and each one's time
counts from when it was due, so that a stall cannot hide (Tene, "How NOT to measure latency", 2013)."""
import asyncio
import collections
import random
import re
import time

PATIENCE = 10.0

Seen = collections.namedtuple("Seen", "due method good took status wrong")


class Load:
    """Requests to one way in, over connections that are kept and used again."""

    def __init__(self, port, seed=1, posts=0.2):
        self.port, self.dice, self.posts = port, random.Random(seed), posts
        self.idle, self.seen, self.count, self.seed, self.start = [], [], 0, seed, None

    async def run(self, rate, seconds):
        """All of it, answers included."""
        start, at, running = time.monotonic(), 0.0, set()
        self.start = start
        while (at := at + self.dice.expovariate(rate)) < seconds:
            await asyncio.sleep(max(0, start + at - time.monotonic()))
            task = asyncio.create_task(self.one(start, at))
            running.add(task)
            task.add_done_callback(running.discard)
        await asyncio.gather(*running)
        return self.seen

    async def one(self, start, due):
        method = "POST" if self.dice.random() < self.posts else "GET"
        self.count += 1
        target = f"/{self.seed}-{self.count}"
        try:
            status, body, whole = await asyncio.wait_for(self.ask(method, target), PATIENCE)
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            status, body, whole = 0, b"", False
        # Whatever calls itself a good and whole answer must be the one that was asked for.
        right = body == target.encode() + b"." * 100
        wrong = status < 0 or (status == 200 and whole and not right)
        self.seen.append(Seen(due, method, status == 200 and whole and right, time.monotonic() - start - due, status, wrong))

    async def ask(self, method, target):
        """The status (-1 when it is no HTTP), the body, and whether it ended as it said it would."""
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection("127.0.0.1", self.port)
        kept = False
        try:
            length = "content-length: 5\r\n" if method == "POST" else ""
            writer.write(f"{method} {target} HTTP/1.1\r\nhost: upstream\r\n{length}\r\n{'hello' if length else ''}".encode())
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError as cut:
                return (-1 if cut.partial else 0), b"", False
            status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
            if not status:
                return -1, b"", False
            try:
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                if length:
                    body = await reader.readexactly(int(length[1]))
                elif b"chunked" in head.lower():
                    body = await chunks(reader)
                else:
                    body = await reader.read()
            except (asyncio.IncompleteReadError, OSError):
                return int(status[1]), b"", False
            kept = b"connection: close" not in head.lower()
            return int(status[1]), body, True
        finally:
            if kept:
                self.idle.append((reader, writer))
            else:
                writer.close()


async def chunks(reader):
    body = b""
    while size := int((await reader.readuntil(b"\r\n")).strip() or b"0", 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readuntil(b"\r\n")
    return body


def errors(seen):
    """Failed GETs and POSTs."""
    return tuple(sum(1 for one in seen if one.method == method and not one.good) for method in ("GET", "POST"))


def p99(seen):
    """Milliseconds."""
    took = sorted(one.took for one in seen)
    return 1000 * took[int(len(took) * 0.99)] if took else 0.0
