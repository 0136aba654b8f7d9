"""The load: h2load, a native client, so that Python measures only the servers.

Each caller has a connection of its own with one request in flight, for HTTP/1.1 and gRPC alike: this is the one form of
load that both protocols can carry. h2load's summary has no percentiles, so they come from its log of every request.

h2load does not read gRPC's status, which comes in trailers. So every reply is checked by its size: a refusal has no
message, and the bytes that came must be those of as many right answers.
"""

import re
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.dialects import Dialect

HEAD_S = 0.2
TIMEOUT_S = 40.0
# Of the callers wait for an answer: only then is speed counted.
BUSY = 0.9
Rows = NDArray[np.int64]
"""[n, 3]: the start of each request in microseconds, its HTTP status, the microseconds until the end of its reply."""


class LoadFailed(Exception):
    """The load did not come to its end, or not every reply was an answer; the text says what came."""


@dataclass(frozen=True)
class Shape:
    """How many callers ask at one time, each for how many images, over how many connections; None is one for each."""

    callers: int
    images: int
    connections: int | None = None

    @property
    def is_shared(self) -> bool:
        """True if callers share connections, which takes HTTP/2."""
        return self.connections is not None and self.connections < self.callers


@dataclass(frozen=True)
class Load:
    """What h2load counted."""

    requests: int
    data_bytes: int
    requests_per_s: float
    """This and the percentiles: while nearly all callers were waiting for an answer."""
    busy_s: float
    """How long that was."""
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """Of h2load itself."""
    whole_s: float
    """From the first request to the last reply."""

    def answered(self, reply_bytes: int) -> float:
        """Gives the share of requests that were answered, from the bytes of one answer."""
        return self.data_bytes / reply_bytes / self.requests


@dataclass(frozen=True)
class Generator:
    """Sends one body over and over to a server."""

    target: str
    dialect: Dialect
    body: Path
    shape: Shape
    may_refuse: bool = False
    """If not, a request that fails is an error."""

    def latency_s(self) -> float:
        """Loads for a moment, which warms the server up, and tells the mean time that a caller waits."""
        requests = 2 * self.shape.callers
        while True:
            # Not h2load's -D: with hundreds of connections over HTTP/1.1 it now and then waits forever.
            latency_s = float(self._requests(requests)[0][:, 2].mean()) / 1e6
            if latency_s * requests / self.shape.callers > HEAD_S:
                return latency_s
            requests *= 4

    def load(self, requests: int) -> Load:
        """Sends as many requests."""
        rows, output, cpu_s = self._requests(requests)
        begin_us, end_us = busy_us(rows, self.shape.callers)
        ends_us = rows[:, 0] + rows[:, 2]
        counted = rows[(ends_us > begin_us) & (ends_us <= end_us), 2]
        p50, p99 = np.percentile(counted, [50, 99]) / 1000 if len(counted) else (np.nan, np.nan)
        return Load(
            requests=requests,
            data_bytes=int(_found(r"\((\d+)\) data", output)),
            requests_per_s=len(counted) / max(end_us - begin_us, 1) * 1e6,
            busy_s=(end_us - begin_us) / 1e6,
            p50_ms=float(p50),
            p99_ms=float(p99),
            cpu_s=cpu_s,
            whole_s=float(ends_us.max() - rows[:, 0].min()) / 1e6,
        )

    def _requests(self, requests: int) -> tuple[Rows, str, float]:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder, "requests")
            output, cpu_s = self._run(["-n", str(requests), "--log-file", str(log)])
            rows = np.loadtxt(log, np.int64, ndmin=2)
        if not self.may_refuse and (f"{requests} succeeded" not in output or (rows[:, 1] != HTTPStatus.OK).any()):
            raise LoadFailed(f"not every request succeeded: {_found(r'(requests: .*)', output)}")
        return rows, output, cpu_s

    def _run(self, flags: list[str]) -> tuple[str, float]:
        callers = self.shape.callers
        connections = min(callers, self.shape.connections or callers)
        command = ["h2load", "-t", "1", "-c", str(connections), "-m", str(callers // connections)]
        command += [] if self.dialect.is_grpc or self.shape.is_shared else ["--h1"]
        command += [part for header in self.dialect.headers.items() for part in ("-H", ": ".join(header))]
        command += [*flags, "-d", str(self.body), f"http://{self.target}{self.dialect.path}"]
        return _timed(command)


def busy_us(rows: Rows, callers: int) -> tuple[int, int]:
    """Finds the first and the last moment at which nearly all callers were waiting.

    Before it connections are still being opened, after it some callers have made all their requests.
    """
    times = np.concatenate([rows[:, 0] + rows[:, 2], rows[:, 0]])
    order = np.argsort(times, kind="stable")  # of a caller's reply and its next request at one time the reply is first
    waiting = np.cumsum(np.repeat([-1, 1], len(rows))[order])
    busy = np.flatnonzero(waiting >= BUSY * callers)
    return (int(times[order[busy[0]]]), int(times[order[busy[-1] + 1]])) if len(busy) else (0, 0)


def _timed(command: list[str]) -> tuple[str, float]:
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        before = _cpu_s_of_children()
        try:
            status = process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise LoadFailed(f"h2load did not end within {TIMEOUT_S:g} s") from None
        used = _cpu_s_of_children() - before
        output.seek(0)
        text = output.read()
    if status:
        raise LoadFailed(f"h2load ended with status {status}: {text[-200:]}")
    return text, used


def _cpu_s_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # of those that have been waited for
    return usage.ru_utime + usage.ru_stime


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if not match:
        raise LoadFailed(f"h2load printed no {pattern}: {text[-200:]}")
    return match[1]
