"""The processes of one server: started, asked what they use, and stopped, however many they are.

They are found by their parents, and by a mark in their environment, because some leave the tree of the process that was
started. Who was found once stays known: some overwrite their environment with a new title, and then lose their parent.
"""

import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO

import psutil

MARK = "BENCHMARK_MARK"
STOP_S = 3.0


def free_port() -> int:
    """Finds a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Processes:
    """A started server."""

    def __init__(self, first: subprocess.Popen[bytes], mark: str, log: IO[bytes]) -> None:
        self._first, self._mark, self._log = first, mark, log
        self._known: set[psutil.Process] = set()

    @property
    def has_ended(self) -> bool:
        """True if the process that was started is no more."""
        return self._first.poll() is not None

    def all(self) -> list[psutil.Process]:
        """Finds the processes that live now."""
        pids = {known.pid for known in self._known}
        # Oldest first, so that a parent is known before its children are looked at.
        for process in sorted(psutil.process_iter(), key=_began):
            if _mark_of(process) == self._mark or _parent_of(process) in pids:
                self._known.add(process)
                pids.add(process.pid)
        self._known = {process for process in self._known if process.is_running()}
        return list(self._known)

    def cpu_s(self) -> float:
        """Sums up the CPU seconds that those which live now have used."""
        return sum(_used(process) for process in self.all())

    def rss_mb(self) -> float:
        """Sums up their resident memory; what processes share counts for each of them."""
        return sum(_resident(process) for process in self.all()) / 1e6

    def last_words(self) -> str:
        """Gives the last line that they printed."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it printed nothing")

    def stop(self) -> None:
        """Asks all of them to end, and ends those that do not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            left = self.all()
            for process in left:
                _send(process, number)
            psutil.wait_procs(left, STOP_S)
        self._first.wait()


@contextmanager
def started(command: Sequence[str], variables: dict[str, str]) -> Iterator[Processes]:
    """Starts a server's command, and stops all that came of it."""
    mark = uuid.uuid4().hex
    with tempfile.TemporaryFile() as log:
        first = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=variables | {MARK: mark})
        processes = Processes(first, mark, log)
        try:
            yield processes
        finally:
            processes.stop()


def _mark_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(MARK)
    except psutil.Error:
        return None


def _parent_of(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


def _began(process: psutil.Process) -> float:
    try:
        return float(process.create_time())
    except psutil.Error:
        return 0.0


def _used(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.Error):
        process.send_signal(number)
