"""`make records`: trains all that docs/records.md tells of, over several seeds, and writes that file.

A job is one training run; its result is one JSON file under runs/records, which appears when the job is done. Run
again, the command takes up where it was stopped: a job whose file is there, and was made by the same recipe, is not
run again. Jobs run side by side, one thread each, but for those whose time is what counts.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from queue import Empty, Queue
from typing import Annotated, Any

import torch
from cyclopts import App, Parameter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training import command, measurements, tables
from training.data import load_mnist
from training.errors import DataError, RunError
from training.jobs import Job, Table, all_jobs
from training.strangers import FASHION_DIR, fashion

FOLDER = Path("runs/records")

app = App(name="lenet-records", version_flags=[])


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
                    console.print(f"{job.name}: {measurements.in_words(done.result())}", soft_wrap=True)
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that it ends its processes
    command.run(app, interrupted="what has finished is kept; start it again to go on")


if __name__ == "__main__":
    main()
