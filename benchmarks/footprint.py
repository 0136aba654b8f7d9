"""What our server takes before anyone asks: time to start, memory at rest, and the size of what is installed."""

import subprocess
import sys
import time
from importlib.metadata import Distribution, PackageNotFoundError, distribution, requires
from pathlib import Path
from statistics import median

import psutil
from packaging.requirements import Requirement

STARTS = 7
PACKAGE, EXTRA = "lenet-lens", "serving"
WORKERS = (1, 2)


def footprint() -> str:
    """Measures all of it, and gives a table in Markdown."""
    lines = ["## LeNet Lens at rest", ""]
    lines += ["| workers | seconds to ready | lowest to highest | memory MB, all processes |", "|---|--:|--:|--:|"]
    for workers in WORKERS:
        starts = [_start(workers) for _ in range(STARTS)]
        seconds = sorted(took for took, _ in starts)
        memory_mb = median(memory for _, memory in starts)
        lines.append(f"| {workers} | {median(seconds):.2f} | {seconds[0]:.2f} to {seconds[-1]:.2f} | {memory_mb:.0f} |")
    return "\n".join([*lines, "", f"Installed, with all that `{EXTRA}` needs: {installed_mb():.0f} MB.", ""])


def _start(workers: int) -> tuple[float, float]:
    """Starts a server; gives the seconds until its ready line, and its resident memory in MB."""
    flags = ["--port", "0", "--workers", str(workers), "--log-level", "error"]
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-m", "serving.command", *flags], stdout=subprocess.PIPE) as process:
        assert process.stdout
        if not process.stdout.readline():
            raise SystemExit("the server did not start")
        took_s = time.perf_counter() - began
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        memory_mb = sum(each.memory_info().rss for each in family) / 1e6
        process.terminate()
    return took_s, memory_mb


def installed_mb() -> float:
    """Adds up the files of the packages that the extra needs."""
    names = _needed(PACKAGE, {EXTRA}) - {PACKAGE}
    return sum(_size(distribution(name)) for name in names) / 1e6


def _needed(name: str, extras: set[str], seen: frozenset[str] = frozenset()) -> set[str]:
    """Gives the names of a package and of all that it requires, here and with these extras."""
    found = {name}
    for line in requires(name) or ():
        requirement = Requirement(line)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""})
        )
        key = f"{requirement.name}[{','.join(sorted(requirement.extras))}]"
        if applies and key not in seen:
            try:
                distribution(requirement.name)
            except PackageNotFoundError:
                continue
            seen |= {key}
            found |= _needed(requirement.name, requirement.extras, seen)
    return found


def _size(package: Distribution) -> int:
    files = [Path(str(package.locate_file(file))) for file in package.files or ()]
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    print(footprint())
