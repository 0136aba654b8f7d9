"""Puts answers into words for the terminal, and into JSON for programs.

JSON objects have the same keys whatever happened: what is not known is null, and `error` says why.
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

from clients.messages import Classification, Layer, ModelDescription

Json: TypeAlias = dict[str, Any]


NOT_A_DIGIT = "not a digit?"


def classification_header(file_width: int) -> str:
    """Names the columns of `classification_row`."""
    return f"{'file':{file_width}}  digit  probability  second choice"


def classification_row(file_width: int, file: str, answer: Classification, doubted: bool) -> str:
    """Tells the answer for one file, on one line; `doubted` if it is probably no digit."""
    second, first = answer.probabilities[0].argsort()[-2:]
    probabilities = answer.probabilities[0]
    row = f"{file:{file_width}}  {first:5}  {probabilities[first]:11.1%}  {second} ({probabilities[second]:.1%})"
    return f"{row}  {NOT_A_DIGIT}" if doubted else row


def classification_json(file: str, answer: Classification | None, doubted: bool, error: str | None) -> Json:
    """Tells the answer for one file, or why there is none. `probabilities` are in the order of the digits."""
    probabilities = [round(float(p), 6) for p in answer.probabilities[0]] if answer else None
    return {
        "file": file,
        "digit": int(answer.digits[0]) if answer else None,
        "probability": max(probabilities) if probabilities else None,
        "probabilities": probabilities,
        "unfamiliarity": round(float(answer.unfamiliarity[0]), 4) if answer else None,
        "not_a_digit": doubted if answer else None,
        "model_version": answer.model_version if answer else None,
        "error": error,
    }


def model_text(model: ModelDescription) -> str:
    """Describes the model in a dozen lines."""
    return "\n".join(_model_lines(model))


def model_json(model: ModelDescription | None, error: str | None) -> Json:
    """Describes the model but for its weights; or says why it cannot."""
    return {
        "name": model.name if model else None,
        "version": model.version if model else None,
        "provider": model.provider if model else None,
        "fast_lane": model.fast_lane if model else None,
        "input_shape": model.input_shape if model else None,
        "classes": model.classes if model else None,
        "layers": [_layer_json(layer) for layer in model.layers] if model else None,
        "evaluation": vars(model.evaluation) if model else None,
        "limits": vars(model.limits) if model else None,
        "unfamiliarity_threshold": model.unfamiliarity_threshold if model else None,
        "error": error,
    }


def _model_lines(model: ModelDescription) -> Iterator[str]:
    way_in = "fast lane" if model.fast_lane else "ordinary handler"
    yield f"{model.name} version {model.version}, on {model.provider}, {way_in}"
    yield ""
    yield f"{'layer':8}{'kind':13}{'output':>14}{'parameters':>12}  map"
    for layer in model.layers:
        shape = " x ".join(map(str, layer.output_shape))
        has_map = "yes" if layer.has_feature_map else "-"
        yield f"{layer.name:8}{layer.kind:13}{shape:>14}{layer.parameters:12,}  {has_map}"
    yield f"{'':35}{sum(layer.parameters for layer in model.layers):12,}"
    yield ""
    card, limits = model.evaluation, model.limits
    yield f"accuracy {card.accuracy:.2%} on {card.test_images:,} images ({card.test_set})"
    yield f"nll {card.nll:.4f}, Brier score {card.brier:.4f}, calibration error {card.calibration_error:.4f}"
    yield f"an image with an unfamiliarity above {model.unfamiliarity_threshold:.2f} is probably no digit"
    yield (
        f"limits: {limits.max_images:,} images and {limits.max_request_bytes:,} bytes a request, "
        f"{limits.max_image_pixels:,} pixels a picture, {limits.max_reply_bytes:,} bytes a reply"
    )


def _layer_json(layer: Layer) -> Json:
    return {name: value for name, value in vars(layer).items() if name not in ("kernel", "bias")}
