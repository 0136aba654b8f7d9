"""The model card: what an artifact is, what it was made from and how good it is, for readers without this code."""

import hashlib
import subprocess
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from training.evaluation import Evaluation
from training.model import CLASSES, IMAGE_SIDE, LeNet5Layers, describe
from training.parity import Parity

NAME = "lenet5"
FORMAT = 1
LIBRARIES = ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "numpy")


def make_card(
    directory: Path,
    model_version: int,
    network: LeNet5Layers,
    metrics: dict[str, Any],
    scores: Evaluation,
    doubts: dict[str, float],
    parity: Parity,
) -> dict[str, Any]:
    """Returns the card, ready for JSON, of the artifact whose files lie in `directory`.

    `doubts` has the threshold of unfamiliarity and the share of test digits that are at or below it.
    """
    layers, recipe = describe(network), metrics["recipe"]
    return {
        "format": FORMAT,
        "name": NAME,
        "version": model_version,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "architecture": {
            "name": "LeNet5",
            "parameters": sum(layer.parameters for layer in layers),
            "multiply_adds": sum(layer.multiply_adds for layer in layers),
            "activation": recipe["activation"],
            "pooling": f"{recipe['pooling']}, before the activation",
        },
        "input": {"name": "images", "dtype": "uint8", "shape": ["n", IMAGE_SIDE, IMAGE_SIDE]},
        "classes": list(CLASSES),
        "layers": [{key: value for key, value in asdict(layer).items() if value is not None} for layer in layers],
        "training": {
            **recipe,
            **{key: metrics[key] for key in ("temperature", "train_images", "duration_s", "machine", "libraries")},
        },
        "data": metrics["data"],
        "evaluation": {
            "test_images": scores.images,
            "test_set": metrics["test_set"],
            **{key: value for key, value in asdict(scores).items() if key != "images"},
        },
        "unfamiliarity": {
            "about": "distance from digits by logits' energy and pool2's activity; 0 for half of those trained on",
            **doubts,
        },
        "parity": asdict(parity),
        "libraries": {library: version(library) for library in LIBRARIES},
        "files": {file.name: _digest(file) for file in sorted(directory.iterdir())},
    }


def _digest(file: Path) -> dict[str, int | str]:
    content = file.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
