"""Questions with known answers, for the load test: calls that are ready to be sent, and what must come back.

The answers come from the very server that is to be loaded. It is asked about each digit once, alone, before the load
begins, and has to give the same answers among many other calls: an answer that reached the wrong caller is a mistake,
and so is one that depends on what else was in the batch.
"""

import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from clients import handwriting
from clients.client import Client
from clients.messages import SIDE, Classification, classify_request, read_classification
from lenet.v1 import digits_pb2 as pb

__all__ = ["KINDS", "Digit", "Question", "drawn_digits", "known_digits", "mnist_digits", "questions"]

KINDS = ("one_image", "many_images", "feature_maps", "png")

# Float32 sums in another order, as in a batch of another size, differ far less; another digit differs far more.
_PROBABILITY_TOLERANCE, _MAP_TOLERANCE = 1e-4, 1e-3
_IDX_IMAGES = "t10k-images-idx3-ubyte"


@dataclass(frozen=True, eq=False)
class Digit:
    """A picture, and what the server said about it when it was asked alone.

    Attributes:
        picture: a PNG file.
        pixels: uint8 [28, 28], the picture in MNIST form, as the server's own normalisation made it.
        answer: with the feature maps of all layers that have some.
    """

    picture: bytes
    pixels: NDArray[np.uint8]
    answer: Classification


@dataclass(frozen=True, eq=False)
class Question:
    """A call to make, and what must come back.

    Attributes:
        name: what the statistics call it.
        request: ready to be sent.
        probabilities: float32 [n, 10].
        feature_maps: per layer, float32 [n, channels, height, width]; empty if none are asked for.
        pixels: uint8 [28, 28] if a picture is sent, else None.
    """

    name: str
    request: pb.ClassifyRequest
    probabilities: NDArray[np.float32]
    feature_maps: dict[str, NDArray[np.float32]]
    pixels: NDArray[np.uint8] | None

    def mistake(self, reply: pb.ClassifyResponse) -> str | None:
        """Says what is wrong with an answer; None if nothing is."""
        try:
            answer = read_classification(reply)
        except ValueError as error:
            return f"the reply makes no sense: {error}"
        return self._wrong_rows(answer) or self._wrong_maps(answer) or self._wrong_pixels(answer)

    def _wrong_rows(self, answer: Classification) -> str | None:
        if answer.probabilities.shape != self.probabilities.shape:
            return f"probabilities are {list(answer.probabilities.shape)}; expected {list(self.probabilities.shape)}"
        if (off := _distance(answer.probabilities, self.probabilities)) > _PROBABILITY_TOLERANCE:
            return f"probabilities are off by up to {off:.2g}"
        if (answer.digits != answer.probabilities.argmax(axis=1)).any():
            return "digits are not the most probable classes"
        return None

    def _wrong_maps(self, answer: Classification) -> str | None:
        if list(answer.feature_maps) != list(self.feature_maps):
            return f"feature maps are of {list(answer.feature_maps)}; expected {list(self.feature_maps)}"
        for layer, expected in self.feature_maps.items():
            received = answer.feature_maps[layer]
            if received.shape != expected.shape:
                return f"the map of {layer} is {list(received.shape)}; expected {list(expected.shape)}"
            if (off := _distance(received, expected)) > _MAP_TOLERANCE:
                return f"the map of {layer} is off by up to {off:.2g}"
        return None

    def _wrong_pixels(self, answer: Classification) -> str | None:
        if self.pixels is None or (answer.pixels is not None and np.array_equal(answer.pixels, self.pixels)):
            return None
        return "the picture was brought to another MNIST form than before"


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Gives the largest difference; infinity if there is a value that is no number."""
    return float(np.nan_to_num(np.abs(one - other).max(), nan=np.inf))


@cache  # drawing takes a second, and each test that the web page starts needs them
def drawn_digits(count: int) -> Sequence[bytes]:
    """Draws each digit by several hands, as PNG files."""
    return tuple(handwriting.png(number % 10, handwriting.Hand.of(number)) for number in range(count))


def mnist_digits(directory: Path, count: int) -> Sequence[bytes]:
    """Reads the first test images of MNIST as PNG files.

    Raises:
        OSError: the file is not there, or not a gzip file though its name says so.
        ValueError: the file holds no such images.
    """
    path = directory / _IDX_IMAGES
    content = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(f"{path.name}.gz").read_bytes())
    if content[:4] != b"\0\0\x08\x03" or len(content) < 16 + count * SIDE * SIDE:
        raise ValueError(f"{path} holds no {count} images in IDX form")
    images = np.frombuffer(content, np.uint8, count * SIDE * SIDE, offset=16)
    return [_png(each) for each in images.reshape(count, SIDE, SIDE)]


def _png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def known_digits(client: Client, pictures: Sequence[bytes]) -> list[Digit]:
    """Asks the server about each picture.

    Raises:
        LenetError: the server did not answer.
    """
    layers = [layer.name for layer in client.describe().layers if layer.has_feature_map]
    answers = [client.classify(picture, feature_maps=layers) for picture in pictures]
    return [
        Digit(picture, answer.pixels, answer)
        for picture, answer in zip(pictures, answers, strict=True)
        if answer.pixels is not None
    ]


def questions(digits: list[Digit], images_per_call: int) -> dict[str, list[Question]]:
    """Makes the questions of each kind, as many as there are digits."""
    several = [
        [digits[(start + step) % len(digits)] for step in range(images_per_call)] for start in range(len(digits))
    ]
    return {
        "one_image": [_about_pixels("one image", [each]) for each in digits],
        "many_images": [_about_pixels(f"{images_per_call} images", each) for each in several],
        "feature_maps": [_about_maps(each) for each in digits],
        "png": [_about_picture(each) for each in digits],
    }


def _about_pixels(name: str, digits: list[Digit]) -> Question:
    request = classify_request(np.stack([each.pixels for each in digits]), ())
    return Question(name, request, np.vstack([each.answer.probabilities for each in digits]), {}, None)


def _about_maps(digit: Digit) -> Question:
    maps = digit.answer.feature_maps
    return Question("feature maps", classify_request(digit.pixels, list(maps)), digit.answer.probabilities, maps, None)


def _about_picture(digit: Digit) -> Question:
    return Question("PNG", classify_request(digit.picture, ()), digit.answer.probabilities, {}, digit.pixels)
