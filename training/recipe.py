"""The recipes of a training run, by name: everything that decides what a run on given data learns.

Chosen on training images held out, never on the test set; docs/records.md has what was tried and what it brought.
"""

from dataclasses import dataclass
from typing import Literal

from training.augment import Distortion
from training.model import Activation, Pooling

RecipeName = Literal["default", "sample", "fast", "record", "article"]
_AFFINE = Distortion(rotation_deg=10, shift_px=2, scale=0.1, shear_deg=5)
_ELASTIC = Distortion(rotation_deg=10, shift_px=2, scale=0.1, shear_deg=5, elastic_px=0.6)
_FEW_IMAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One way of training; `RECIPES` has those that have a name."""

    name: RecipeName = "default"
    pooling: Pooling = "max"
    activation: Activation = "relu"
    batch_norm: bool = True
    """After conv2, conv3 and fc1 while training; folded into their weights afterwards."""

    optimizer: Literal["muon", "adamw", "adam"] = "muon"
    """Muon moves the kernels and fc1; AdamW, at a twentieth of the rate, the rest."""

    learning_rate: float = 0.1
    """The highest."""

    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    weight_decay: float = 0.01
    """Share of the learning rate by which weights shrink in each step."""

    averaging: float = 0.99
    """Share of the running average of weights that a step keeps; 0 for the last step's weights."""

    label_smoothing: float = 0.0
    teachers: int = 0
    """Networks that are trained first, by the same recipe from other seeds, and whose mean answer is learned too."""

    batch: int = 256
    """Images per step."""

    epochs: int | None = None
    """Passes over the training images; None for as many as `images_seen` makes."""

    images_seen: int = 600_000

    epochs_at_most: int = 60
    distortion: Distortion | None = _AFFINE
    """Every image is distorted anew in every epoch; None for images as they are."""

    clean_epochs: int = 2
    """Last epochs, in which images aren't distorted."""

    validation_images: int = 5000
    """Training images kept apart, from the end, to show accuracy after every epoch and to fit the temperature; at most
    a twelfth."""

    seed: int = 0
    """Fixes the first weights, the order of images and their distortion."""

    def epochs_for(self, images: int) -> int:
        """Returns the number of passes over that many training images."""
        return self.epochs or max(1, min(self.epochs_at_most, round(self.images_seen / images)))

    def steps_per_epoch(self, images: int) -> int:
        """Returns the number of batches in a pass; what doesn't fill one waits for the next shuffle."""
        return max(1, images // self.batch)

    def steps(self, images: int) -> int:
        """Returns the number of all batches, those of teachers included."""
        return (1 + self.teachers) * self.epochs_for(images) * self.steps_per_epoch(images)


def recipe_for(images: int) -> RecipeName:
    """Names the recipe for that many training images."""
    return "sample" if images < _FEW_IMAGES else "default"


RECIPES: dict[RecipeName, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(images_seen=400_000),
        Recipe(name="sample", images_seen=400_000, epochs_at_most=120, distortion=_ELASTIC),
        Recipe(name="fast", distortion=None, images_seen=55_000, averaging=0.95),
        Recipe(name="record", images_seen=1_650_000, averaging=0.998),
        Recipe(
            name="article",
            batch_norm=False,
            optimizer="adam",
            learning_rate=1e-4,
            schedule="constant",
            weight_decay=0,
            averaging=0,
            batch=32,
            epochs=10,
            distortion=None,
            validation_images=2500,
        ),
    )
}
