"""`make records`: trains all that docs/records.md tells of, over several seeds, and writes that file.

A job is one training run; its result is one JSON file under runs/records, which appears when the job is done. Run
again, the command takes up where it was stopped: a job whose file is there, and was made by the same recipe, is not
run again. Jobs run side by side, one thread each, but for those whose time is what counts.
"""

import json
import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty, Queue
from typing import Annotated, Any, Literal

import torch
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training import command, measurements, tables
from training.augment import Distortion
from training.data import load_mnist
from training.errors import DataError, RunError
from training.recipe import RECIPES, Recipe
from training.strangers import FASHION_DIR, fashion

FOLDER = Path("runs/records")

_AFFINE = RECIPES["default"].distortion
_SHORT = replace(RECIPES["default"], images_seen=200_000, clean_epochs=1)
IDEAS = {
    "as it is": _SHORT,
    "three times as long": replace(_SHORT, images_seen=600_000),
    "distilled from three": replace(_SHORT, teachers=3),
    "elastic distortion too": replace(_SHORT, distortion=replace(_AFFINE, elastic_px=0.7)),
    "stronger distortion": replace(_SHORT, distortion=Distortion(15, 2.5, 0.15, 10)),
    "batches of 128": replace(_SHORT, batch=128),
    "AdamW in place of Muon": replace(_SHORT, optimizer="adamw", learning_rate=1e-2),
    "no batch norm": replace(_SHORT, batch_norm=False),
    "no average of weights": replace(_SHORT, averaging=0.0),
    "average over ten times the steps": replace(_SHORT, averaging=0.999),
    "no distortion": replace(_SHORT, distortion=Distortion(0, 0, 0, 0), clean_epochs=0),
    "distortion to the end": replace(_SHORT, clean_epochs=0),
    "label smoothing 0.05": replace(_SHORT, label_smoothing=0.05),
    "half the learning rate": replace(_SHORT, learning_rate=0.05),
    "ten times the weight decay": replace(_SHORT, weight_decay=0.1),
}
VARIANTS = {
    "max, relu": _SHORT,
    "avg, relu": replace(_SHORT, pooling="avg"),
    "strided, relu": replace(_SHORT, pooling="strided"),
    "max, tanh": replace(_SHORT, activation="tanh"),
    "avg, tanh": replace(_SHORT, pooling="avg", activation="tanh"),
}

Table = Literal["record", "ideas", "variants", "sample", "speed"]

app = App(name="lenet-records", version_flags=[])


@dataclass(frozen=True)
class Job:
    """One training run: `table` says what is measured, `row` which recipe it is."""

    table: str
    row: str
    recipe: Recipe

    @property
    def name(self) -> str:
        """Its file's name without ending."""
        return f"{self.table}-{self.row}-{self.recipe.seed}".replace(" ", "-").replace(",", "")

    @property
    def alone(self) -> bool:
        """True if it gets all cores, since its time is what is measured."""
        return self.table == "speed"

    @property
    def identity(self) -> dict[str, Any]:
        """What its result depends on, as JSON gives it back."""
        identity: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return identity


def all_jobs() -> Iterator[Job]:
    """Yields every job, those of the record first."""
    yield from _seeds("record", "record", RECIPES["record"], 10)
    for row, recipe in IDEAS.items():
        yield from _seeds("ideas", row, recipe, 3)
    for row, recipe in VARIANTS.items():
        yield from _seeds("variants", row, recipe, 3)
    yield from _seeds("sample", "default", RECIPES["default"], 5)
    yield from _seeds("speed", "fast", RECIPES["fast"], 5)
    yield from _seeds("speed", "article", RECIPES["article"], 3)


