"""What `make records` measures of one training run; each table has its own question."""

import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from queue import Queue
from time import perf_counter
from typing import Any

import torch
from rich.console import Console

from training import runs
from training.data import Mnist, load_mnist, offline_sample
from training.fit import Split, answers_of, fit, score
from training.learner import Learner
from training.model import LeNet5
from training.recipe import Recipe
from training.strangers import strangers
from training.train import familiarity_of, hold_out, learn

MILESTONES = (0.98, 0.985, 0.99)
LOOK_EVERY_IMAGES = 1500
_LOOKS = 100  # at most, about

Result = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where data comes from and results go."""

    data_dir: Path | None
    fashion_dir: Path
    folder: Path


def images(table: str) -> int:
    """Returns how many images a run of that table learns from."""
    return {"sample": 4_125, "ideas": 50_000, "variants": 50_000}.get(table, 55_000)


def measure(table: str, name: str, recipe: Recipe, place: Place, steps: "Queue[int]") -> Result:
    """Trains by the recipe, puts 1 in `steps` after every batch, and returns the figures of that table."""
    mnist = load_mnist(place.data_dir)
    question = {"record": _record, "sample": _sample, "speed": _speed}.get(table, _comparison)
    started = perf_counter()
    figures = question(mnist, name, recipe, place, lambda: steps.put(1))
    return {**figures, "wall_s": round(perf_counter() - started, 1), "environment": _environment()}


def in_words(result: Result) -> str:
    """Says a result in a few words, for the terminal."""
    if "passed_s" in result:
        passed = ", ".join(f"{float(share):.1%} after {time:.1f} s" for share, time in result["passed_s"].items())
        return f"{passed}; {result['test']['accuracy']:.2%} after {result['train_s']:.1f} s"
    scores = result.get("test") or result["validation"]
    return f"{scores['accuracy']:.2%}, NLL {scores['nll']:.4f}, after {result['wall_s']:.0f} s"


def _record(mnist: Mnist, name: str, recipe: Recipe, place: Place, on_step: Callable[[], None]) -> Result:
    network, metrics = learn(mnist, recipe, Console(quiet=True), lambda _: on_step())
    run_dir = place.folder / name
    runs.prepare(run_dir)
    runs.save(run_dir, network, metrics)
    return {
        **{key: metrics[key] for key in ("test", "epochs", "temperature", "duration_s")},
        "accepted": accepted(network, mnist, recipe, place.fashion_dir),
    }


def accepted(network: LeNet5, mnist: Mnist, recipe: Recipe, fashion_dir: Path) -> dict[str, dict[str, float]]:
    """Returns which share of each set passes for digits, by the exported threshold and where 95 % of digits pass."""
    known = familiarity_of(network, mnist, recipe.validation_images)
    sets = {"MNIST's test digits": mnist.test_images, **strangers(mnist.test_images, fashion_dir)}
    with torch.no_grad():
        found = {name: known(*answers_of(network, images)) for name, images in sets.items()}
    limits = {"the threshold": known.threshold, "95 % of digits": found["MNIST's test digits"].quantile(0.95).item()}
    return {
        by: {name: (each <= limit).double().mean().item() for name, each in found.items()}
        for by, limit in limits.items()
    }


def _sample(mnist: Mnist, name: str, recipe: Recipe, place: Place, on_step: Callable[[], None]) -> Result:
    network, metrics = learn(offline_sample(), recipe, Console(quiet=True), lambda _: on_step())
    test = score(network, Split(mnist.test_images, mnist.test_labels))
    return {"test": asdict(test), "train_s": metrics["duration_s"]}


def _comparison(mnist: Mnist, name: str, recipe: Recipe, place: Place, on_step: Callable[[], None]) -> Result:
    cut = len(mnist.train_labels) * 5 // 6
    train = Split(mnist.train_images[:cut], mnist.train_labels[:cut])
    validation = Split(mnist.train_images[cut:], mnist.train_labels[cut:])
    network = _new_network(recipe)
    started = perf_counter()
    for _ in fit(network, train, validation, recipe, lambda _: on_step()):
        pass
    return {
        "validation": asdict(score(network, validation)),
        "train_s": perf_counter() - started,
        "parameters": sum(weights.numel() for weights in network.parameters()),
    }


def _speed(mnist: Mnist, name: str, recipe: Recipe, place: Place, on_step: Callable[[], None]) -> Result:
    """Looks at the test set while it learns, with the clock stopped: a race to an accuracy can't be run without."""
    train, _ = hold_out(mnist, recipe.validation_images)
    nothing, test = Split(train.images[:0], train.labels[:0]), Split(mnist.test_images, mnist.test_labels)
    race = _Race(test, recipe, recipe.epochs_for(len(train)) * len(train))

    def step(learner: Learner) -> None:
        race.look(learner)
        on_step()

    network = _new_network(recipe)
    race.start()
    for _ in fit(network, train, nothing, recipe, step):
        pass
    return {"passed_s": race.passed_s, "train_s": race.elapsed_s(), "test": asdict(score(network, test))}


class _Race:
    """A clock that stands still while it looks how far the learner is."""

    def __init__(self, test: Split, recipe: Recipe, images: int) -> None:
        """`images` is how many will be seen, with repetitions."""
        self.passed_s: dict[float, float] = {}
        self._test, self._batch = test, recipe.batch
        self._look_every = max(LOOK_EVERY_IMAGES, images // _LOOKS)
        self._unseen, self._paused_s, self._started = 0, 0.0, 0.0

    def start(self) -> None:
        self._started = perf_counter()

    def elapsed_s(self) -> float:
        return perf_counter() - self._started - self._paused_s

    def look(self, learner: Learner) -> None:
        self._unseen += self._batch
        if self._unseen < self._look_every:
            return
        self._unseen, now = 0, perf_counter()
        elapsed, accuracy = self.elapsed_s(), score(learner.result(), self._test).accuracy
        for milestone in MILESTONES:
            if accuracy >= milestone:
                self.passed_s.setdefault(milestone, elapsed)
        self._paused_s += perf_counter() - now


def _new_network(recipe: Recipe) -> LeNet5:
    torch.manual_seed(recipe.seed)
    return LeNet5(recipe.pooling, recipe.activation)


def _environment() -> dict[str, str | int]:
    libraries = {library: version(library) for library in ("torch", "numpy")}
    return {**libraries, "machine": platform.machine(), "cpu": _cpu(), "threads": torch.get_num_threads()}


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
