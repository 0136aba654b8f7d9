"""A network while it learns: what one batch does to it, and what it has become so far."""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from typing import TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam, AdamW, Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from training.batch_norm import add_batch_norm, fold_batch_norm
from training.model import LeNet5
from training.muon import Muon
from training.recipe import Recipe

# Distillation: share of the loss that teachers make, and the temperature at which their doubts show.
_TAUGHT, _SOFTNESS = 0.9, 3.0

_Tensors: TypeAlias = tuple[Tensor, ...] | list[Tensor]


class Learner:
    """A network with its batch norms, its optimizers, and the running average of its weights."""

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
