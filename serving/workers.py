"""Several server processes on one port, and the supervisor that keeps their number.

The kernel hands each new connection to one of the workers (SO_REUSEPORT), so a client that wants all of them opens
several connections. Every worker is a whole server: its answer to a health check is the service's, since it comes from
whichever process the next call would reach. A worker that dies takes its connections with it, callers that try again
reach another, and the supervisor starts a new one. The supervisor answers no call itself, and holds the port, so that
it stays the same while workers come and go.
"""

import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from pathlib import Path

from serving.settings import Settings, address
from serving.signals import POLL_S, Told

log = logging.getLogger("lenet-serve")

CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")
# Before a dead worker is replaced, so that one that cannot start leaves the cores to the others.
RESTART_PAUSE_S = 0.5
# Beyond what the settings give a worker for its stop.
STOP_MARGIN_S = 5.0


def supervise(settings: Settings, told: Told, ready: Callable[[str], None]) -> int:
    """Keeps the workers running until told to stop; returns the exit status.

    `ready` is called with the address when all of them answer calls. If one cannot start at first, none stays.
    """
    count = usable_cores() if settings.workers == "auto" else settings.workers
    with ExitStack() as stack:
        try:
            port = stack.enter_context(held_port(settings.host, settings.port))
        except OSError as error:
            where = address(settings.host, settings.port)
            print(f"lenet-serve: error: cannot listen on {where}: {error}", file=sys.stderr)
            return 1
        workers = [Worker(replace(settings, port=port)) for _ in range(count)]
        started = all(worker.is_ready_at_last(told) for worker in workers)
        if started:
            ready(address(settings.host, port))
        while started and not told.to_stop():
            time.sleep(POLL_S)
            for worker in workers:
                worker.revive()
        drained = _stop(workers, settings, told)
        return 0 if drained and (started or told.to_stop()) else 1


class Worker:
    """A place for one server process, which is filled again if the process dies."""

    def __init__(self, settings: Settings) -> None:
        """Starts the process."""
        self._settings = settings
        self._restart_at: float | None = None
        self._start()

    def _start(self) -> None:
        spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._ready, sender = spawn.Pipe(duplex=False)
        self.process = spawn.Process(target=work, args=(self._settings, sender), daemon=True)
        self.process.start()
        sender.close()

    def is_ready_at_last(self, told: Told) -> bool:
        """Waits until the process answers calls; False if it ended instead, or if all are to stop."""
        while not (told.to_stop() or wait([self._ready], POLL_S)):
            pass
        try:
            return self._ready.poll() and bool(self._ready.recv())
        except EOFError:  # the process ended, and has said why
            return False

    def revive(self) -> None:
        """Starts a new process, after a pause, if this one has ended."""
        if self._restart_at is None and not self.process.is_alive():
            log.error("worker %s ended with status %s; starting another", self.process.pid, self.process.exitcode)
            self._restart_at = time.monotonic() + RESTART_PAUSE_S
        if self._restart_at is not None and time.monotonic() >= self._restart_at:
            self._restart_at = None
            self._start()


def work(settings: Settings, ready: Connection) -> None:
    """What a worker process does: serve, until the supervisor says stop or is gone."""
    from serving import command, server

    command.start_log(settings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process; the supervisor acts on it
    sys.exit(server.serve(settings, Told(signal.SIGTERM, hasty=False), ready.send))


def _stop(workers: list[Worker], settings: Settings, told: Told) -> bool:
    """Lets all workers drain at the same time; True if all ended well."""
    processes = [worker.process for worker in workers if worker.process.is_alive()]
    for process in processes:
        process.terminate()
    give_up_at = time.monotonic() + settings.drain_delay_s + settings.grace_s + STOP_MARGIN_S
    while any(process.is_alive() for process in processes) and not told.twice() and time.monotonic() < give_up_at:
        time.sleep(POLL_S)
    for process in processes:
        process.kill()  # without effect on one that has ended
        process.join()
    # One that was still being imported when the signal came has no answer of its own to it.
    return all(process.exitcode in (0, -signal.SIGTERM) for process in processes)


@contextmanager
def held_port(host: str, port: int) -> Iterator[int]:
    """Keeps a port for the workers, and gives its number; raises OSError if another program has it."""
    family, kind, protocol, _, name = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as alone, socket.socket(family, kind, protocol) as shared:
        # Sockets that share a port may belong to two servers, so it is taken alone first.
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        alone.bind(name)
        port = alone.getsockname()[1]
        alone.close()
        shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        shared.bind((name[0], port, *name[2:]))
        yield port


def usable_cores() -> int:
    """The cores that this process may use: what the control group's quota leaves of those that it may run on."""
    allowed = len(os.sched_getaffinity(0))
    try:
        quota, period = CPU_QUOTA.read_text().split()
        return max(1, min(allowed, int(quota) // int(period)))
    except (OSError, ValueError):  # no control group, or "max": no quota
        return allowed
