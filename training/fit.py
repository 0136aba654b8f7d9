"""The training loop: the whole set is two tensors, an epoch is one `randperm`, a result is one `Epoch`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Generator, Tensor

from training.augment import distort
from training.errors import RunError
from training.evaluation import Evaluation, evaluate
from training.learner import Learner
from training.model import LeNet5, to_float
from training.recipe import Recipe

_TEACHERS_SEEDS = 1000  # apart
_EVALUATION_CHUNKS = 10  # all images at once would take 400 MB


@dataclass(frozen=True)
class Split:
    """Images as uint8 [n, 28, 28] and their labels as int64 [n]."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training images did; accuracies are shares, 0..1."""

    epoch: int
    train_loss: float
    train_accuracy: float
    validation_accuracy: float | None
    seconds: float


def answers_of(network: LeNet5, images: Tensor) -> tuple[Tensor, Tensor]:
    """Returns logits [n, 10] and pool2 [n, 16, 5, 5] for uint8 images [n, 28, 28], without gradients."""
    with torch.no_grad():
        found = [network.activations(to_float(chunk)) for chunk in images.chunk(_EVALUATION_CHUNKS)]
    return torch.cat([each.logits for each in found]), torch.cat([each.pool2 for each in found])


def score(network: LeNet5, split: Split) -> Evaluation:
    """Evaluates the network on undistorted images."""
    return evaluate(answers_of(network, split.images)[0], split.labels)


def fit(
    network: LeNet5, train: Split, validation: Split, recipe: Recipe, on_step: Callable[[Learner], None]
) -> Iterator[Epoch]:
    """Trains the network in place, one epoch per item; calls `on_step` after every batch.

    Raises RunError after an epoch whose loss is no number.
    """
    teachers = list(_teachers(train, recipe, on_step))
    generator = Generator().manual_seed(recipe.seed)
    epochs, steps = recipe.epochs_for(len(train)), recipe.steps_per_epoch(len(train))
    batch = min(recipe.batch, len(train))
    learner = Learner(network, recipe, epochs * steps, teachers)
    for epoch in range(1, epochs + 1):
        started = perf_counter()
        loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for chosen in torch.randperm(len(train), generator=generator)[: steps * batch].view(steps, batch):
            images, labels = to_float(train.images[chosen]), train.labels[chosen]  # [b, 1, 28, 28], [b]
            if recipe.distortion and epoch <= epochs - recipe.clean_epochs:
                images = distort(images, recipe.distortion, generator)
            loss, logits = learner.step(images, labels)
            loss_sum += loss
            correct += (logits.argmax(1) == labels).sum()
            on_step(learner)
        if not loss_sum.isfinite():
            raise RunError(f"the loss is {loss_sum.item()} in epoch {epoch}; try a lower --learning-rate")
        network.load_state_dict(learner.result().state_dict())
        accuracy = score(network, validation).accuracy if len(validation) else None
        yield Epoch(
            epoch, loss_sum.item() / steps, correct.item() / (steps * batch), accuracy, perf_counter() - started
        )


def _teachers(train: Split, recipe: Recipe, on_step: Callable[[Learner], None]) -> Iterator[LeNet5]:
    nothing = Split(train.images[:0], train.labels[:0])
    for number in range(1, recipe.teachers + 1):
        own = replace(recipe, teachers=0, seed=recipe.seed + _TEACHERS_SEEDS * number)
        with torch.random.fork_rng():
            torch.manual_seed(own.seed)
            teacher = LeNet5(own.pooling, own.activation)
        for _ in fit(teacher, train, nothing, own, on_step):
            pass
        yield teacher
