"""The convolution by hand is the library's, forward and backward; its command shows that, and it learns."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mnist_files import part_of, write_mnist
from torch.nn import functional

from training.by_hand import TinyCnn, cross_entropy, fit
from training.convolution import Array, convolve, gradients, output_size
from training.data import Mnist, offline_sample
from training.worked_example import BIAS, CONV2D, IMAGE, KERNEL, TRAINING_IMAGES, two_classes


@pytest.fixture(scope="module")
def sample() -> Mnist:
    """Real digits, without a network."""
    return offline_sample()


def run(cwd: Path, *arguments: str) -> tuple[int, str, str]:
    """Runs `lenet-convolution` as a user does; returns exit status, stdout and stderr."""
    inherited = {name: value for name, value in os.environ.items() if name != "MNIST_DIR"}
    done = subprocess.run(
        [sys.executable, "-m", "training.worked_example", *arguments],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_worked_example_comes_out_as_published() -> None:
    """Values 1 to 16 under one 2x2 kernel, by hand and by the library."""
    outputs = convolve(IMAGE[None, None], KERNEL[None, None], np.array([BIAS]))
    golden = [[11.0, 13.6, 16.2], [21.4, 24.0, 26.6], [31.8, 34.4, 37.0]]
    np.testing.assert_allclose(outputs, [[golden]], rtol=1e-12)
    assert golden == CONV2D
    image, kernel, bias = map(torch.from_numpy, (IMAGE[None, None], KERNEL[None, None], np.array([BIAS])))
    library = functional.conv2d(image, kernel, bias)
    np.testing.assert_allclose(library, [[golden]], rtol=1e-12)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...], int, int, int]:
    """Shapes of images and kernel that fit, stride, padding, and a seed for the numbers."""
    n, c, o, stride = (draw(st.integers(1, 3)) for _ in range(4))
    kernel = [draw(st.integers(1, 4)) for _ in range(2)]
    padding = draw(st.integers(0, 2))
    sides = [draw(st.integers(0, 5)) * stride + side - 2 * padding for side in kernel]
    assume(min(sides) > 0)
    return (n, c, *sides), (o, c, *kernel), stride, padding, draw(st.integers(0, 1000))


@settings(deadline=None)
@given(convolutions())
def test_it_agrees_with_the_library_forward_and_backward(
    case: tuple[tuple[int, ...], tuple[int, ...], int, int, int],
) -> None:
    """Outputs and all three gradients, for any numbers of images and channels, sides, strides and paddings."""
    image_shape, kernel_shape, stride, padding, seed = case
    generator = np.random.default_rng(seed)
    images, kernel, bias = (generator.normal(size=shape) for shape in (image_shape, kernel_shape, kernel_shape[:1]))
    tensors = [torch.from_numpy(part).requires_grad_() for part in (images, kernel, bias)]
    outputs = convolve(images, kernel, bias, stride, padding)
    expected = functional.conv2d(tensors[0], tensors[1], tensors[2], stride, padding)
    np.testing.assert_allclose(outputs, expected.detach(), atol=1e-5)

    output_gradient = generator.normal(size=outputs.shape)
    by_library = torch.autograd.grad(expected, tensors, torch.from_numpy(output_gradient))
    found = gradients(images, kernel, output_gradient, stride, padding)
    for by_hand, gradient in zip((found.images, found.kernel, found.bias), by_library, strict=True):
        np.testing.assert_allclose(by_hand, gradient, atol=1e-5)


def random_case() -> tuple[Array, Array, Array]:
    """Two images of two channels, a kernel for three maps that isn't square, and a bias."""
    generator = np.random.default_rng(0)
    return generator.normal(size=(2, 2, 6, 5)), generator.normal(size=(3, 2, 2, 3)), generator.normal(size=3)


