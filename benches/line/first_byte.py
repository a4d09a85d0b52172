"""From exec to the first answer, served from the snapshot alone: the control plane that filled it is gone."""
import json
import statistics
import time

from bench import BINARY, answers, end, free_ports, request, spawn

TIMES = 10


def config(bench, name, file):
    path = bench.folder / f"{name}.yaml"
    path.write_text(json.dumps(file))
    return str(path)


def first_byte(bench):
    control, admin, way, inbound = free_ports(4)
    url = {"urls": [f"http://127.0.0.1:{control}"]}
    plane = {"listen": f"127.0.0.1:{control}", "admin": f"127.0.0.1:{admin}", "data": str(bench.folder / "plane")}
    quiet = {"outbound": {"listen": "off"}, "admin": {"listen": "off"}, "control": url}
    provider = {**quiet, "node": "provider", "state": str(bench.folder / "provider"), "apps": [
        {"service": "app", "app": bench.apps[0], "inbound": f"127.0.0.1:{inbound}", "advertise": "127.0.0.1", "allow_loopback": True}]}
    caller = {**quiet, "node": "caller", "state": str(bench.folder / "caller"), "services": {"app": {"listen": f"127.0.0.1:{way}"}}}
    sidecar = lambda name, file: [str(BINARY), "sidecar", "--config", config(bench, name, file)]

    def start(core, words, name):
        bench.running.append(spawn(core, words, bench.folder / f"{name}.log"))
        return bench.running[-1]

    plane = start("1", [str(BINARY), "control-plane", "--config", config(bench, "plane", plane)], "plane")
    start("1", sidecar("provider", provider), "provider")
    words = sidecar("caller", caller)
    once = start("0", words, "caller")
    if not answers(way, 30):
        raise SystemExit(f"the list did not arrive:\n{(bench.folder / 'caller.log').read_text()[-2000:]}")
    time.sleep(2)       # the snapshot is written a moment after a change
    end(once)
    end(plane)
    took = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        process = start("0", words, "caller")
        while True:
            try:
                request(way).close()
                break
            except OSError as why:
                if time.perf_counter() - begun > 10:
                    raise SystemExit(f"no answer from the snapshot: {why}") from why
        took.append((time.perf_counter() - begun) * 1e3)
        end(process)
    print(f"first answer after exec, from the snapshot: median {statistics.median(took):.0f} ms, {min(took):.0f}–{max(took):.0f} (goal ≤ 80)")
