"""The rows: what is sent, through which way in, and the goal of PERFORMANCE.md against HAProxy."""
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOOLS = Path(os.environ.get("LINE_TOOLS", "target/release")).resolve()
OPEN_RATE = 6000


@dataclass(frozen=True)
class Row:
    what: str
    way: str
    goal: float = None           # ours ÷ HAProxy, where one is set
    envoy_goal: float = None     # ours ÷ Envoy, where one is set


ROWS = {
    "g": Row("GET 100 B, every feature on", "features", 0.80, 0.35),
    "a": Row("GET 100 B, plain", "plain", 0.85),
    "b": Row("GET 10 kB", "plain", 0.78),
    "c": Row("POST 10 kB", "plain", 0.95),
    "d": Row("TLS from the client, GET 100 B", "tls", 0.85),
    "n": Row("TLS, a full handshake each", "tls", 0.52, 0.75),
    "m": Row("mutual TLS to the endpoints", "mtls", 0.85),
    "e": Row("HTTP/2 from the client, HTTP/1.1 to the endpoints", "h2c", 1.00),
    "h": Row("HTTP/1.1 from the client, HTTP/2 to the endpoints", "h2up"),
    "i": Row("HTTP/2 from the client and to the endpoints", "h2up"),
    "f": Row("a new connection each", "plain", 0.95),
    "o": Row(f"open loop, {OPEN_RATE}/s", "plain", 0.80),
    "t": Row("raw TCP, 64 streams of 10 kB answers", "tcp", 1.00),
}


def command(letter, port, seconds):
    """What makes the load, and its environment."""
    if letter == "o":
        return [str(TOOLS / "line-open"), str(port), "64", str(OPEN_RATE), str(seconds)], {}
    if letter in "ei":
        return ["h2load", "-c", "8", "-m", "8", "-t", "1", "-D", str(seconds), f"http://127.0.0.1:{port}/"], {}
    words = ["wrk", "-t1", "-c64", f"-d{seconds}s", "--timeout", "5s", "-s", str(HERE / "wrk.lua")]
    words += ["-H", "Connection: close"] if letter in "nf" else []
    scheme, path = ("https" if letter in "dn" else "http"), ("/10k" if letter in "bt" else "/")
    host = "localhost" if scheme == "https" else "127.0.0.1"
    return [*words, f"{scheme}://{host}:{port}{path}"], ({"POST": "10240"} if letter == "c" else {})


def result(letter, text):
    """How many requests were answered and how many failed; None if the text says neither."""
    if letter in "ei":
        found = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", text)
        return found and {"requests": int(found[2]), "errors": int(found[3]) + int(found[4])}
    found = re.search(r"\{.*\}", text)
    return found and json.loads(found[0])


def load(letter, arm, seconds):
    """Runs the load on core 1. More than one failure in a thousand fails the bench: a fast no is not fast."""
    words, env = command(letter, arm.ways[ROWS[letter].way], seconds)
    done = subprocess.run(["taskset", "-c", "1", *words], env=dict(os.environ, **env), capture_output=True, text=True)
    found = result(letter, done.stdout)
    if not found:
        raise SystemExit(f"{arm.name}, {letter}: no result: {done.stdout[-300:]}{done.stderr[-300:]}")
    if found["errors"] > found["requests"] / 1000 or not found["requests"]:
        raise SystemExit(f"{arm.name}, {letter}: {found['errors']} of {found['requests']} failed")
    return found