@pytest.mark.parametrize("part", ["images", "kernel", "bias"])
def test_a_gradient_is_what_a_small_change_does_to_the_loss(part: str) -> None:
    """Finite differences, independent of any library: the loss is half the sum of the squared outputs."""
    images, kernel, bias = random_case()
    found = gradients(images, kernel, convolve(images, kernel, bias, 2, 1), 2, 1)
    changed = {"images": images, "kernel": kernel, "bias": bias}[part]
    gradient: Array = found._asdict()[part]
    for at in np.ndindex(changed.shape):
        losses = []
        for change in (1e-4, -2e-4):
            changed[at] += change
            losses.append((convolve(images, kernel, bias, 2, 1) ** 2).sum() / 2)
        changed[at] += 1e-4
        assert gradient[at] == pytest.approx((losses[0] - losses[1]) / 2e-4, abs=1e-5)


def test_on_the_way_back_the_kernel_is_flipped() -> None:
    """The input's gradient is the convolution of the output's with the kernel turned by 180 degrees."""
    images, kernel, bias = random_case()
    kernel = kernel[:, :, :, :2]
    output_gradient = convolve(images, kernel, bias)
    flipped = kernel[:, :, ::-1, ::-1].swapaxes(0, 1)
    by_flipping = convolve(output_gradient, flipped, np.zeros(2), padding=1)
    np.testing.assert_allclose(gradients(images, kernel, output_gradient).images, by_flipping, atol=1e-12)


def test_output_size_is_the_formula_and_must_come_out_whole() -> None:
    """(n + 2p - k) / s + 1."""
    assert [output_size(28, 5, 1, 2), output_size(28, 2, 2), output_size(5, 5)] == [28, 14, 1]
    for arguments in ((5, 2, 2), (4, 5)):
        with pytest.raises(ValueError, match="isn't a whole number of at least 1; change kernel, stride or padding"):
            output_size(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((6, 5))}, r"images have shape \(6, 5\), .*expected \[n, c, h, w\]"),
        ({"kernel": np.zeros((3, 4, 2, 3))}, "kernel is for 4 channels; expected the images' 2"),
        ({"bias": np.zeros(2)}, r"bias has shape \(2,\); expected \(3,\)"),
        ({"stride": 0}, "stride is 0; expected at least 1"),
        ({"stride": 3}, "isn't a whole number"),
        ({"padding": -1}, "padding is -1; expected at least 0"),
    ],
)
def test_what_does_not_fit_together_is_refused(change: dict[str, Any], message: str) -> None:
    """With what came and what was expected."""
    arguments: dict[str, Any] = dict(zip(("images", "kernel", "bias"), random_case(), strict=True))
    with pytest.raises(ValueError, match=message):
        convolve(**{**arguments, **change})


def test_a_gradient_of_another_output_is_refused() -> None:
    """NumPy would broadcast it and give a wrong answer."""
    images, kernel, _ = random_case()
    with pytest.raises(ValueError, match=r"has shape \(2, 3, 1, 1\); expected the output's, \(2, 3, 5, 3\)"):
        gradients(images, kernel, np.ones((2, 3, 1, 1)))


def test_cross_entropy_is_the_librarys() -> None:
    """Loss and gradient, also where an exponential would overflow."""
    logits, labels = np.array([[1.0, -2.0], [0.5, 999.0], [3.0, 3.0]]), np.array([0, 0, 1])
    tensor = torch.from_numpy(logits).requires_grad_()
    expected = functional.cross_entropy(tensor, torch.from_numpy(labels))
    loss, gradient = cross_entropy(logits, labels)
    assert loss == pytest.approx(expected.item())
    np.testing.assert_allclose(gradient, torch.autograd.grad(expected, tensor)[0], atol=1e-12)


def test_it_needs_no_torch() -> None:
    """What is learned by hand is learned by NumPy alone."""
    code = "import sys, training.by_hand, training.worked_example; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True).stdout == "False\n"


def test_the_tiny_network_learns_to_tell_digits_apart(sample: Mnist) -> None:
    """More than 95 % of real threes and eights that it hasn't seen."""
    images, labels = two_classes(sample.train_images, sample.train_labels, (3, 8))
    generator = np.random.default_rng(0)
    network = TinyCnn(generator)
    losses = list(fit(network, images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES], generator))
    assert losses[-1] < losses[0] / 2
    held_out, truth = two_classes(sample.test_images, sample.test_labels, (3, 8))
    assert 0.3 < truth.mean() < 0.7
    assert network.accuracy(held_out, truth) > 0.95


