"""The convolution by hand, in NumPy: forward map by map, and backward to kernel, bias and input.

`output_map += kernel_value * shifted_input_map` is the whole of it. The only loop runs over the kernel's positions;
images, channels and pixels of one position are a single product. It computes what `torch.nn.functional.conv2d` does,
but for a kernel that doesn't fit: torch ignores the pixels left over, here that is an error.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.floating[Any]]


class Gradients(NamedTuple):
    """How fast the loss grows with each number that a convolution was made from."""

    kernel: Array  # [o, c, kh, kw]
    bias: Array  # [o]
    images: Array  # [n, c, h, w]


def output_size(size: int, kernel_size: int, stride: int = 1, padding: int = 0) -> int:
    """Returns `(n + 2p - k) / s + 1`: the side in pixels of what a convolution or a pooling makes.

    Raises ValueError where that isn't a whole number of at least 1.
    """
    steps, rest = divmod(size + 2 * padding - kernel_size, stride)
    if rest or steps < 0:
        formula = f"({size} + 2*{padding} - {kernel_size}) / {stride} + 1"
        raise ValueError(f"{formula} isn't a whole number of at least 1; change kernel, stride or padding")
    return steps + 1


def convolve(images: Array, kernel: Array, bias: Array, stride: int = 1, padding: int = 0) -> Array:
    """Returns output maps [n, o, oh, ow] for images [n, c, h, w], a kernel [o, c, kh, kw] and a bias [o].

    `oh` and `ow` follow `output_size`. Raises ValueError for shapes that don't fit together.
    """
    made = _check(images, kernel, stride, padding)
    if bias.shape != kernel.shape[:1]:
        raise ValueError(f"bias has shape {bias.shape}; expected {kernel.shape[:1]}, one for each output map")
    output_maps = np.zeros(made, images.dtype) + bias[:, None, None]
    for y, x, shifted in _shifted_maps(_pad(images, padding), kernel, stride):
        output_maps += np.einsum("oc,nchw->nohw", kernel[:, :, y, x], shifted)
    return output_maps


def gradients(images: Array, kernel: Array, output_gradient: Array, stride: int = 1, padding: int = 0) -> Gradients:
    """Returns the gradients of a loss by kernel, bias and images, from its gradient by the output maps [n, o, oh, ow].

    The other arguments are those of the forward pass. Raises ValueError for shapes that don't fit together.
    """
    made = _check(images, kernel, stride, padding)
    if output_gradient.shape != made:
        raise ValueError(f"output gradient has shape {output_gradient.shape}; expected the output's, {made}")
    return Gradients(
        _kernel_gradient(images, kernel, output_gradient, stride, padding),
        output_gradient.sum((0, 2, 3)),
        _images_gradient(images, kernel, output_gradient, stride, padding),
    )


def _kernel_gradient(images: Array, kernel: Array, output_gradient: Array, stride: int, padding: int) -> Array:
    """A kernel value multiplied `shifted` on the way forward, so its gradient is that times the output's gradient."""
    kernel_gradient = np.empty_like(kernel)
    for y, x, shifted in _shifted_maps(_pad(images, padding), kernel, stride):
        kernel_gradient[:, :, y, x] = np.einsum("nohw,nchw->oc", output_gradient, shifted)
    return kernel_gradient


def _images_gradient(images: Array, kernel: Array, output_gradient: Array, stride: int, padding: int) -> Array:
    """The forward pass reversed: the output's gradient goes back, through each kernel value, to where it came from.

    Seen from the image this is a convolution with the kernel flipped by 180 degrees. Going forward, output p takes
    pixel p + y through kernel value y; so coming back, pixel q takes the gradient of output q - y through value y.
    With plus turned to minus, the kernel is read from its end: at stride 1 the result is
    `convolve(output_gradient, kernel[:, :, ::-1, ::-1].swapaxes(0, 1), no_bias, padding=kernel_size - 1 - padding)`.
    """
    padded_gradient = np.zeros_like(_pad(images, padding))
    for y, x, shifted in _shifted_maps(padded_gradient, kernel, stride):
        shifted += np.einsum("oc,nohw->nchw", kernel[:, :, y, x], output_gradient)  # a view of padded_gradient
    height, width = images.shape[2:]
    return padded_gradient[:, :, padding : padding + height, padding : padding + width]


def _shifted_maps(padded: Array, kernel: Array, stride: int) -> Iterator[tuple[int, int, Array]]:
    """For each position in the kernel, the pixels that it meets on its way over the image: [n, c, oh, ow]."""
    height, width = padded.shape[2:]
    kernel_height, kernel_width = kernel.shape[2:]
    for y in range(kernel_height):
        for x in range(kernel_width):
            last_y, last_x = height - kernel_height + y, width - kernel_width + x
            yield y, x, padded[:, :, y : last_y + 1 : stride, x : last_x + 1 : stride]


def _pad(images: Array, padding: int) -> Array:
    return np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def _check(images: Array, kernel: Array, stride: int, padding: int) -> tuple[int, ...]:
    """Returns the shape of the output."""
    if images.ndim != 4 or kernel.ndim != 4:
        shapes = f"images have shape {images.shape}, the kernel {kernel.shape}"
        raise ValueError(f"{shapes}; expected [n, c, h, w] and [o, c, kh, kw]")
    if images.shape[1] != kernel.shape[1]:
        raise ValueError(f"the kernel is for {kernel.shape[1]} channels; expected the images' {images.shape[1]}")
    if stride < 1:
        raise ValueError(f"stride is {stride}; expected at least 1")
    if padding < 0:
        raise ValueError(f"padding is {padding}; expected at least 0")
    sides = (output_size(images.shape[axis], kernel.shape[axis], stride, padding) for axis in (2, 3))
    return (len(images), len(kernel), *sides)
