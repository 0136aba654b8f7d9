"""Proves that an artifact's files compute what the trained network computes, on real images.

The files are read back as a server would read them, and conv1 is also computed by hand from the kernels, so that the
bytes on disk are what is judged.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.errors import ExportError
from training.formats import KERNELS, LEAN, ONNX, TORCHSCRIPT, silent_exporters
from training.model import ServedLeNet5, ServedOutputs

PROBABILITY_TOLERANCE = 1e-5
MAP_TOLERANCE = 1e-4

Arrays = dict[str, NDArray[np.float32]]
Runner = Callable[[Tensor], Arrays]


@dataclass(frozen=True)
class Parity:
    """The largest differences that were found between PyTorch and the files, over `images` images."""

    images: int
    max_probability_difference: float
    max_map_difference: float
    """Over logits and all maps."""
    probability_tolerance: float = PROBABILITY_TOLERANCE
    map_tolerance: float = MAP_TOLERANCE


def check_parity(network: ServedLeNet5, directory: Path, images: Tensor) -> Parity:
    """Compares the files with the network on uint8 images [n, 28, 28], all at once and one alone.

    Raises ExportError, which names the file and the output, where a class or more than a tolerance differs.
    """
    _check_kernels(network, directory)
    readers = {
        TORCHSCRIPT: torchscript(directory),
        ONNX: onnx_runtime(directory / ONNX),
        LEAN: onnx_runtime(directory / LEAN),
        KERNELS: conv1_by_hand(directory),
    }
    worst = dict.fromkeys(ServedOutputs._fields, 0.0)
    for batch in (images, images[:1]):
        with torch.inference_mode():
            expected = _arrays(network(batch))
        for file, runner in readers.items():
            for output, found in runner(batch).items():
                worst[output] = max(worst[output], _difference(file, output, found, expected[output]))
    probability_difference = worst.pop("probabilities")
    return Parity(len(images), probability_difference, max(worst.values()))


def _check_kernels(network: ServedLeNet5, directory: Path) -> None:
    with np.load(directory / KERNELS, allow_pickle=False) as kernels:
        for name, weights in network.named_parameters():
            if not np.array_equal(kernels[name], weights.numpy()):
                raise _disagreement(KERNELS, f"another {name}", "the same bits")


def onnx_runtime(file: Path) -> Runner:
    """Opens an ONNX file on the CPU."""
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda images: dict(zip(names, session.run(names, {"images": images.numpy()}), strict=True))


def torchscript(directory: Path) -> Runner:
    """Opens the artifact's TorchScript file."""
    with silent_exporters():
        module = torch.jit.load(directory / TORCHSCRIPT, map_location="cpu")  # type: ignore[no-untyped-call]

    def run(images: Tensor) -> Arrays:
        with torch.inference_mode():
            return _arrays(module(images))

    return run


def conv1_by_hand(directory: Path) -> Runner:
    """Computes conv1 from the artifact's kernels by nothing but multiplication and addition."""
    with np.load(directory / KERNELS, allow_pickle=False) as kernels:
        weight, bias = kernels["conv1.weight"], kernels["conv1.bias"]  # [6, 1, 5, 5], [6]

    def run(images: Tensor) -> Arrays:
        padded = np.pad(images.numpy().astype(np.float32) / 255, ((0, 0), (2, 2), (2, 2)))  # [n, 32, 32]
        conv1 = np.zeros((len(images), 6, 28, 28), np.float32) + bias[:, None, None]
        for row, column in np.ndindex(5, 5):
            shifted = padded[:, None, row : row + 28, column : column + 28]  # [n, 1, 28, 28]
            conv1 += weight[:, 0, row, column, None, None] * shifted
        return {"conv1": conv1}

    return run


def _arrays(outputs: ServedOutputs) -> Arrays:
    return dict(zip(ServedOutputs._fields, (output.numpy() for output in outputs), strict=True))


def _difference(file: str, output: str, found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise _disagreement(file, f"{output} is {found.dtype} {found.shape}", f"{expected.dtype} {expected.shape}")
    difference = float(np.abs(found - expected).max())
    tolerance = PROBABILITY_TOLERANCE if output == "probabilities" else MAP_TOLERANCE
    if not difference <= tolerance:  # also where it isn't a number
        raise _disagreement(file, f"{output} differs by {difference:.3g}", f"at most {tolerance:g}")
    if output == "probabilities" and (found.argmax(1) != expected.argmax(1)).any():
        raise _disagreement(file, "an image gets another class", "the same classes")
    return difference


def _disagreement(file: str, found: str, expected: str) -> ExportError:
    return ExportError(f"{file} disagrees with PyTorch: {found}; expected {expected}; nothing was exported")
