"""A network knows how sure it may be and what a digit looks like; batch norm and Muon do what they are for."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from training.batch_norm import add_batch_norm, fold_batch_norm
from training.calibration import best_temperature, calibrate
from training.familiarity import ACCEPTED, measured
from training.fit import answers_of
from training.model import LeNet5
from training.muon import Muon, orthogonal


def overconfident(n: int = 4000) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [n, 10] that are three times as large as their labels [n] bear out."""
    generator = torch.Generator().manual_seed(0)
    true_logits = torch.randn(n, 10, generator=generator) * 2
    labels = torch.multinomial(true_logits.softmax(1), 1, generator=generator)[:, 0]
    return 3 * true_logits, labels


def test_the_temperature_undoes_overconfidence() -> None:
    """Logits three times too large need a temperature of 3, and half of them one of 1.5."""
    logits, labels = overconfident()
    assert best_temperature(logits, labels) == pytest.approx(3, rel=0.1)
    assert best_temperature(logits / 2, labels) == pytest.approx(1.5, rel=0.1)


def test_calibration_divides_the_networks_logits_and_nothing_else() -> None:
    """By the temperature that it returns; what was best before stays bit for bit."""
    network, (logits, labels) = LeNet5(), overconfident()
    images = torch.randint(0, 256, (3, 28, 28), dtype=torch.uint8)
    before, kernels = answers_of(network, images)[0], deepcopy(network.conv1.state_dict())
    temperature = calibrate(network, logits, labels)
    torch.testing.assert_close(answers_of(network, images)[0], before / temperature)
    assert all(map(torch.equal, kernels.values(), network.conv1.state_dict().values()))
    assert calibrate(network, logits / temperature, labels) == pytest.approx(1, rel=0.01)
    weights = deepcopy(network.state_dict())
    few_mistakes = (logits.argmax(1) == labels).nonzero()[:500, 0]
    assert calibrate(network, logits[few_mistakes] / 9, labels[few_mistakes]) == 1
    assert all(map(torch.equal, weights.values(), network.state_dict().values()))


def digits_seen(n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [n, 10] and pool2 [n, 16, 5, 5] as digits might have them."""
    generator = torch.Generator().manual_seed(seed)
    activity = torch.randn(n, 16, generator=generator) @ torch.randn(16, 16, generator=generator) + 5
    logits = torch.randn(n, 10, generator=generator)
    logits[:, 7] += 12
    return logits, activity[:, :, None, None].expand(n, 16, 5, 5)


def test_familiarity_is_zero_for_half_of_the_training_digits_and_lets_nearly_all_pass() -> None:
    """By definition: the median has 0, and the threshold lets the announced share of held-out digits pass."""
    training, held_out = digits_seen(2000, seed=0), digits_seen(2000, seed=0)
    known = measured(training, held_out)
    assert (known(*training) == 0).float().mean() == pytest.approx(0.5, abs=0.01)
    assert (known(*held_out) <= known.threshold).float().mean() == pytest.approx(ACCEPTED, abs=0.005)


def test_small_logits_and_odd_activity_are_unfamiliar() -> None:
    """Either is enough; large logits never are, and a channel that is silent for all digits does no harm."""
    logits, pool2 = digits_seen(2000, seed=0)
    pool2 = pool2.clone()
    pool2[:, 3] = 0
    known = measured((logits, pool2), (logits, pool2))
    usual = pool2.mean(0, keepdim=True)
    assert known(torch.zeros(1, 10), usual) > known.threshold
    assert known(torch.full((1, 10), 50.0), usual) == 0
    assert known(torch.full((1, 10), 50.0), 30 + usual) > known.threshold
    assert known(logits, pool2).isfinite().all()


@torch.no_grad()
def test_folding_batch_norm_changes_no_result() -> None:
    """With norms that have seen data, the folded network answers the same, with its own 61,706 parameters."""
    torch.manual_seed(0)
    network = LeNet5()
    names = list(network.state_dict())
    add_batch_norm(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    assert len(norms) == 3
    images = torch.rand(7, 1, 28, 28)
    expected = network.eval()(images)
    fold_batch_norm(network)
    torch.testing.assert_close(network(images), expected, atol=1e-4, rtol=1e-4)
    assert list(network.state_dict()) == names
    assert sum(weights.numel() for weights in network.parameters()) == 61_706


@pytest.mark.parametrize("shape", [(6, 25), (120, 400), (84, 120), (10, 84), (84, 10)])
def test_muons_step_is_nearly_orthogonal(shape: tuple[int, int]) -> None:
    """However unequal a gradient's singular values, those of the step lie near 1, and its directions are kept."""
    torch.manual_seed(0)
    rank = min(shape)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    gradient = left * torch.linspace(0.3, 1, rank) @ right
    step = orthogonal(gradient)
    values = torch.linalg.svdvals(step)
    assert values.min() > 0.4
    assert values.max() < 1.4
    assert (step * (left @ right)).sum() / rank > 0.7


def test_muon_moves_a_kernel_downhill() -> None:
    """A kernel of four dimensions counts as a matrix; the loss falls."""
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(6, 1, 5, 5))
    target = torch.randn(6, 1, 5, 5)
    optimizer = Muon([kernel], 0.05, momentum=0.8, decay=0)
    losses = []
    for step in range(100):
        optimizer.param_groups[0]["lr"] = 0.2 * (1 - step / 100)
        loss = (kernel - target).square().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 10
