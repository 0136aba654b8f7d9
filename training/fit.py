"""The training loop: the whole set is two tensors, an epoch is one `randperm`, a result is one `Epoch`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from training.augment import distort
from training.errors import RunError
from training.evaluation import Evaluation, evaluate
from training.model import LeNet5, to_float
from training.recipe import Recipe

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


def score(network: LeNet5, split: Split) -> Evaluation:
    """Evaluates the network on undistorted images."""
    with torch.inference_mode():
        logits = [network(to_float(chunk)) for chunk in split.images.chunk(_EVALUATION_CHUNKS)]
    return evaluate(torch.cat(logits), split.labels)


def fit(
    network: LeNet5, train: Split, validation: Split, recipe: Recipe, on_step: Callable[[], None]
) -> Iterator[Epoch]:
    """Trains the network in place, one epoch per item; calls `on_step` after every batch.

    Raises RunError after an epoch whose loss is no number.
    """
    generator = Generator().manual_seed(recipe.seed)
    epochs, steps = recipe.epochs_for(len(train)), recipe.steps_per_epoch(len(train))
    batch = min(recipe.batch, len(train))
    optimizer = AdamW(network.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = OneCycleLR(optimizer, recipe.learning_rate, total_steps=epochs * steps, cycle_momentum=False)
    for epoch in range(1, epochs + 1):
        started = perf_counter()
        loss_sum, correct = torch.zeros(()), torch.zeros((), dtype=torch.long)
        for chosen in torch.randperm(len(train), generator=generator)[: steps * batch].view(steps, batch):
            images, labels = to_float(train.images[chosen]), train.labels[chosen]  # [b, 1, 28, 28], [b]
            if epoch <= epochs - recipe.clean_epochs:
                images = distort(images, recipe.distortion, generator)
            logits = network(images)  # [b, 10]
            loss = functional.cross_entropy(logits, labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
            optimizer.step()
            schedule.step()
            loss_sum += loss.detach()
            correct += (logits.argmax(1) == labels).sum()
            on_step()
        if not loss_sum.isfinite():
            raise RunError(f"the loss is {loss_sum.item()} in epoch {epoch}; try a lower --learning-rate")
        accuracy = score(network, validation).accuracy if len(validation) else None
        yield Epoch(
            epoch, loss_sum.item() / steps, correct.item() / (steps * batch), accuracy, perf_counter() - started
        )
