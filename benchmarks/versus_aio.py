"""One-image calls, 32 in flight: this server against grpc.aio with uvloop, side by side in one run.

The load comes from `h2load` (Debian: nghttp2-client), a native HTTP/2 client, so that Python measures only the
servers. h2load does not read gRPC's status, which comes in trailers, so every reply is checked by its size: a refusal
has no message, and the bytes that came must be those of as many right answers. Rounds are interleaved, because the
speed of a shared machine drifts; ratios are taken within a round.
"""

import os
import platform
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import cyclopts
import grpc
from cyclopts import Parameter
from rich.progress import track

from clients.handwriting import Hand, png
from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest

SERVERS = {
    "fast lane": ["serving.command", "--port", "0", "--model-dir"],
    "ordinary handler": ["serving.command", "--port", "0", "--no-lane", "--model-dir"],
    "grpc.aio + uvloop": ["benchmarks.aio_server"],
}
PEER = "grpc.aio + uvloop"
CONNECTIONS, STREAMS = 4, 8
FRAME_HEADER_BYTES = 5


@contextmanager
def running(command: list[str], model_dir: Path) -> Iterator[str]:
    """Starts a server and gives its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command, str(model_dir)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout
    with process, process.stdout:
        ready = re.search(r"ready on (\S+)", process.stdout.readline())
        try:
            if not ready:
                raise SystemExit(
                    f"{command[0]} did not start; run `python -m {' '.join(command)} {model_dir}` to see why"
                )
            yield ready[1]
        finally:
            process.terminate()


def a_digit(target: str) -> ClassifyRequest:
    """One drawn digit in MNIST form, as the server's own normalisation makes it."""
    with grpc.insecure_channel(target) as channel:
        stub = digits_pb2_grpc.DigitClassifierStub(channel)
        reply = stub.Classify(ClassifyRequest(encoded_image=png(5, Hand.of(seed=1))), timeout=10)
    return ClassifyRequest(pixels=reply.pixels)


def reply_size(target: str, request: ClassifyRequest) -> int:
    """The bytes of the right answer, message and frame; fails if the answer is wrong."""
    with grpc.insecure_channel(target) as channel:
        reply = digits_pb2_grpc.DigitClassifierStub(channel).Classify(request, timeout=10)
    if list(reply.digits) != [5]:
        raise SystemExit(f"{target} answers {list(reply.digits)} for a 5")
    return FRAME_HEADER_BYTES + len(reply.SerializeToString())


def load(target: str, request: ClassifyRequest, calls: int) -> float:
    """Makes the calls with h2load, checks the replies, and returns calls per second."""
    message = request.SerializeToString()
    with tempfile.NamedTemporaryFile() as body:
        body.write(struct.pack(">BI", 0, len(message)) + message)
        body.flush()
        command = ["h2load", "-n", str(calls), "-c", str(CONNECTIONS), "-m", str(STREAMS), "-t", "1", "-d", body.name]
        headers = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
        url = f"http://{target}/lenet.v1.DigitClassifier/Classify"
        output = subprocess.run([*command, *headers, url], check=True, capture_output=True, text=True).stdout
    speed = re.search(r"([\d.]+) req/s", output)
    received = re.search(r"\((\d+)\) data", output)
    assert speed, output
    assert received, output
    if int(received[1]) != calls * reply_size(target, request):
        raise SystemExit(f"not every reply of {target} was an answer:\n{output}")
    return float(speed[1])


def table(speeds: dict[str, list[float]], calls: int) -> str:
    """The result in Markdown."""
    lines = [
        "# One-image calls, 32 in flight",
        "",
        f"`make bench` on {date.today()}: {cpu_model()}, {len(speeds[PEER])} interleaved rounds of {calls:,} calls "
        f"from `h2load -c {CONNECTIONS} -m {STREAMS} -t 1` on the same machine; "
        f"Python {platform.python_version()}, grpcio {version('grpcio')}, onnxruntime {version('onnxruntime')}.",
        "",
        f"| server | calls/s, median | lowest to highest | times {PEER}, median | lowest to highest |",
        "|---|---|---|---|---|",
    ]
    for name, ours in speeds.items():
        ratios = [one / other for one, other in zip(ours, speeds[PEER], strict=True)]
        lines.append(
            f"| {name} | {statistics.median(ours):,.0f} | {min(ours):,.0f} to {max(ours):,.0f} "
            f"| {statistics.median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} |"
        )
    return "\n".join(lines) + "\n"


def cpu_model() -> str:
    """The processor's name and number of cores."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{names[0] if names else platform.machine()}, {len(os.sched_getaffinity(0))} cores"


def main(
    *,
    rounds: int = 5,
    calls: Annotated[int, Parameter(help="Calls per server and round.")] = 30_000,
    model_dir: Path = Path("models/lenet5"),
    output: Path = Path("benchmarks/versus_aio.md"),
) -> None:
    """Measures, prints the table and writes it to a file."""
    if not shutil.which("h2load"):
        raise SystemExit("h2load is missing; on Debian: apt-get install nghttp2-client")
    with ExitStack() as stack:
        targets = {name: stack.enter_context(running(command, model_dir)) for name, command in SERVERS.items()}
        request = a_digit(targets["fast lane"])
        for target in targets.values():
            load(target, request, calls // 10)
        speeds: dict[str, list[float]] = {name: [] for name in targets}
        for _ in track(range(rounds), "rounds", transient=True):
            for name, target in targets.items():
                speeds[name].append(load(target, request, calls))
    text = table(speeds, calls)
    output.write_text(text)
    print(text)


if __name__ == "__main__":
    cyclopts.run(main)
