"""`make bench`: the servers side by side in one run; prints the tables and writes them, the samples and the plots.

`--only ours,mosec --rounds 1 --seconds 1` gives a quick partial run.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.progress import Progress, TaskID, TextColumn, TimeElapsedColumn

from benchmarks.digits import drawn_digits
from benchmarks.footprint import footprint
from benchmarks.growth import Point, grow, growth_table, save
from benchmarks.plots import plot_growth, plot_servers
from benchmarks.results import Results
from benchmarks.servers import SERVERS, Server
from benchmarks.table import about, callers_table, table
from benchmarks.turns import SHAPES, Plan, take_turns

FOLDER = Path("benchmarks")
GROWTH_ROUNDS = 3
COLUMNS = (TimeElapsedColumn(), TextColumn("{task.description}"))
NOTES = """\
Medians of the rounds. Load: `h2load -t 1` on the same machine, one connection with one request in flight for each
caller, HTTP/1.1 (`--h1`) or HTTP/2 as the server has it; the last table: one Python process on asyncio. Each server ran
alone in its turn, started anew in each round. Requests/s and latency: while nearly all callers were waiting. Memory:
resident, of all its processes. Every answer was checked: under h2load by the exact number of bytes, while a second
client compared values with ONNX Runtime in process to 1e-4; in Python by value. The settings of each server are in its
file under `peers/`. ONNX Runtime in process runs the images of all callers together, without any client.
"""


def chosen(only: str) -> list[Server]:
    """Finds the servers by their keys, separated by commas; all of them if there is none."""
    keys = [key for key in only.split(",") if key]
    if unknown := set(keys) - {server.key for server in SERVERS}:
        raise SystemExit(f"no server {', '.join(sorted(unknown))}; choose from {', '.join(s.key for s in SERVERS)}")
    return [server for server in SERVERS if not keys or server.key in keys]


def run(
    *,
    only: Annotated[str, Parameter(help="Servers by their keys, separated by commas.")] = "",
    rounds: int = 5,
    seconds: Annotated[float, Parameter(help="About how long each measurement takes.")] = 1.5,
    growth: Annotated[bool, Parameter(help="Measure also how our own server grows, and what it takes at rest.")] = True,
    model_dir: Path = Path("models/lenet5"),
    folder: Annotated[Path, Parameter(help="Where the results are written.")] = FOLDER,
) -> int:
    """Measures servers side by side. Exit status 1 if one gave a wrong answer, or one of our own did not run."""
    if not shutil.which("h2load"):
        raise SystemExit("h2load is missing; on Debian: apt-get install nghttp2-client")
    servers, points, rest = chosen(only), [], ""
    with Progress(*COLUMNS, transient=True) as progress:
        task = progress.add_task("digits", total=None)
        tell = partial(_tell, progress, task)
        plan = Plan(servers, rounds, seconds, model_dir, drawn_digits(model_dir))
        results = take_turns(plan, tell)
        if growth:
            points = grow(SERVERS[0], min(rounds, GROWTH_ROUNDS), seconds, model_dir, plan.digits, tell)
            tell("start, memory and size")
            rest = footprint()
    _write(folder, servers, results, points, rest, about(servers, rounds, seconds))
    return int(any(results.is_bad(server.key, must_run=server.environment is None) for server in servers))


def _tell(progress: Progress, task: TaskID, what: str) -> None:
    progress.update(task, description=what)
    if not progress.console.is_terminal:
        progress.console.print(what)


def _write(
    folder: Path, servers: Sequence[Server], results: Results, points: list[Point], rest: str, facts: dict[str, str]
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Side by side", "", "Written by `make bench`.", ""]
    lines += [f"- {name}: {fact}" for name, fact in facts.items()] + [""]
    lines += [table(results, servers, load) for load in SHAPES] + [callers_table(results, servers)]
    lines += [NOTES, "![Throughput against latency](results.png)", ""]
    results.save(folder / "results.json", facts)
    plot_servers(results, servers, folder / "results.png")
    if points:
        lines += [growth_table(points), "![Growth](growth.png)", "", rest]
        save(points, folder / "growth.json")
        plot_growth(points, folder / "growth.png")
    text = "\n".join(lines)
    (folder / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    raise SystemExit(cyclopts.run(run))
