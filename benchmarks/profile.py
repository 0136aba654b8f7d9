"""Where the time of a call goes: `perf` watches a loaded server, and each sample counts for the library it is in.

`python -m benchmarks.profile` (needs Debian's linux-perf and nghttp2-client). A sample belongs to the innermost library
on its stack, so Python's own functions count for gRPC where its Cython code calls them; what is left to the interpreter
is our code. Samples are of processor time, so waiting does not count.
"""

import shutil
import subprocess
import tempfile
import threading
from collections import Counter
from pathlib import Path

import cyclopts

from benchmarks.digits import drawn_digits
from benchmarks.load import Shape
from benchmarks.measuring import measure, running
from benchmarks.servers import SERVERS

SAMPLES_PER_S, STACK_BYTES = 997, 16384
# A part of a library's file name, and what it is called in the table; the first on a stack counts.
LIBRARIES = {
    "cygrpc": "gRPC, the lane's thread",
    "onnxruntime": "ONNX Runtime",
    "_multiarray_umath": "NumPy",
    "_message": "protobuf",
}
OURS, OTHER_THREADS = "our Python code and the interpreter", "gRPC, its own threads"


def shares(perf_script: str) -> Counter[str]:
    """Counts the samples of `perf script -F comm,ip,sym,dso` by owner."""
    counts: Counter[str] = Counter()
    for sample in perf_script.split("\n\n"):
        thread, *frames = sample.strip().splitlines() or [""]
        if not frames:
            continue
        if not thread.startswith("python"):  # Python's threads have the name of their program
            counts[OTHER_THREADS] += 1
            continue
        owners = (name for frame in frames for part, name in LIBRARIES.items() if part in frame.rpartition("(")[2])
        counts[next(owners, OURS)] += 1
    return counts


def table(counts: Counter[str], cpu_us: float) -> str:
    """The shares in Markdown, largest first, and in microseconds of a call that takes `cpu_us` in all."""
    total = counts.total()
    rows = [f"| {name} | {n / total:.0%} | {n / total * cpu_us:.0f} |" for name, n in counts.most_common()]
    return "\n".join(["| | share | us a call |", "|---|--:|--:|", *rows, f"| all | 100% | {cpu_us:.0f} |"])


def run(*, callers: int = 32, seconds: float = 6.0, model_dir: Path = Path("models/lenet5")) -> None:
    """Loads one worker with one-image calls on 4 connections, and prints where its time goes."""
    for tool, package in {"perf": "linux-perf", "h2load": "nghttp2-client"}.items():
        if not shutil.which(tool):
            raise SystemExit(f"{tool} is missing; on Debian: apt-get install {package}")
    with running(SERVERS[0], model_dir, drawn_digits(model_dir)) as found, tempfile.TemporaryDirectory() as folder:
        (server,) = found.processes.all()
        shape = Shape(callers, 1, min(callers, 4))
        measure(found, shape, 0.5)
        data = str(Path(folder, "perf.data"))
        record = ["perf", "record", "-e", "cpu-clock", "-F", str(SAMPLES_PER_S), "--call-graph", f"dwarf,{STACK_BYTES}"]
        record += ["-o", data, "-p", str(server.pid), "sleep", str(seconds / 3)]
        watcher = threading.Timer(seconds / 3, subprocess.run, [record], {"capture_output": True})
        watcher.start()
        sample = measure(found, shape, seconds)
        watcher.join()
        command = ["perf", "script", "-i", data, "-F", "comm,ip,sym,dso"]
        script = subprocess.run(command, capture_output=True, text=True, check=True)
    print(f"{callers} callers, {sample.requests_per_s:,.0f} calls/s while watched\n")
    print(table(shares(script.stdout), sample.server_cpu_s * 1000))


if __name__ == "__main__":
    cyclopts.run(run)
