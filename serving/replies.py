"""Packs what the model gave into ClassifyResponses.

Protobuf writes packed numbers as they lie in memory, behind a tag and a length. So a plain reply is put together from
slices of the model's own results and a few bytes that depend only on the number of images, which protobuf itself gives
once. The replies of a batch cost a tenth of what building each as a message would; a test compares every byte.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from lenet.v1.digits_pb2 import ClassifyResponse, FeatureMap
from serving.runtime import Outputs

CLASSES = 10


class Replies:
    """Makes replies in the name of one model version."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._heads = lru_cache(maxsize=64)(self._make_heads)

    def plain(self, outputs: Outputs, counts: Sequence[int]) -> list[bytes]:
        """A ClassifyResponse for each of the requests whose images these are, `counts` images each, in order."""
        digits = outputs.probabilities.argmax(1).astype(np.uint8).tobytes()
        probabilities = outputs.probabilities.astype("<f4", copy=False).tobytes()
        unfamiliarity = outputs.unfamiliarity.astype("<f4", copy=False).tobytes()
        replies, start = [], 0
        for n in counts:
            end = start + n
            before_digits, before_probabilities, before_unfamiliarity = self._heads(n)
            replies.append(
                before_digits
                + digits[start:end]
                + before_probabilities
                + probabilities[4 * CLASSES * start : 4 * CLASSES * end]
                + before_unfamiliarity
                + unfamiliarity[4 * start : 4 * end]
            )
            start = end
        return replies

    def with_maps(self, outputs: Outputs, *, pixels: bytes = b"") -> bytes:
        """A ClassifyResponse with the feature maps, and the pixels if they came from a picture."""
        return ClassifyResponse(
            digits=outputs.probabilities.argmax(axis=1).tolist(),
            probabilities=outputs.probabilities.ravel().tolist(),
            feature_maps=[
                FeatureMap(layer=layer, shape=values.shape, values=values.astype("<f4", copy=False).tobytes())
                for layer, values in outputs.maps.items()
            ],
            model_version=self._version,
            pixels=pixels,
            unfamiliarity=outputs.unfamiliarity.tolist(),
        ).SerializeToString()

    def _make_heads(self, n: int) -> tuple[bytes, bytes, bytes]:
        """The bytes before each of the three fields of n images; fields follow each other by their numbers."""
        digits = ClassifyResponse(digits=[0] * n)
        probabilities = ClassifyResponse(probabilities=[0] * n * CLASSES)
        unfamiliarity = ClassifyResponse(model_version=self._version, unfamiliarity=[0] * n)
        return (
            digits.SerializeToString()[:-n],
            probabilities.SerializeToString()[: -4 * n * CLASSES],
            unfamiliarity.SerializeToString()[: -4 * n],
        )
