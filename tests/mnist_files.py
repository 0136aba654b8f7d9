"""Writes MNIST's four IDX files, for tests that read them: whole ones, from any tensors; and a run trained on some."""

import gzip
import struct
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from training import runs
from training.data import Mnist, load_mnist, offline_sample
from training.recipe import Recipe
from training.train import learn


def images_idx(images: Tensor) -> bytes:
    """Returns uint8 images [n, h, w] as the content of an IDX file."""
    return struct.pack(">4I", 2051, *images.shape) + images.numpy().tobytes()


def labels_idx(labels: Tensor) -> bytes:
    """Returns labels [n] in 0..255 as the content of an IDX file."""
    return struct.pack(">2I", 2049, len(labels)) + labels.byte().numpy().tobytes()


def write_mnist(directory: Path, mnist: Mnist, gzipped: bool = False) -> Path:
    """Writes the four files, flat, and returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in {
        "train-images-idx3-ubyte": images_idx(mnist.train_images),
        "train-labels-idx1-ubyte": labels_idx(mnist.train_labels),
        "t10k-images-idx3-ubyte": images_idx(mnist.test_images),
        "t10k-labels-idx1-ubyte": labels_idx(mnist.test_labels),
    }.items():
        if gzipped:
            (directory / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (directory / name).write_bytes(content)
    return directory


def part_of(mnist: Mnist, train: int, test: int) -> Mnist:
    """Returns the first images of each split."""
    return Mnist(
        mnist.train_images[:train],
        mnist.train_labels[:train],
        mnist.test_images[:test],
        mnist.test_labels[:test],
        mnist.source,
        mnist.test_set,
    )


def train_small_run(directory: Path) -> Path:
    """Writes 2,500 real images to `mnist` and trains on them into `runs/latest`; returns the directory."""
    mnist = load_mnist(write_mnist(directory / "mnist", part_of(offline_sample(), train=2000, test=500)))
    runs.prepare(directory / "runs/latest")
    torch.set_num_threads(1)  # small batches gain nothing from more, and lose where other programs run
    runs.save(directory / "runs/latest", *learn(mnist, Recipe(epochs=4, batch=32), Console(quiet=True)))
    return directory
