"""Runs a server of one's own on a free port, for the demo and the load test.

It is a process of its own, started as anyone would start it, so that what these two show is what users get. Nothing
of the server is imported.
"""

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ServerFailure", "own_server"]

_START_S, _STOP_S = 30.0, 20.0


class ServerFailure(Exception):
    """The server did not start, or did not stop as it should."""


@contextmanager
def own_server(model_dir: Path, log: Path) -> Iterator[str]:
    """Runs a server on a free port, and gives its address.

    Args:
        model_dir: the model to serve.
        log: the file for the server's output; its folder must exist.

    Raises:
        ServerFailure: the server was not ready in time, or did not end with 0 after SIGTERM.
    """
    command = [sys.executable, "-m", "serving.command", "--port", "0", "--model-dir", str(model_dir)]
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for the program that started it, which then stops it
        )
    try:
        yield _target_when_ready(process, log)
        _stop(process)
    finally:
        process.kill()  # without effect on one that has ended
        process.wait()


def _target_when_ready(process: subprocess.Popen[bytes], log: Path) -> str:
    give_up = time.monotonic() + _START_S
    while time.monotonic() < give_up:
        if ready := re.search(r"^lenet-serve: ready on (\S+)$", log.read_text(), re.MULTILINE):
            return ready[1]
        if process.poll() is not None:
            raise ServerFailure(f"the server ended with status {process.returncode} instead of serving")
        time.sleep(0.05)
    raise ServerFailure(f"the server was not ready within {_START_S:g} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        status = process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        raise ServerFailure(f"the server did not stop within {_STOP_S:g} s of SIGTERM") from None
    if status != 0:
        raise ServerFailure(f"the server ended with status {status} after SIGTERM; expected 0")