def test_the_same_seed_gives_the_same_weights(sample: Mnist) -> None:
    """And another seed others."""
    images, labels = two_classes(sample.train_images[:200], sample.train_labels[:200], (3, 8))

    def kernels(seed: int) -> bytes:
        generator = np.random.default_rng(seed)
        network = TinyCnn(generator)
        assert len(list(fit(network, images, labels, generator, epochs=2))) == 2
        return b"".join(layer.kernel.tobytes() for layer in (network.first, network.second, network.last))

    assert kernels(0) == kernels(0) != kernels(1)


def test_the_command_prints_the_worked_example(tmp_path: Path) -> None:
    """Every window with its sums, the maps on the way, and the published result."""
    status, out, err = run(tmp_path)
    assert (status, err) == (0, "")
    windows = re.findall(r"^output, row (\d), column (\d)$", out, re.MULTILINE)
    assert windows == [(row, column) for row in "123" for column in "123"]
    for line in (
        "so the kernel comes to rest in 3 x 3 = 9 windows.",
        "[ 1][ 2]  3   4        1*0.5 +  2*0.6 +  5*0.7 +  6*0.8",
        "[ 5][ 6]  7   8     =    0.5 +    1.2 +    3.5 +    4.8",
        "  9  10  11  12     =   10.0",
        " 13  14  15  16         10.0 + bias 1.0 = 11.0",
        " 13  14 [15][16]        36.0 + bias 1.0 = 37.0",
        "+= 0.5 *      1   2   3      1.5   2.0   2.5",
        "equal to PyTorch's Conv2d: [[11.0, 13.6, 16.2], [21.4, 24.0, 26.6], [31.8, 34.4, 37.0]]",
    ):
        assert line in out.splitlines()
    sums = [float(total) for total in re.findall(r"bias 1.0 = ([\d.]+)", out)]
    assert sums == [11.0, 13.6, 16.2, 21.4, 24.0, 26.6, 31.8, 34.4, 37.0]


def test_all_three_ways_of_the_command_agree(tmp_path: Path) -> None:
    """With a stride and a padding too: window by window, map by map and by the code."""
    status, out, _ = run(tmp_path, "--stride", "2", "--padding", "1")
    assert status == 0
    assert "Conv2d" not in out
    sums = re.findall(r"bias 1.0 = ([\d.]+)", out)
    last_map = [" ".join(line.split()[-3:]) for line in out.split("+= 0.8")[1].splitlines()[:3]]
    assert " ".join(sums) == " ".join(last_map) == " ".join(out.split("convolution.py")[1].split())
    assert sums == ["1.8", "4.8", "3.8", "11.2", "24.0", "13.4", "8.8", "17.0", "9.0"]


def test_wrong_arguments_of_the_command(tmp_path: Path) -> None:
    """A stride that doesn't fit is the formula's error, in one line; what makes no sense is wrong usage."""
    formula = "(4 + 2*0 - 2) / 3 + 1 isn't a whole number of at least 1; change kernel, stride or padding"
    assert run(tmp_path, "--stride", "3") == (1, "", f"lenet-convolution: {formula}\n")
    assert run(tmp_path, "--stride", "0")[0] == 2
    assert run(tmp_path, "learn", "--digits", "3", "3")[0] == 2


def test_the_command_learns_in_sight(tmp_path: Path, sample: Mnist) -> None:
    """A row of loss and accuracy per epoch; a digit without an image is an error."""
    directory = str(write_mnist(tmp_path / "mnist", part_of(sample, train=300, test=200)))
    status, out, err = run(tmp_path, "learn", "--data-dir", directory, "--digits", "0", "1")
    assert (status, err) == (0, "")
    rows = re.findall(r"^ +(\d) +(-|[\d.]+) +([\d.]+)% ", out, re.MULTILINE)
    assert [row[0] for row in rows] == ["0", "1", "2", "3", "4"]
    assert float(rows[4][2]) > max(90, float(rows[0][2]))
    directory = str(write_mnist(tmp_path / "one", part_of(sample, train=1, test=1)))
    status, _, err = run(tmp_path, "learn", "--data-dir", directory)
    assert status == 1
    assert re.fullmatch(r"lenet-convolution: no image of a \d among 1; choose others with --digits\n", err)
