"""What `make records` trains: every run of every table of docs/records.md."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from training.augment import Distortion
from training.recipe import RECIPES, Recipe

Table = Literal["record", "ideas", "variants", "sample", "speed"]

_AFFINE = Distortion(rotation_deg=10, shift_px=2, scale=0.1, shear_deg=5)
_SHORT = replace(RECIPES["default"], images_seen=100_000, clean_epochs=1)
IDEAS = {
    "as it is": _SHORT,
    "three times as long": replace(_SHORT, images_seen=300_000),
    "no batch norm": replace(_SHORT, batch_norm=False),
    "AdamW in place of Muon": replace(_SHORT, optimizer="adamw", learning_rate=1e-2),
    "no distortion": replace(_SHORT, distortion=None),
    "elastic distortion too": replace(_SHORT, distortion=replace(_AFFINE, elastic_px=0.7)),
    "no average of weights": replace(_SHORT, averaging=0.0),
    "stronger distortion": replace(_SHORT, distortion=Distortion(15, 2.5, 0.15, 10)),
    "label smoothing 0.05": replace(_SHORT, label_smoothing=0.05),
    "distilled from three": replace(_SHORT, teachers=3),
    "batches of 128": replace(_SHORT, batch=128),
    "distortion to the end": replace(_SHORT, clean_epochs=0),
    "half the learning rate": replace(_SHORT, learning_rate=0.05),
    "average over ten times the steps": replace(_SHORT, averaging=0.999),
    "ten times the weight decay": replace(_SHORT, weight_decay=0.1),
}
VARIANTS = {
    "max, relu": _SHORT,
    "avg, relu": replace(_SHORT, pooling="avg"),
    "strided, relu": replace(_SHORT, pooling="strided"),
    "max, tanh": replace(_SHORT, activation="tanh"),
    "avg, tanh": replace(_SHORT, pooling="avg", activation="tanh"),
}


@dataclass(frozen=True)
class Job:
    """One training run: `table` says what is measured, `row` which recipe it is."""

    table: str
    row: str
    recipe: Recipe

    @property
    def name(self) -> str:
        """Its file's name without ending."""
        return f"{self.table}-{self.row}-{self.recipe.seed}".replace(" ", "-").replace(",", "")

    @property
    def alone(self) -> bool:
        """True if it gets all cores, since its time is what is measured."""
        return self.table == "speed"

    @property
    def identity(self) -> dict[str, Any]:
        """What its result depends on, as JSON gives it back."""
        identity: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return identity


def all_jobs() -> Iterator[Job]:
    """Yields every job: more seeds for the tables that the README quotes, fewer for the many short comparisons."""
    yield from _seeds("record", "record", RECIPES["record"], 10)
    yield from _seeds("sample", "sample", RECIPES["sample"], 4)
    for row, recipe in IDEAS.items():
        yield from _seeds("ideas", row, recipe, 2)
    for row, recipe in VARIANTS.items():
        yield from _seeds("variants", row, recipe, 2)
    yield from _seeds("speed", "fast", RECIPES["fast"], 5)
    yield from _seeds("speed", "article", RECIPES["article"], 2)


def _seeds(table: str, row: str, recipe: Recipe, seeds: int) -> Iterator[Job]:
    for seed in range(seeds):
        yield Job(table, row, replace(recipe, seed=seed))
