"""Rounds: in each of them every server has its turn, alone on the machine, and is started anew.

Rounds are interleaved, because the speed of a shared machine drifts; every second one goes backwards, so that no
server always follows the same one. Servers that wait for their turn would still use the processor, and some a lot of
it, so none runs outside its turn. Whatever goes wrong with one of them is its row in the table, never the run's end.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks.asking import ask_with
from benchmarks.digits import Digits
from benchmarks.environments import python_of
from benchmarks.load import LoadFailed, Shape
from benchmarks.measuring import Running, Sample, measure, running
from benchmarks.results import Results
from benchmarks.servers import IN_PROCESS, Server

SHAPES = {
    "1 caller, 1 image a call": Shape(1, 1),
    "32 callers, 1 image a call": Shape(32, 1),
    "256 callers, 1 image a call": Shape(256, 1),
    "32 callers on 4 shared connections, 1 image a call": Shape(32, 1, 4),
    "4 callers, 512 images a call": Shape(4, 512),
}
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured, and for how long."""

    servers: Sequence[Server]
    rounds: int
    seconds: float
    model_dir: Path
    digits: Digits


def take_turns(plan: Plan, tell: Tell) -> Results:
    """Measures all of it; `tell` hears what is being done."""
    results = Results()
    for server in plan.servers:
        tell(f"{server.key}: its environment")
        _install(server, results)
    for number in range(plan.rounds):
        order = plan.servers if number % 2 == 0 else plan.servers[::-1]
        for server in order:
            _turn(server, plan, results, partial(_tell_round, tell, number + 1))
    return results


def _tell_round(tell: Tell, number: int, what: str) -> None:
    tell(f"round {number}: {what}")


def _install(server: Server, results: Results) -> None:
    try:
        python_of(server.environment)
    except Exception as error:
        _fail_all(server, results, error)


def _turn(server: Server, plan: Plan, results: Results, tell: Tell) -> None:
    if all(results.reason(server.key, name) for name in SHAPES):
        return
    tell(f"{server.key} starts")
    try:
        if server.key in IN_PROCESS:
            _measure_in_process(server, plan, results, tell)
            return
        with running(server, plan.model_dir, plan.digits) as found:
            _measure_all(found, plan, results, tell)
    except Exception as error:
        _fail_all(server, results, error)


def _measure_all(found: Running, plan: Plan, results: Results, tell: Tell) -> None:
    key = found.server.key
    for name, shape in SHAPES.items():
        if results.reason(key, name) or (shape.is_shared and not found.server.dialect.has_http2):
            continue
        tell(f"{key}, {name}")
        try:
            results.add(key, name, measure(found, shape, plan.seconds))
        except Exception as error:
            results.fail(key, name, error)
    for client in found.server.clients:
        tell(f"{key}, asked by {client.name}")
        try:
            results.add(key, client.name, ask_with(found, client, plan.seconds))
        except Exception as error:
            results.fail(key, client.name, error)


def _measure_in_process(server: Server, plan: Plan, results: Results, tell: Tell) -> None:
    with tempfile.TemporaryDirectory() as folder:
        digits = plan.digits.save(Path(folder, "digits.npz"))
        words = {"model": plan.model_dir / "1/lean.onnx", "digits": digits}
        command = [python_of(None), "-m", *server.command.format_map(words).split()]
        for name, shape in SHAPES.items():
            if shape.is_shared:
                continue
            tell(f"{server.key}, {name}")
            flags = ["--callers", f"{shape.callers}", "--images", f"{shape.images}", "--seconds", f"{plan.seconds}"]
            done = subprocess.run([*command, *flags], capture_output=True, text=True, check=False)
            if done.returncode:
                raise LoadFailed(done.stderr[-300:])
            results.add(server.key, name, Sample(**json.loads(done.stdout)))


def _fail_all(server: Server, results: Results, error: Exception) -> None:
    for name in SHAPES:
        results.fail(server.key, name, error)
