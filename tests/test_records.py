"""The tables of docs/records.md come from real runs, and a command that was stopped takes up where it was."""

import subprocess
import sys
from pathlib import Path
from queue import Queue
from typing import Any, get_args

import pytest
import torch
from conftest import ROOT
from mnist_files import part_of, write_mnist
from rich.console import Console

from training import measurements, tables
from training.data import offline_sample
from training.jobs import Job, Table, all_jobs
from training.measurements import Place
from training.recipe import Recipe
from training.records import result_of, run_jobs
from training.strangers import letters

TINY = Recipe(epochs=2, batch=32)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A small MNIST; FashionMNIST's part is played by digits, which is good enough for counting them."""
    directory = tmp_path_factory.mktemp("records")
    mnist = write_mnist(directory / "mnist", part_of(offline_sample(), train=960, test=200), gzipped=True)
    (directory / "results").mkdir()
    torch.set_num_threads(1)
    return Place(mnist, mnist, directory / "results")


@pytest.mark.parametrize("table", ["record", "ideas", "sample", "speed"])
def test_each_table_measures_what_it_shows(place: Place, table: str) -> None:
    """A run of each kind has the figures that its table writes, and counts all of its steps."""
    steps: Queue[int] = Queue()
    result = measurements.measure(table, f"{table}-tiny-0", TINY, place, steps)
    job = Job(table, "tiny", TINY)
    text = tables.page({table: {job.row: [result, result]}}, dict.fromkeys(get_args(Table), 2))
    assert "2 of 2 runs are in" in text
    accuracy = (result.get("test") or result["validation"])["accuracy"]
    assert accuracy > 0.5
    assert f" {100 * accuracy:.2f} " in text
    learned = {"record": 880, "ideas": 800, "sample": 4125, "speed": 880}[table]
    assert steps.qsize() == 2 * (learned // 32)


def test_a_race_is_against_the_clock_without_the_looking(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking at the test set as often as at every step changes the time to the end by less than the looking takes."""
    monkeypatch.setattr(measurements, "LOOK_EVERY_IMAGES", 1)
    result = measurements.measure("speed", "race", TINY, place, Queue())
    assert 0 < result["train_s"] < result["wall_s"] / 2
    assert all(time <= result["train_s"] for time in result["passed_s"].values())


def test_what_is_done_is_not_done_again(place: Place) -> None:
    """Two jobs run in processes of their own; their results are found again, unless the recipe has changed."""
    jobs = [Job("ideas", "two epochs", TINY), Job("ideas", "one epoch", Recipe(epochs=1, batch=32))]
    assert [result_of(place.folder, job) for job in jobs] == [None, None]
    run_jobs(jobs, place, Console(quiet=True), side_by_side=True)
    results = [result_of(place.folder, job) for job in jobs]
    assert all(result and result["environment"]["threads"] == 1 for result in results)
    assert not list(place.folder.glob("*.partial"))
    assert result_of(place.folder, Job("ideas", "two epochs", Recipe(epochs=3, batch=32))) is None


def test_every_job_has_a_name_of_its_own() -> None:
    """Otherwise one result would overwrite another."""
    names = [job.name for job in all_jobs()]
    assert len(set(names)) == len(names) > 50


def result(accuracy: float, nll: float, train_s: float) -> dict[str, Any]:
    """What a comparison leaves."""
    environment = {"cpu": "a CPU", "torch": "2"}
    scores = {"accuracy": accuracy, "nll": nll}
    return {"validation": scores, "parameters": 61_706, "train_s": train_s, "environment": environment}


def test_a_table_has_mean_spread_and_difference() -> None:
    """The figures of a comparison, worked out by hand."""
    groups = {
        "as it is": [result(0.990, 0.03, 10), result(0.992, 0.05, 20)],
        "worse": [result(0.980, 0.06, 10), result(0.984, 0.08, 10)],
    }
    text = tables.page({"ideas": groups}, dict.fromkeys(get_args(Table), 4))
    assert "| as it is | 2 | 99.10 | 0.14 | 99.00 | 99.20 | +0.00 | 0.0400 | 61,706 | 15 |" in text
    assert "| worse | 2 | 98.20 | 0.28 | 98.00 | 98.40 | -0.90 | 0.0700 | 61,706 | 10 |" in text
    assert "`lenet-records record`: 0 of 4 runs are in." in text


def test_letters_are_drawn_in_mnists_form() -> None:
    """Ink on a black frame of four pixels, each letter unlike every other."""
    drawn = letters()
    assert drawn.dtype == torch.uint8
    inner = drawn.clone()
    inner[:, 4:24, 4:24] = 0
    assert inner.max() == 0
    assert drawn.flatten(1).max(1).values.min() > 200
    assert len(torch.unique(drawn.flatten(1), dim=0)) == len(drawn) > 100


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["best"], 2, "best"),
        (["--data-dir", "nowhere"], 1, "nowhere: found no train-images-idx3 file"),
        (["--data-dir", "mnist"], 1, "expected all of MNIST; name it with --data-dir"),
    ],
)
def test_bad_usage_is_an_error_in_one_line(place: Place, arguments: list[str], status: int, complaint: str) -> None:
    """An unknown table, no data, and data that isn't all of MNIST."""
    done = subprocess.run(
        [sys.executable, "-m", "training.records", *arguments],
        cwd=place.folder.parent,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == status
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path(place.folder.parent / "docs").exists()
