"""Finds a model directory, verifies it against its card, and reads it.

Every file is read once, and the bytes that were hashed are the bytes that are used: a file that changes on disk
afterwards changes nothing. The graph is handed to ONNX Runtime as bytes, so it cannot refer to other files.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

CARD, GRAPH, KERNELS = "card.json", "model.onnx", "kernels.npz"
CARD_KEYS = ("name", "version", "classes", "layers", "evaluation", "files")


class ArtifactError(Exception):
    """A model directory cannot be served; the text says which, why, and what to do."""


@dataclass(frozen=True)
class Artifact:
    """A verified model."""

    directory: Path
    name: str
    version: str
    card: Mapping[str, Any]
    graph: bytes
    """The ONNX model."""
    kernels: Mapping[str, NDArray[np.float32]]
    """The parameters by name, for example `conv1.weight` [6, 1, 5, 5] and `conv1.bias` [6]."""

    @property
    def map_shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape [channels, height, width] of each layer that has a feature map, in the order of the network."""
        return {layer["name"]: tuple(layer["shape"]) for layer in self.card["layers"] if len(layer["shape"]) == 3}


def open_artifact(model_dir: Path) -> Artifact:
    """Opens the highest version below `model_dir`, or `model_dir` itself if it is one version.

    Raises ArtifactError if there is none, or if a file is missing or differs from what the card says.
    """
    directory = _newest_version(model_dir)
    card = _read_card(directory / CARD)
    contents = {name: _read_verified(directory / name, entry) for name, entry in card["files"].items()}
    for name in (GRAPH, KERNELS):
        if name not in contents:
            raise ArtifactError(f"{directory / CARD} does not list {name} under 'files'; export the model again")
    return Artifact(
        directory=directory,
        name=str(card["name"]),
        version=str(card["version"]),
        card=card,
        graph=contents[GRAPH],
        kernels=_read_kernels(directory / KERNELS, contents[KERNELS]),
    )


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


def _read_card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtifactError(f"cannot read the model's card {path}: {error}") from None
    missing = [key for key in CARD_KEYS if not isinstance(card, dict) or key not in card]
    if missing:
        raise ArtifactError(f"{path} lacks {', '.join(missing)}; export the model again")
    return dict(card)


def _read_verified(path: Path, entry: Mapping[str, Any]) -> bytes:
    if path.name not in (GRAPH, KERNELS, "model.pt"):
        raise ArtifactError(f"the card beside {path} lists a file that no model has: {path.name!r}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}, which the model's card lists: {error.strerror}") from None
    found = hashlib.sha256(content).hexdigest()
    if found != entry["sha256"]:
        raise ArtifactError(
            f"{path} is not the file that was exported: its SHA-256 is {found}, the card says {entry['sha256']}; "
            "restore the file or export the model again"
        )
    return content


def _read_kernels(path: Path, content: bytes) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name].astype("<f4") for name in arrays}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ArtifactError(f"{path} holds no arrays that numpy can read: {error}") from None
