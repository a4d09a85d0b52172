"""One app behind every arm: answers a request with its order, and misbehaves as it is told on standard input.

    backend.py PORT LOG

LOG gets a line for each request that it began to execute, so that what ran twice is known whatever died.
"""
import asyncio
import os
import re
import signal
import socket
import struct
import sys

PAD = b"." * 100
BIG = 20_000_000


class Backend:
    def __init__(self, port, log):
        self.port, self.log = port, os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.mode, self.server, self.leaving, self.open, self.aborted = "ok", None, False, set(), 0

    async def listen(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", self.port, backlog=1024, reuse_address=True)

    async def told(self, word):
        """What to be from now on; `refuse` closes the door and everything behind it."""
        self.mode = word
        if word == "refuse":
            self.server.close()
            self.server = None
            for writer in list(self.open):
                reset(writer)
        elif self.server is None and not self.leaving:
            await self.listen()

    async def leave(self):
        """As a careful app does: no new connections, each answer the last of its own, then the end."""
        self.leaving = True
        if self.server:
            self.server.close()
        await asyncio.sleep(1.5)
        os._exit(0)

    async def serve(self, reader, writer):
        self.open.add(writer)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        count = 0
        try:
            while True:
                patience = {"idle_close": 0.1}.get(self.mode)
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), patience if count else None)
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                await reader.readexactly(int(length[1]) if length else 0)
                count += 1
                if self.mode == "close_on_reuse" and count > 1:
                    break
                method, target = head.split(b" ", 2)[:2]
                os.write(self.log, method + b" " + target + b"\n")
                if not await self.answer(reader, writer, method, target):
                    break
        except (asyncio.IncompleteReadError, asyncio.TimeoutError, asyncio.LimitOverrunError, OSError):
            pass
        finally:
            self.open.discard(writer)
            writer.close()

    async def answer(self, reader, writer, method, target):
        """Whether another request may follow."""
        body = target + PAD
        if target.startswith(b"/big"):
            return await big(writer)
        if target.startswith(b"/wait/"):
            if await gone(reader, float(target.split(b"/")[2])):
                os.write(self.log, b"ABORT " + target + b"\n")
                return False
        if target.startswith(b"/drip"):
            return await self.drip(writer)
        if self.mode == "hang":
            await asyncio.sleep(3600)
        if self.mode == "reset":
            reset(writer)
            return False
        if self.mode == "garbage":
            writer.write(b"\x00\x01 this is no HTTP \xff\r\n\r\n")
            return False
        if self.mode == "truncate":
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n" + PAD)
            return False
        if self.mode == "slow":
            await asyncio.sleep(0.3)
        status = b"503 Service Unavailable" if self.mode == "503" else b"200 OK"
        last = b"connection: close\r\n" if self.leaving else b""
        head = b"HTTP/1.1 " + status + b"\r\n" + last + b"content-length: %d\r\n\r\n" % len(body)
        if self.mode == "slow_headers":
            for at in range(len(head)):
                writer.write(head[at : at + 1])
                await asyncio.sleep(0.1)
            head = b""
        writer.write(head + body)
        await writer.drain()
        return not self.leaving

    async def drip(self, writer):
        """Ten seconds of an answer, a piece each tenth of one."""
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(60):
            writer.write(b"64\r\n" + PAD + b"\r\n")
            await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")
        return not self.leaving


async def big(writer):
    """Twenty megabytes, no faster than they are read."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % BIG)
    for _ in range(BIG // 50_000):
        writer.write(b"x" * 50_000)
        await writer.drain()
    return True


async def gone(reader, seconds):
    """Whether the other side left within `seconds`."""
    try:
        return await asyncio.wait_for(reader.read(1), seconds) == b""
    except asyncio.TimeoutError:
        return False
    except OSError:
        return True


def reset(writer):
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main():
    backend = Backend(int(sys.argv[1]), sys.argv[2])
    await backend.listen()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, lambda: loop.create_task(backend.leave()))
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    print("ready", flush=True)
    while line := await orders.readline():
        await backend.told(line.decode().strip())
        print("done", flush=True)


asyncio.run(main())
