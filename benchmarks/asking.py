"""One measurement with a Python program in place of h2load: what a caller's own code gets, every answer checked."""

import json
import subprocess
import tempfile
import threading
from pathlib import Path

from benchmarks.digits import WrongAnswer
from benchmarks.environments import python_of
from benchmarks.load import LoadFailed
from benchmarks.measuring import Running, Sample, variables_of
from benchmarks.servers import Client

CALLERS = 64
GRACE_S = 30.0


def ask_with(found: Running, client: Client, seconds: float) -> Sample:
    """Runs a client's program against a server; raises LoadFailed or WrongAnswer."""
    with tempfile.TemporaryDirectory() as folder:
        digits = found.digits.save(Path(folder, "digits.npz"))
        command = [python_of(client.environment), "-m", *client.command.split()]
        command += ["--target", found.target, "--digits", f"{digits}"]
        command += ["--callers", f"{CALLERS}", "--seconds", f"{seconds}"]
        program = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=variables_of(found.server)
        )
        killer = threading.Timer(seconds + GRACE_S, program.kill)
        killer.start()
        with program:
            assert program.stdout
            program.stdout.readline()  # begin
            before = found.processes.cpu_s()
            program.stdout.readline()  # end
            used = found.processes.cpu_s() - before
            output, errors = program.communicate()
        killer.cancel()
    if program.returncode:
        last = errors.strip().rpartition("\n")[2] or "it was ended, or said nothing"
        raise WrongAnswer(last) if "answers are off" in last else LoadFailed(f"{client.name}: {last}")
    return _sample(found, json.loads(output), used)


def _sample(found: Running, figures: dict[str, float], server_cpu_s: float) -> Sample:
    speed, thousands = figures["requests"] / figures["seconds"], figures["requests"] / 1000
    return Sample(
        requests_per_s=speed,
        images_per_s=speed,
        p50_ms=figures["p50_ms"],
        p99_ms=figures["p99_ms"],
        server_cpu_s=server_cpu_s / thousands,
        load_cpu_s=figures["cpu_s"] / thousands,
        rss_mb=found.processes.rss_mb(),
    )
