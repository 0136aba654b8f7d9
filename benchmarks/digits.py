"""The images that are asked about, and the answers that are right for them.

The answers come from ONNX Runtime in this process, so that every server is compared with the same numbers, and none
with its own.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from clients.handwriting import Hand, png
from serving.artifact import open_artifact
from serving.images import read_digit
from serving.runtime import Runtime

Images = NDArray[np.uint8]
Answers = NDArray[np.float32]

DRAWN = 128
TOLERANCE = 1e-4
FIXED = 0.1


class WrongAnswer(Exception):
    """A server answered something else than the network; the text says how far off it was."""


class Digits(NamedTuple):
    """Images [m, 28, 28], and for each the ten probabilities and the unfamiliarity, [m, 11]."""

    images: Images
    answers: Answers

    def first(self, n: int) -> "Digits":
        """Gives n of them, from the start and over again if there are fewer."""
        order = np.arange(n) % len(self.images)
        return Digits(self.images[order], self.answers[order])

    def fixed(self) -> "Digits":
        """Gives the same images with the answer of a server without a network."""
        return Digits(self.images, np.full_like(self.answers, FIXED))

    def check(self, found: Answers, asker: str) -> None:
        """Raises WrongAnswer unless these are the answers."""
        if found.shape != self.answers.shape:
            raise WrongAnswer(f"{asker} got answers {list(found.shape)} for {list(self.answers.shape)}")
        off = float(np.abs(found - self.answers).max())
        if not off <= TOLERANCE:
            raise WrongAnswer(f"{asker} got answers that are off by {off:.2g}; expected at most {TOLERANCE:g}")

    def save(self, path: Path) -> Path:
        """Writes them for a program that asks."""
        np.savez(path, images=self.images, answers=self.answers)
        return path


def drawn_digits(model_dir: Path) -> Digits:
    """Draws digits of many hands, and runs the model on each alone."""
    files = (png(seed % 10, Hand.of(seed=seed)) for seed in range(DRAWN))
    images = np.stack([read_digit(file, max_pixels=10**6) for file in files])
    runtime = Runtime(open_artifact(model_dir), provider="cpu")
    outputs = [runtime.run(image[np.newaxis]) for image in images]
    answers = [np.append(output.probabilities, output.unfamiliarity) for output in outputs]
    return Digits(images, np.stack(answers).astype(np.float32))