@app.default
def records(
    only: Sequence[Table] = (),
    /,
    *,
    data_dir: Annotated[Path | None, Parameter(env_var="MNIST_DIR")] = None,
    fashion_dir: Path = FASHION_DIR,
    folder: Path = FOLDER,
    report: Path = Path("docs/records.md"),
) -> None:
    """Measures training over several seeds and writes the tables of docs/records.md; takes hours, and resumes.

    Exit status: 0 done, 1 an error in one line, 2 wrong usage, 130 interrupted (what is done is kept).

    Parameters
    ----------
    only
        The tables to measure; by default all. The report has what is there.
    data_dir
        Directory with MNIST's four IDX files; without it as for lenet-train.
    fashion_dir
        FashionMNIST's files, by default where Debian's package dataset-fashion-mnist puts them.
    folder
        Where the results are kept, and looked for.
    report
        The file to write.
    """
    mnist = load_mnist(data_dir)
    if not mnist.test_set == "the MNIST test set":
        raise DataError(mnist.source, mnist.test_set, "all of MNIST", "name it with --data-dir")
    fashion(fashion_dir)  # before hours of training, not after
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [job for job in all_jobs() if not only or job.table in only]
    missing = [job for job in jobs if result_of(folder, job) is None]
    place = measurements.Place(data_dir, fashion_dir, folder)
    console = Console(highlight=False)
    console.print(f"{len(jobs)} jobs, {len(jobs) - len(missing)} of them done before")
    run_jobs([job for job in missing if not job.alone], place, console, side_by_side=True)
    run_jobs([job for job in missing if job.alone], place, console, side_by_side=False)
    try:
        report.write_text(_page(folder))
    except OSError as error:
        raise RunError(f"{report}: can't be written ({error.strerror}); name another with --report") from error
    console.print(f"{report}: written")


def _seeds(table: str, row: str, recipe: Recipe, seeds: int) -> Iterator[Job]:
    for seed in range(seeds):
        yield Job(table, row, replace(recipe, seed=seed))


def result_of(folder: Path, job: Job) -> dict[str, Any] | None:
    """Returns the result of a job that is done, None of one that isn't or was another recipe's."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{job.name}.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found["result"] if found["job"] == job.identity else None


def run_jobs(jobs: list[Job], place: measurements.Place, console: Console, *, side_by_side: bool) -> None:
    """Runs the jobs in processes of their own, and keeps each result as soon as it is there."""
    cores = os.cpu_count() or 1
    processes, threads = (cores, 1) if side_by_side else (1, cores)
    context = multiprocessing.get_context("spawn")
    columns = TextColumn("steps"), BarColumn(None), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with (
        context.Manager() as manager,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
        ProcessPoolExecutor(processes, context, _begin, (threads,)) as pool,
    ):
        steps: Queue[int] = manager.Queue()
        bar = progress.add_task("", total=sum(job.recipe.steps(measurements.images(job.table)) for job in jobs))
        waiting = {
            pool.submit(measurements.measure, job.table, job.name, job.recipe, place, steps): job for job in jobs
        }
        try:
            while waiting:
                progress.advance(bar, _taken(steps))
                for done in [future for future in waiting if future.done()]:
                    job = waiting.pop(done)
                    _keep(place.folder, job, done.result())
                    console.print(f"{job.name}: {measurements.in_words(done.result())}")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
            raise


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command ends its processes itself
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process when the command's is gone, whatever ended it: nobody would take its result."""
    parent = multiprocessing.parent_process()
    assert parent
    parent.join()
    os._exit(1)


def _taken(steps: "Queue[int]") -> int:
    try:
        return steps.get(timeout=1)
    except Empty:
        return 0


def _page(folder: Path) -> str:
    results: dict[str, tables.Groups] = {}
    for job in all_jobs():
        if result := result_of(folder, job):
            results.setdefault(job.table, {}).setdefault(job.row, []).append(result)
    return tables.page(results, Counter(job.table for job in all_jobs()))


def _keep(folder: Path, job: Job, result: dict[str, Any]) -> None:
    partial = folder / f"{job.name}.partial"
    partial.write_text(json.dumps({"job": job.identity, "result": result}, indent=2) + "\n")
    partial.replace(folder / f"{job.name}.json")


def main() -> None:
    """Runs the command `lenet-records`."""
    command.run(app)


if __name__ == "__main__":
    main()
