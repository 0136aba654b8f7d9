"""One measurement: a server under one shape of load, every answer checked.

The number of requests is set by a moment of load just before, so that each measurement takes about as long, and is
counted to the last byte at its end.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.digits import Digits
from benchmarks.environments import Unavailable, python_of
from benchmarks.load import Generator, Load, LoadFailed, Shape
from benchmarks.processes import Processes, free_port, started
from benchmarks.servers import Server
from benchmarks.witness import Witness

READY_S = 120.0
POLL_S = 0.1
LEAST_REQUESTS_EACH = 4
LONGER = (1, 3)
ENOUGH = 0.4  # of the time that was asked for


@dataclass(frozen=True)
class Sample:
    """What one measurement found."""

    requests_per_s: float
    images_per_s: float
    p50_ms: float
    p99_ms: float
    server_cpu_s: float
    """For 1,000 images."""
    load_cpu_s: float
    """For 1,000 images."""
    rss_mb: float
    answered: float = 1.0
    """The share of requests that were not refused."""
    answers_per_s: float = 0.0
    """Requests that were not refused, over the whole of the run; only of h2load."""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    server: Server
    target: str
    processes: Processes
    digits: Digits
    """With the answers that are right for this server."""


@contextmanager
def running(server: Server, model_dir: Path, digits: Digits) -> Iterator[Running]:
    """Starts a server and waits for its first right answer; raises Unavailable or WrongAnswer."""
    port = free_port()
    words = {"port": port, "model_dir": model_dir, "model": model_dir / "1/lean.onnx"}
    command = [python_of(server.environment), "-m", *server.command.format_map(words).split()]
    with started(command, variables_of(server)) as processes:
        found = Running(server, f"127.0.0.1:{port}", processes, digits if server.has_network else digits.fixed())
        _wait_for_answer(found)
        yield found


def variables_of(server: Server) -> dict[str, str]:
    """Gives the environment variables for a server and for the programs that ask it."""
    return os.environ | {"PYTHONPATH": f"{Path.cwd()}:{Path('proto').resolve()}", **dict(server.variables)}


def measure(found: Running, shape: Shape, seconds: float) -> Sample:
    """Loads a server for about so long; raises LoadFailed or WrongAnswer unless every reply is an answer."""
    sample = _measure(found, shape, seconds, may_refuse=False)
    if sample.answered != 1:
        raise LoadFailed(f"the replies held {sample.answered:.4%} of the bytes of as many answers")
    return sample


def measure_overload(found: Running, shape: Shape, seconds: float) -> Sample:
    """The same, but counts what is refused by the bytes that are missing."""
    return _measure(found, shape, seconds, may_refuse=True)


def _measure(found: Running, shape: Shape, seconds: float, *, may_refuse: bool) -> Sample:
    server, asked = found.server, found.digits.first(shape.images)
    message = server.dialect.write(asked.images)
    with tempfile.TemporaryDirectory() as folder:
        body = Path(folder, "body")
        body.write_bytes(server.dialect.body(message))
        generator = Generator(found.target, server.dialect, body, shape, may_refuse)
        reply_bytes = server.dialect.frame_bytes + len(_checked_reply(found, message, asked))
        with Witness(found.target, server.dialect, found.digits, may_refuse=may_refuse):
            load, used = _load(found, generator, seconds)
    thousands = load.requests * shape.images / 1000
    return Sample(
        requests_per_s=load.requests_per_s,
        images_per_s=load.requests_per_s * shape.images,
        p50_ms=load.p50_ms,
        p99_ms=load.p99_ms,
        server_cpu_s=used / thousands,
        load_cpu_s=load.cpu_s / thousands,
        rss_mb=found.processes.rss_mb(),
        answered=load.answered(reply_bytes),
        answers_per_s=load.answered(reply_bytes) * load.requests / load.whole_s,
    )


def _load(found: Running, generator: Generator, seconds: float) -> tuple[Load, float]:
    callers = generator.shape.callers
    each = max(LEAST_REQUESTS_EACH, round(seconds / generator.latency_s()))
    for more in LONGER:
        before = found.processes.cpu_s()
        load = generator.load(each * more * callers)
        used = found.processes.cpu_s() - before
        # A connection that is not accepted at once is tried again after a second; that time does not count.
        if load.busy_s > seconds * ENOUGH:
            return load, used
    if not load.busy_s:
        raise LoadFailed(f"the {callers} callers were never all waiting at one time")
    return load, used


def _checked_reply(found: Running, message: bytes, asked: Digits) -> bytes:
    dialect = found.server.dialect
    with dialect.connected(found.target) as ask:
        reply = ask(message)
    asked.check(dialect.read(reply), "the first request")
    return reply


def _wait_for_answer(found: Running) -> None:
    asked = found.digits.first(1)
    message = found.server.dialect.write(asked.images)
    ends_at = time.monotonic() + READY_S
    while True:
        try:
            _checked_reply(found, message, asked)
            return
        except (OSError, grpc.RpcError) as error:
            if found.processes.has_ended:
                raise Unavailable(f"does not start: {found.processes.last_words()}") from error
            if time.monotonic() > ends_at:
                raise Unavailable(f"gave no answer within {READY_S:g} s: {found.processes.last_words()}") from error
        time.sleep(POLL_S)
