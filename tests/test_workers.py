"""Several processes on one port: they share the calls, a dead one is replaced, and all of them stop as one does."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from conftest import ServerProcess, running_server
from grpc_health.v1 import health_pb2, health_pb2_grpc
from test_process import run_server

from clients import Client, Unavailable
from serving import workers

IMAGE = np.zeros((1, 28, 28), np.uint8)
BACK_S = 5


@pytest.fixture
def service(released_model: Path) -> Iterator[ServerProcess]:
    """Two workers that the test may kill."""
    with running_server("--model-dir", str(released_model), "--workers", "2") as started:
        yield started


def worker_processes(service: ServerProcess) -> list[psutil.Process]:
    """Not the process that Python's multiprocessing keeps for itself."""
    children = psutil.Process(service.process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def wait_until(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    """Fails if it does not come true."""
    ends_at = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < ends_at, "it did not come true in time"
        time.sleep(0.02)


def ready_workers(service: ServerProcess) -> int:
    """How many workers have said so, those that are dead by now included."""
    return sum("version 1 from" in line for line in service.log)


def connections(process: psutil.Process) -> int:
    """The connections that a worker holds."""
    return sum(c.status == psutil.CONN_ESTABLISHED for c in process.net_connections("tcp"))


class Callers:
    """Threads that ask without end, each over connections of its own, until `stop` or an error."""

    def __init__(self, target: str, count: int) -> None:
        self.answered = 0
        self.errors: list[Exception] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(target,)) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self, target: str) -> None:
        try:
            while not self._stop.is_set():
                with Client(target) as client:
                    for _ in range(20):
                        assert client.classify(IMAGE).digits.shape == (1,)
                        self.answered += 1
        except Exception as error:
            self.errors.append(error)

    def stop(self) -> None:
        """Waits until the last call has been answered."""
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def test_connections_are_shared_among_the_workers(service: ServerProcess) -> None:
    """Of 24 connections each worker has some; calls are answered and health is SERVING on every one of them."""
    channels = [
        grpc.insecure_channel(service.target, options=[("grpc.use_local_subchannel_pool", 1)]) for _ in range(24)
    ]
    for channel in channels:
        status = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10).status
        assert status == health_pb2.HealthCheckResponse.SERVING
    held = [connections(process) for process in worker_processes(service)]
    assert len(held) == 2
    assert sum(held) == 24
    assert min(held) >= 1
    for channel in channels:
        channel.close()


def test_a_killed_worker_is_replaced_and_no_caller_that_tries_again_notices(service: ServerProcess) -> None:
    """Killed by SIGKILL four times under load: the other worker stays the same, and a new one is soon back."""
    callers = Callers(service.target, count=4)
    steady = worker_processes(service)[0]
    for _ in range(4):
        answered, ready = callers.answered, ready_workers(service)
        wait_until(lambda count=answered + 50: callers.answered > count)  # type: ignore[misc]
        (victim,) = [process for process in worker_processes(service) if process.pid != steady.pid]
        victim.kill()
        wait_until(lambda count=ready: ready_workers(service) > count, BACK_S)  # type: ignore[misc]
    callers.stop()
    assert callers.errors == []
    assert steady.is_running()
    assert service.stop() == 0


def test_sigterm_under_load_answers_what_is_in_flight_and_leaves_no_process(service: ServerProcess) -> None:
    """Callers are answered until they hear Unavailable; the exit status is 0."""
    callers = Callers(service.target, count=4)
    wait_until(lambda: callers.answered > 100)
    processes = [*worker_processes(service), *psutil.Process(service.process.pid).children()]
    assert service.stop() == 0
    callers.stop()
    assert {type(error) for error in callers.errors} == {Unavailable}
    wait_until(lambda: not any(process.is_running() for process in processes))


def test_a_signal_to_every_process_at_once_drains_too(service: ServerProcess) -> None:
    """As systemd sends it: the workers hear of the stop twice, and still take their time."""
    for process in worker_processes(service):
        process.send_signal(signal.SIGTERM)
    assert service.stop() == 0
    assert sum("stopped" in line for line in service.log) == 2


def test_ctrl_c_in_a_terminal_stops_all(service: ServerProcess) -> None:
    """Every process of the terminal gets SIGINT; the workers wait for the supervisor's word."""
    for process in worker_processes(service):
        process.send_signal(signal.SIGINT)
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(20) == 0


def test_workers_do_not_outlive_their_supervisor(service: ServerProcess) -> None:
    """Even if it had no chance to stop them."""
    processes = worker_processes(service)
    service.process.kill()
    wait_until(lambda: not any(process.is_running() for process in processes))


def test_a_second_signal_ends_the_drain_of_all(released_model: Path) -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    with running_server("--model-dir", str(released_model), "--workers", "2", "--drain-delay-s", "60") as started:
        processes = worker_processes(started)
        started.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in "".join(started.log))
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(10) == 1
        assert not any(process.is_running() for process in processes)


@pytest.mark.parametrize("shared", ["server", "service"])
def test_a_port_that_another_server_has_is_refused(
    request: pytest.FixtureRequest, released_model: Path, shared: str
) -> None:
    """Also if that one has several workers, which share theirs."""
    other: ServerProcess = request.getfixturevalue(shared)
    port = other.target.rpartition(":")[2]
    done = run_server("--port", port, "--workers", "2", "--model-dir", str(released_model))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1:{port}: " in done.stderr
    assert "Traceback" not in done.stderr


def test_workers_that_cannot_start_are_an_error() -> None:
    """Exit status 1 and the reason, not an endless attempt."""
    done = run_server("--port", "0", "--workers", "2", "--model-dir", "/nowhere/at/all")
    assert (done.returncode, done.stdout) == (1, "")
    assert "no model directory at /nowhere/at/all" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000", 4), ("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), (None, 4)]
)
def test_auto_takes_the_cores_that_may_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str | None, cores: int
) -> None:
    """A container's quota counts, and so do the cores that the process is bound to."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(workers, "CPU_QUOTA", tmp_path / "cpu.max")
    if quota:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
    assert workers.usable_cores() == cores


def test_auto_starts_as_many(released_model: Path) -> None:
    """On this machine."""
    with running_server("--model-dir", str(released_model), "--workers", "auto") as started:
        assert len(worker_processes(started)) == workers.usable_cores()
