"""The results in Markdown: a table for each kind of load, with medians, and the spread where it decides."""

import os
import platform
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks.asking import CALLERS
from benchmarks.measuring import Sample
from benchmarks.results import Results
from benchmarks.servers import Server

HEAD = (
    "| server | requests/s | lowest to highest | images/s | p50 ms | p99 ms "
    "| server CPU s per 1,000 images | load CPU s per 1,000 images | memory MB |\n"
    "|---|--:|--:|--:|--:|--:|--:|--:|--:|"
)
COLUMNS = 9


def table(results: Results, servers: Sequence[Server], load: str) -> str:
    """Lays out the results of one kind of load."""
    return _table(f"## {load}", results, [(server.name, server.key, load) for server in servers])


def callers_table(results: Results, servers: Sequence[Server]) -> str:
    """Lays out what programs in Python got."""
    asked = [(f"{s.name}, {client.name}", s.key, client.name) for s in servers for client in s.clients]
    return _table(f"## {CALLERS} callers in one Python program, 1 image a call", results, asked)


def _table(title: str, results: Results, entries: Sequence[tuple[str, str, str]]) -> str:
    found = {name: results.of(server, load) for name, server, load in entries}
    rows = [(name, samples) for name, samples in found.items() if samples]
    rows.sort(key=lambda row: -median(row[1], lambda sample: sample.requests_per_s))
    missing = [(name, results.reason(server, load)) for name, server, load in entries]
    lines = [_row(name, samples) for name, samples in rows]
    lines += [f"| {name} | {reason.replace('|', '/')}" + " |" * (COLUMNS - 1) for name, reason in missing if reason]
    return "\n".join([title, "", HEAD, *lines, ""])


def median(samples: Iterable[Sample], pick: Callable[[Sample], float]) -> float:
    """Gives the median of one figure."""
    return statistics.median(pick(sample) for sample in samples)


def _row(name: str, samples: Sequence[Sample]) -> str:
    speeds = [sample.requests_per_s for sample in samples]
    cells = [
        name,
        f"{statistics.median(speeds):,.0f}",
        f"{min(speeds):,.0f} to {max(speeds):,.0f}",
        f"{median(samples, lambda sample: sample.images_per_s):,.0f}",
        f"{median(samples, lambda sample: sample.p50_ms):.3g}",
        f"{median(samples, lambda sample: sample.p99_ms):.3g}",
        f"{median(samples, lambda sample: sample.server_cpu_s):.3f}",
        f"{median(samples, lambda sample: sample.load_cpu_s):.3f}",
        f"{median(samples, lambda sample: sample.rss_mb):,.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def about(servers: Sequence[Server], rounds: int, seconds: float) -> dict[str, str]:
    """Tells where and how the results came to be."""
    return {
        "date": f"{date.today()}",
        "machine": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores, Linux {platform.release()}",
        "rounds": f"{rounds} interleaved rounds of about {seconds:g} s for each server and kind of load",
        "ours": f"Python {platform.python_version()}, " + _versions(),
        "peers": ", ".join(sorted({_pin(server.environment) for server in servers if server.environment})) or "none",
    }


def _versions() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("grpcio", "onnxruntime", "uvloop", "numpy"))


def _pin(environment: str) -> str:
    pins = (Path(__file__).parent / "peers" / f"{environment}.txt").read_text()
    found = re.search(rf"^{environment}(?:\[.*\])?==(\S+)", pins, re.MULTILINE)
    return f"{environment} {found[1] if found else 'of unknown version'}"


def _cpu_model() -> str:
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return str(names[0]) if names else platform.machine()
