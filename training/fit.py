"""The training loop: the whole set is two tensors, an epoch is one `randperm`, a result is one `Epoch`."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TypeAlias, cast

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from training.augment import distort
from training.batch_norm import add_batch_norm, fold_batch_norm
from training.errors import RunError
from training.evaluation import Evaluation, evaluate
from training.model import LeNet5, to_float
from training.muon import Muon
from training.recipe import Recipe

# Distillation: share of the loss that teachers make, and the temperature at which their doubts show.
_TAUGHT, _SOFTNESS = 0.9, 3.0
_TEACHERS_SEEDS = 1000  # apart
_EVALUATION_CHUNKS = 10  # all images at once would take 400 MB


_Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


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


class Learner:
    """A network while it learns: with its batch norms, its optimizers, and the running average of its weights."""

    def __init__(self, network: LeNet5, recipe: Recipe, steps: int, teachers: Sequence[LeNet5] = ()) -> None:
        """`teachers` are networks whose mean answer it learns beside the labels."""
        self._teachers = teachers
        self._network = deepcopy(network)
        if recipe.batch_norm:
            add_batch_norm(self._network)
        self._network.to(memory_format=torch.channels_last)  # a third faster with so few channels
        self._recipe = recipe
        self._optimizers = list(_optimizers(self._network, recipe))
        self._schedules = [_schedule(optimizer, recipe, steps) for optimizer in self._optimizers]
        self._average = AveragedModel(self._network, multi_avg_fn=self._move_average, use_buffers=True)

    def step(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Learns one batch, float [b, 1, 28, 28] and int64 [b]; returns its loss [] and its logits [b, 10]."""
        logits = self._network(images)
        loss = functional.cross_entropy(logits, labels, label_smoothing=self._recipe.label_smoothing)
        if self._teachers:
            loss = (1 - _TAUGHT) * loss + _TAUGHT * self._distance_from_teachers(images, logits)
        self._network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it so
        for optimizer, schedule in zip(self._optimizers, self._schedules, strict=True):
            optimizer.step()
            schedule.step()
        self._average.update_parameters(self._network)
        return loss.detach(), logits.detach()

    def result(self) -> LeNet5:
        """Returns what has been learned so far: the average, as a network without batch norm."""
        network = cast(LeNet5, deepcopy(self._average.module)).eval().to(memory_format=torch.contiguous_format)
        fold_batch_norm(network)
        return network

    def _distance_from_teachers(self, images: Tensor, logits: Tensor) -> Tensor:
        with torch.no_grad():
            taught = sum((teacher(images) / _SOFTNESS).softmax(1) for teacher in self._teachers) / len(self._teachers)
        own = (logits / _SOFTNESS).log_softmax(1)
        return functional.kl_div(own, taught, reduction="batchmean") * _SOFTNESS**2

    def _move_average(self, average: _Tensors, current: _Tensors, steps: Tensor | int) -> None:
        if not average[0].is_floating_point():  # a batch norm's count of batches
            return
        # Early weights are poor, so an average of few steps forgets them faster.
        keep = min(self._recipe.averaging, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(average, current, 1 - keep)


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
            if epoch <= epochs - recipe.clean_epochs:
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


def _optimizers(network: LeNet5, recipe: Recipe) -> Iterator[Optimizer]:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adam":
        yield Adam(network.parameters(), rate, weight_decay=decay, fused=True)
    elif recipe.optimizer == "adamw":
        yield AdamW(network.parameters(), rate, weight_decay=decay, fused=True)
    else:
        matrices = [weight for name, weight in network.named_parameters() if weight.ndim > 1]
        rest = [weight for name, weight in network.named_parameters() if weight.ndim == 1]
        yield Muon(matrices, rate, momentum=0.8, decay=decay)
        yield AdamW(rest, rate / 20, betas=(0.8, 0.95), weight_decay=0, fused=True)


def _schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    if recipe.schedule == "constant":
        return ConstantLR(optimizer, 1)
    highest = optimizer.param_groups[0]["lr"]
    return OneCycleLR(optimizer, highest, total_steps=steps + 1, pct_start=0.2, cycle_momentum=False)
