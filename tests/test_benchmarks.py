"""The benchmark measures what it says: short runs of it against real servers, and wrong replies, which it must catch.

Only the servers that need no installation run here; the peers have environments of their own.
"""

import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import grpc
import numpy as np
import pytest
from conftest import ROOT

from benchmarks.dialects import DIGITS, OPEN_INFERENCE, raw_http
from benchmarks.digits import Digits, WrongAnswer, drawn_digits
from benchmarks.load import BUSY, LoadFailed, Shape, busy_us
from benchmarks.measuring import measure, measure_overload, running
from benchmarks.open_inference import ModelInferRequest
from benchmarks.processes import started
from benchmarks.servers import SERVERS, Server
from benchmarks.turns import SHAPES

SLEEP = "import time; time.sleep(60)"
DAEMON = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{SLEEP}'], start_new_session=True)"
MODEL_DIR = ROOT / "models/lenet5"
needs_h2load = pytest.mark.skipif(not shutil.which("h2load"), reason="needs h2load, of Debian's nghttp2-client")


@pytest.fixture(scope="module")
def digits() -> Digits:
    """The images of the benchmark and their right answers."""
    return drawn_digits(MODEL_DIR)


@needs_h2load
def test_a_short_run_writes_a_table_with_a_row_for_each_server(tmp_path: Path) -> None:
    """Ours, the echo, and no server at all; every kind of load, and our client in Python."""
    flags = ["--only", "ours,echo,in-process", "--rounds", "1", "--seconds", "0.1", "--no-growth"]
    command = [sys.executable, "-m", "benchmarks.side_by_side", *flags, "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "results.md").read_text()
    for load, shape in SHAPES.items():
        section = text.split(f"## {load}\n")[1].split("\n## ")[0]
        rows = [line.split(" | ")[0] for line in section.splitlines() if line.startswith("| ")][1:]
        expected = [s.name for s in SERVERS if s.key in ("ours", "echo", "in-process")[: 2 if shape.is_shared else 3]]
        assert sorted(rows) == sorted(f"| {name}" for name in expected)
    assert "AsyncClient" in text
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "results.json").read_text())["reasons"] == {}


@needs_h2load
def test_a_wrong_reply_is_caught_before_the_load_and_during_it(digits: Digits) -> None:
    """The echo answers all alike: passed off as a network it never counts as ready; and a single wrong image tells."""
    echo = next(server for server in SERVERS if server.key == "echo")
    liar = dataclasses.replace(echo, has_network=True)
    with (
        pytest.raises(WrongAnswer, match="the first request got answers that are off"),
        running(liar, MODEL_DIR, digits),
    ):
        pass
    wrong = digits.answers.copy()
    wrong[1:] += 0.001  # only the first image is asked about before and by h2load
    ours = next(server for server in SERVERS if server.key == "ours")
    with (
        running(ours, MODEL_DIR, Digits(digits.images, wrong)) as found,
        pytest.raises(WrongAnswer, match="the witness got answers that are off by"),
    ):
        measure(found, Shape(4, 1), 0.5)


@needs_h2load
def test_a_refusal_is_no_answer(digits: Digits) -> None:
    """h2load counts it as a success; the bytes tell. Where refusals are expected they are counted."""
    ours = next(server for server in SERVERS if server.key == "ours")
    timid = dataclasses.replace(ours, command=f"{ours.command} --max-waiting 1")
    with running(timid, MODEL_DIR, digits) as found:
        with pytest.raises((LoadFailed, grpc.RpcError)):
            measure(found, Shape(16, 1), 0.2)
        assert 0 < measure_overload(found, Shape(16, 1), 0.2).answered < 1


def test_a_server_that_cannot_be_had_is_a_row_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not stop the run."""
    from benchmarks import side_by_side

    broken = Server("broken", "Broken", "benchmarks.no_such_module", DIGITS)
    monkeypatch.setattr(side_by_side, "SERVERS", (broken,))
    monkeypatch.chdir(ROOT)
    assert side_by_side.run(rounds=1, seconds=0.1, growth=False, model_dir=MODEL_DIR, folder=tmp_path) == 1
    assert "| Broken | Unavailable: does not start:" in (tmp_path / "results.md").read_text()


def test_every_dialect_writes_the_pixels_and_reads_the_numbers(digits: Digits) -> None:
    """What the servers get is the images as they are."""
    some = digits.first(3)
    assert raw_http("/").write(some.images) == some.images.tobytes()
    np.testing.assert_array_equal(raw_http("/").read(some.answers.tobytes()), some.answers)
    request = ModelInferRequest.FromString(OPEN_INFERENCE.write(some.images))
    assert list(request.inputs[0].shape) == [3, 28, 28]
    assert request.raw_input_contents[0] == some.images.tobytes()


def test_speed_counts_only_while_the_callers_are_waiting() -> None:
    """Two callers, the second of which connects late: what comes before and after is left out."""
    rows = np.array([[0, 200, 10], [10, 200, 10], [20, 200, 10], [20, 200, 10], [30, 200, 10]])
    assert BUSY * 2 > 1
    assert busy_us(rows, 2) == (20, 30)


def test_processes_that_leave_the_tree_are_counted_and_stopped() -> None:
    """A grandchild in a session of its own, which outlives its parent."""
    with started([sys.executable, "-c", f"{DAEMON}; {SLEEP}"], {}) as processes:
        while len(processes.all()) < 2:
            pass
        assert processes.rss_mb() > 5
        found = processes.all()
    assert not [process for process in found if process.is_running() and process.status() != "zombie"]
