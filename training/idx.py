"""Reads the IDX files that MNIST is published in, and believes nothing about them.

Every way in which a file can be damaged ends in a `DataError` that names it: a network trained on half a file, or on
labels shifted by one image, looks healthy for a long time.
"""

import gzip
import struct
import zlib
from math import prod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.errors import DataError

IMAGES_MAGIC = 2051
LABELS_MAGIC = 2049
_GZIP_SIGNATURE = b"\x1f\x8b"
_REPLACE = "replace the file with a fresh copy of MNIST"


def read_images(path: Path) -> Tensor:
    """Returns the images of an IDX file, gzipped or not, as uint8 [n, 28, 28]; raises DataError."""
    return torch.from_numpy(_parse(_content(path), path, IMAGES_MAGIC, (28, 28)))


def read_labels(path: Path) -> Tensor:
    """Returns the labels of an IDX file, gzipped or not, as int64 [n] in 0..9; raises DataError."""
    labels = _parse(_content(path), path, LABELS_MAGIC, ())
    if labels.max() > 9:
        at = int(labels.argmax())
        raise DataError(path, f"label {labels[at]} for image {at}", "labels 0 to 9", _REPLACE)
    return torch.from_numpy(labels).long()


def _content(path: Path) -> bytes:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise DataError(path, f"no readable file ({error.strerror})", "an IDX file", _REPLACE) from error
    if not raw.startswith(_GZIP_SIGNATURE):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(path, f"damaged gzip data ({error})", "a whole gzip file", _REPLACE) from error


def _parse(raw: bytes, path: Path, magic: int, item_shape: tuple[int, ...]) -> np.ndarray:
    header = struct.Struct(f">{2 + len(item_shape)}I")
    if len(raw) < header.size:
        raise DataError(path, f"{len(raw)} bytes", f"a header of {header.size} bytes", _REPLACE)
    found_magic, count, *sides = header.unpack_from(raw)
    if found_magic != magic:
        raise DataError(path, f"magic number {found_magic}", f"{magic}", "check that no two files are swapped")
    if tuple(sides) != item_shape:
        raise DataError(path, f"items of {sides} pixels", f"{list(item_shape)}", _REPLACE)
    if count == 0:
        raise DataError(path, "no items", "at least one", _REPLACE)
    body, announced = len(raw) - header.size, count * prod(item_shape)
    if body != announced:
        raise DataError(path, f"{body:,} bytes of items", f"{announced:,} for {count:,} items", _REPLACE)
    return np.frombuffer(raw, np.uint8, offset=header.size).reshape(count, *item_shape).copy()
