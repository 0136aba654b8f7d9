"""The card of a model, read into types: what it is, its layers, its figures, and the SHA-256 of its files.

Unknown keys are left alone, so that a later trainer may write more than this server reads.
"""

import json
from dataclasses import dataclass
from typing import Any


class CardError(ValueError):
    """A card lacks something or holds something else than expected; the text says what."""


@dataclass(frozen=True)
class Layer:
    """One layer of the network."""

    name: str
    kind: str
    """`convolution`, `pooling` or `linear`."""
    shape: tuple[int, ...]
    """Of its output for one image: [channels, height, width], or [units]."""
    parameters: int
    stride: int
    padding: int


@dataclass(frozen=True)
class Evaluation:
    """What was measured after training."""

    test_set: str
    test_images: int
    accuracy: float
    nll: float
    brier: float
    calibration_error: float


@dataclass(frozen=True)
class Card:
    """What the server needs of a card."""

    name: str
    version: str
    classes: tuple[str, ...]
    layers: tuple[Layer, ...]
    evaluation: Evaluation
    unfamiliarity_threshold: float
    """An image of more unfamiliarity is probably no digit."""
    sha256: dict[str, str]
    """By file name."""


def parse_card(content: bytes) -> Card:
    """Reads a card.json; raises CardError."""
    try:
        card = json.loads(content)
        return Card(
            name=str(card["name"]),
            version=str(card["version"]),
            classes=tuple(map(str, card["classes"])),
            layers=tuple(map(_parse_layer, card["layers"])),
            evaluation=_parse_evaluation(card["evaluation"]),
            unfamiliarity_threshold=float(card["unfamiliarity"]["threshold"]),
            sha256={name: str(entry["sha256"]) for name, entry in card["files"].items()},
        )
    except KeyError as error:
        raise CardError(f"it lacks the key {error}") from None
    except (ValueError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise CardError(f"it is not of the expected form: {error}") from None


def _parse_layer(layer: dict[str, Any]) -> Layer:
    return Layer(
        name=str(layer["name"]),
        kind=str(layer["kind"]),
        shape=tuple(map(int, layer["shape"])),
        parameters=int(layer["parameters"]),
        stride=int(layer.get("stride", 0)),
        padding=int(layer.get("padding", 0)),
    )


def _parse_evaluation(figures: dict[str, Any]) -> Evaluation:
    return Evaluation(
        test_set=str(figures["test_set"]),
        test_images=int(figures["test_images"]),
        accuracy=float(figures["accuracy"]),
        nll=float(figures["nll"]),
        brier=float(figures["brier"]),
        calibration_error=float(figures["calibration_error"]),
    )
