"""For which triggers and at what load an outage outlives its cause, with and without what we do against that.

`benches/resilience/run --grid` tells each cell to the simulator with several seeds and draws the median into
docs/metastable.svg: a field is light where the service served again at once after its trigger had ended, darker the later,
and black where it had not when the run ended.
"""
import statistics
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path

from row import hosts, run

CALM, AFTER, STEP = 6, 20, 0.5
SECONDS, LOADS = (1, 2, 3, 4, 6, 8), (50, 60, 70, 75, 80, 85, 90, 95)
# Four hosts of two slots and 40 ms do 200 a second.
HOSTS, SLOTS, WORK, FULL = 4, 2, 40, 200
OPEN = "kind: Policy\nname: grid\nmatch: { service: app }\n"
GUARDS = {"neither": "concurrency: { per_endpoint: off, guard: false }\n", "guard alone": "concurrency: { per_endpoint: off }\n",
          "cap alone": "concurrency: { guard: false }\n", "cap and guard (the default)": ""}
# Who makes more of what fails: callers that give up after 300 ms and try three times more, or the sidecar in their place with
# a budget that nobody should write.
AMPLIFIERS = {"callers try again": "", "the sidecar tries again": "timeout: { per_try: 300ms }\nretry: { attempts: 4, budget: 100%, floor: 1000/s }\n"}
TRIGGERS = {"four times slower work": "slow", "four times the load": "burst"}


def cell(trigger, amplifier, seconds, load):
    """The scenario of one field."""
    rate, end = FULL * load / 100, CALM + seconds
    turns = [{"at_ms": CALM * 1000, "slow": 4.0}, {"at_ms": end * 1000, "slow": 1.0}] if TRIGGERS[trigger] == "slow" else []
    told = run(end + AFTER, rate, hosts(HOSTS, SLOTS, WORK, turns={n: turns for n in range(HOSTS)}), patience=1.2)
    if TRIGGERS[trigger] == "burst":
        told["callers"].append({"rate": 3 * rate, "sidecar": 0, "from_ms": CALM * 1000, "until_ms": end * 1000})
    if not AMPLIFIERS[amplifier]:
        told["callers"] = [{**caller, "tries": 4, "try_ms": 300} for caller in told["callers"]]
    return told


def recovered(story, end):
    """Seconds from the trigger's end until at least 95 % are served in each half second that follows, up to AFTER."""
    late = [n for n in range(int((AFTER - 2) / STEP)) if story.error_share(end + n * STEP, end + (n + 1) * STEP) > 5]
    return (late[-1] + 1) * STEP if late else 0.0


def grid(simulate, seeds, path):
    """Draws the picture, prints for each panel how many fields never recovered; how many there were with the defaults."""
    fields = [(t, a, g, s, l) for t in TRIGGERS for a in AMPLIFIERS for g in GUARDS for s in SECONDS for l in LOADS]

    def told(field):
        trigger, amplifier, guard, seconds, load = field
        policy = OPEN + AMPLIFIERS[amplifier] + GUARDS[guard]
        found = [recovered(simulate(cell(trigger, amplifier, seconds, load), seed, policy), CALM + seconds) for seed in seeds]
        return statistics.median(found)

    with ThreadPoolExecutor(cpu_count()) as pool:
        found = dict(zip(fields, pool.map(told, fields)))
    print("| trigger | amplifier | with | fields that recovered within 2 s | never | slowest, s |\n|---|---|---|---|---|---|")
    for t in TRIGGERS:
        for a in AMPLIFIERS:
            for g in GUARDS:
                own = [found[t, a, g, s, l] for s in SECONDS for l in LOADS]
                print(f"| {t} | {a} | {g} | {sum(f <= 2 for f in own)} of {len(own)} | {sum(map(never, own))} | {max(own):.1f} |", flush=True)
    Path(path).write_text(picture(found))
    return sum(never(f) for (_, _, g, _, _), f in found.items() if g == list(GUARDS)[-1])


def never(found):
    return found >= AFTER - 2


def shade(found):
    """From light to dark; black for never."""
    if never(found):
        return "#000"
    part = min(found / (AFTER - 2), 1.0) ** 0.5
    mix = lambda light, dark: round(light + (dark - light) * part)
    return f"rgb({mix(238, 176)},{mix(246, 32)},{mix(238, 32)})"


def picture(found):
    """One panel for each trigger, amplifier and guard; load from left to right, the trigger's length from below."""
    wide, high, left, top, gap = 24, 18, 70, 70, 40
    panel_wide, panel_high = wide * len(LOADS) + gap, high * len(SECONDS) + gap + 24
    width, height = left + panel_wide * len(GUARDS), top + panel_high * len(TRIGGERS) * len(AMPLIFIERS)
    text = lambda x, y, said, more="": f'<text x="{x}" y="{y}" {more}>{said}</text>\n'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="11">\n'
    svg += '<rect width="100%" height="100%" fill="white"/>\n'
    svg += text(left, 20, "Seconds until a service serves again after its trigger has ended", 'font-size="14" font-weight="bold"')
    svg += text(left, 38, f"in a field, median of the seeds; black: not within {AFTER - 2} s. Across: load in % of what the hosts can do; up: seconds of the trigger.")
    for row, (t, a) in enumerate((t, a) for t in TRIGGERS for a in AMPLIFIERS):
        y = top + row * panel_high
        for column, g in enumerate(GUARDS):
            x = left + column * panel_wide
            svg += text(x, y - 4, f"{t}; {a}" if column == 0 else "", 'font-weight="bold"') + text(x, y + 12, g)
            for n, s in enumerate(reversed(SECONDS)):
                at = y + 18 + n * high
                svg += text(x - 4, at + 13, s, 'text-anchor="end"')
                for m, l in enumerate(LOADS):
                    f = found[t, a, g, s, l]
                    ink = "#fff" if f > 4 else "#333"
                    svg += f'<rect x="{x + m * wide}" y="{at}" width="{wide - 1}" height="{high - 1}" fill="{shade(f)}"/>\n'
                    svg += text(x + m * wide + wide // 2, at + 13, "∞" if never(f) else f"{f:g}", f'text-anchor="middle" font-size="9" fill="{ink}"')
            for m, l in enumerate(LOADS):
                svg += text(x + m * wide + wide // 2, y + 18 + len(SECONDS) * high + 12, l, 'text-anchor="middle" font-size="9"')
    return svg + "</svg>\n"
