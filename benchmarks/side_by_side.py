"""`make bench`: the servers side by side in one run; prints the tables and writes them, the samples and the plots.

`--only ours,mosec --rounds 1 --seconds 1` gives a quick partial run.
"""

import shutil
from pathlib import Path
from typing import Annotated

import cyclopts
from cyclopts import Parameter
from rich.progress import Progress

from benchmarks.digits import drawn_digits
from benchmarks.servers import SERVERS, Server
from benchmarks.table import about, callers_table, table
from benchmarks.turns import SHAPES, Plan, take_turns

FOLDER = Path("benchmarks")


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
    seconds: Annotated[float, Parameter(help="About how long each measurement takes.")] = 2.0,
    model_dir: Path = Path("models/lenet5"),
    folder: Annotated[Path, Parameter(help="Where the results are written.")] = FOLDER,
) -> int:
    """Measures servers side by side. Exit status 1 if any server gave wrong answers or none."""
    if not shutil.which("h2load"):
        raise SystemExit("h2load is missing; on Debian: apt-get install nghttp2-client")
    servers = chosen(only)
    with Progress(transient=True) as progress:
        task = progress.add_task("digits", total=None)
        plan = Plan(servers, rounds, seconds, model_dir, drawn_digits(model_dir))
        results = take_turns(plan, lambda what: progress.update(task, description=what))
    facts = about(servers, rounds, seconds)
    text = "\n".join(
        ["# Side by side", "", *(f"- {name}: {fact}" for name, fact in facts.items()), ""]
        + [table(results, servers, load) for load in SHAPES]
        + [callers_table(results, servers)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "results.md").write_text(text)
    results.save(folder / "results.json", facts)
    print(text)
    return int(any(results.reasons.values()))


if __name__ == "__main__":
    raise SystemExit(cyclopts.run(run))
