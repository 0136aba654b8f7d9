"""The form in which numbers reach the page: a JSON header, then all arrays as raw float32.

Text would cost the page more time to read than the model takes to run, and rounding. So the page gets the bytes of the
server's own floats: 4 bytes with the header's length (little-endian), the header, padded with spaces so that what
follows is aligned, and the arrays, in the order in which the header names them.
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from clients.messages import Classification, ModelDescription

__all__ = ["frame", "frame_of_answer", "frame_of_model"]


def frame(header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Packs a header and arrays; the header gains `arrays`, a list of names and shapes."""
    named = [{"name": name, "shape": array.shape} for name, array in arrays.items()]
    text = json.dumps({**header, "arrays": named}).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<I", len(text)) + text + b"".join(array.astype("<f4").tobytes() for array in arrays.values())


def frame_of_answer(answer: Classification) -> bytes:
    """Packs an answer for n images: probabilities [n, 10], unfamiliarity [n], each map [n, c, h, w].

    For an encoded picture there is also `pixels` [28, 28], from 0 to 255.
    """
    arrays: dict[str, NDArray[Any]] = {"probabilities": answer.probabilities, "unfamiliarity": answer.unfamiliarity}
    if answer.pixels is not None:
        arrays["pixels"] = answer.pixels
    return frame({"version": answer.model_version}, {**arrays, **answer.feature_maps})


def frame_of_model(model: ModelDescription) -> bytes:
    """Packs a model's description, with the arrays `conv1.kernel`, `conv1.bias` and so on."""
    keep = ("name", "kind", "output_shape", "parameters", "stride", "padding", "has_feature_map")
    header = {
        "name": model.name,
        "version": model.version,
        "provider": model.provider,
        "classes": model.classes,
        "unfamiliarity_threshold": model.unfamiliarity_threshold,
        "layers": [{key: getattr(layer, key) for key in keep} for layer in model.layers],
        "evaluation": vars(model.evaluation),
        "limits": vars(model.limits),
    }
    tensors = ((f"{layer.name}.{part}", getattr(layer, part)) for layer in model.layers for part in ("kernel", "bias"))
    return frame(header, {name: tensor for name, tensor in tensors if tensor is not None})
