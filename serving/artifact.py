"""Finds a model directory, verifies it against its card, and reads it.

Every file is read once, and the bytes that were hashed are the bytes that are used: a file that changes on disk
afterwards changes nothing. The graph is handed to ONNX Runtime as bytes, so it cannot refer to other files.
"""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from serving.card import Card, CardError, parse_card

CARD, GRAPH, LEAN, KERNELS, TORCHSCRIPT = "card.json", "model.onnx", "lean.onnx", "kernels.npz", "model.pt"
NEEDED = (GRAPH, LEAN, KERNELS)


class ArtifactError(Exception):
    """A model directory cannot be served; the text says which, why, and what to do."""


@dataclass(frozen=True)
class Artifact:
    """A verified model."""

    directory: Path
    card: Card
    graph: bytes
    """The network in ONNX, with all its maps."""
    lean: bytes
    """The same in ONNX without maps, arranged for speed."""
    kernels: Mapping[str, NDArray[np.float32]]
    """The parameters by name, for example `conv1.weight` [6, 1, 5, 5] and `conv1.bias` [6]."""

    @property
    def map_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape [channels, height, width] of each layer that has a feature map, in the order of the network."""
        return {layer.name: layer.shape for layer in self.card.layers if len(layer.shape) == 3}


def open_artifact(model_dir: Path) -> Artifact:
    """Opens the highest version below `model_dir`, or `model_dir` itself if it is one version.

    Raises ArtifactError if there is none, or if a file is missing or differs from what the card says.
    """
    try:
        directory = _newest_version(model_dir)
    except OSError as error:
        raise ArtifactError(f"cannot look for a model in {model_dir}: {error.strerror}; set --model-dir") from None
    card = _read_card(directory / CARD)
    contents = {name: _read_verified(directory / name, sha256) for name, sha256 in card.sha256.items()}
    kernels = _read_kernels(directory / KERNELS, contents[KERNELS])
    return Artifact(directory, card, contents[GRAPH], contents[LEAN], kernels)


def _newest_version(model_dir: Path) -> Path:
    if (model_dir / CARD).is_file():
        return model_dir
    if not model_dir.is_dir():
        raise ArtifactError(f"no model directory at {model_dir}; `make train export` makes one, or set --model-dir")
    versions = [entry for entry in model_dir.iterdir() if entry.name.isdecimal() and entry.is_dir()]
    if not versions:
        raise ArtifactError(
            f"{model_dir} holds no model version: expected a folder named by a whole number, with {CARD} in it"
        )
    return max(versions, key=lambda entry: int(entry.name))


def _read_card(path: Path) -> Card:
    try:
        card = parse_card(path.read_bytes())
    except OSError as error:
        raise ArtifactError(f"cannot read the model's card {path}: {error.strerror}") from None
    except CardError as error:
        raise ArtifactError(f"cannot use the model's card {path}: {error}; export the model again") from None
    # A name may not lead out of the directory, so the names that it may have are known.
    if not set(NEEDED) <= set(card.sha256) <= {*NEEDED, TORCHSCRIPT}:
        raise ArtifactError(
            f"{path} lists the files {', '.join(card.sha256) or 'none'}; "
            f"expected {', '.join(NEEDED)}, and perhaps {TORCHSCRIPT}: export the model again"
        )
    return card


def _read_verified(path: Path, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}, which the model's card lists: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != expected:
        raise ArtifactError(
            f"{path} is not the file that was exported: its SHA-256 is {found}, the card says {expected}; "
            "restore the file or export the model again"
        )
    return content


def _read_kernels(path: Path, content: bytes) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name].astype("<f4") for name in arrays}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} holds no arrays that numpy can read: {error}") from None
