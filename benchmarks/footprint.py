"""What our server takes before anyone asks: time to start, memory at rest, and the size of what is installed."""

import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil

STARTS = 7
EXTRA = "serving"
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
    """Installs what the extra needs into an empty folder, and adds up its files."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    with TemporaryDirectory() as folder:
        subprocess.run([*pip, "--constraint", "constraints.txt", "--target", folder, f".[{EXTRA}]"], check=True)
        return sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file()) / 1e6


if __name__ == "__main__":
    print(footprint())
