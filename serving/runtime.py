"""Runs the network in ONNX Runtime: images in, probabilities and feature maps out.

The provider that is reported is the one that the session uses, not the one that was asked for: ONNX Runtime falls
back to the CPU in silence when CUDA cannot be loaded.
"""

import contextlib
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from serving.artifact import Artifact
from serving.settings import Provider

log = logging.getLogger(__name__)

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
IMAGES, ANSWERS = "images", ("probabilities", "unfamiliarity")


class RuntimeUnusable(Exception):
    """The model cannot run as was asked; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What the network made of n images."""

    probabilities: NDArray[np.float32]
    """[n, 10]; each row adds up to 1."""
    unfamiliarity: NDArray[np.float32]
    """[n]; 0 = like the training digits."""
    maps: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    """The layers that were asked for, each [n, channels, height, width]."""


class Model(Protocol):
    """What the rest of the server needs of a network."""

    def run(self, images: NDArray[np.uint8], layers: Sequence[str] = ()) -> Outputs:
        """Classifies images [n, 28, 28], and returns the maps of the named layers as well."""


class Runtime:
    """Two ONNX Runtime sessions: a lean one, and one that gives maps. `run` may be called from any thread."""

    def __init__(self, artifact: Artifact, *, provider: Provider = "auto", intra_op_threads: int = 1) -> None:
        """Opens the graphs of an artifact; raises RuntimeUnusable if one does not load or CUDA is not there."""
        self._session = _open_session(artifact.graph, provider, intra_op_threads)
        self._lean = _open_session(artifact.lean, provider, intra_op_threads)
        self.provider: str = self._lean.get_providers()[0]
        if provider == "cuda" and self.provider != CUDA:
            raise RuntimeUnusable(
                f"CUDA was asked for, but ONNX Runtime runs the model on {self.provider}: check that the driver and "
                "the CUDA and cuDNN libraries fit this onnxruntime-gpu, or use --provider auto"
            )
        if provider == "auto" and self.provider == CPU and CUDA in ort.get_available_providers():
            log.warning("CUDA cannot be used, so the model runs on the CPU; --provider cuda shows why")
        self._output_shapes = _output_shapes(self._session)
        for session in (self._session, self._lean):
            _check_signature(session)

    def run(self, images: NDArray[np.uint8], layers: Sequence[str] = ()) -> Outputs:
        """Classifies images [n, 28, 28], and returns the maps of the named layers as well."""
        if layers:
            answers = self._session.run([*ANSWERS, *layers], {IMAGES: images})
            return Outputs(answers[0], answers[1], dict(zip(layers, answers[2:], strict=True)))
        probabilities, unfamiliarity = self._lean.run(ANSWERS, {IMAGES: images})
        return Outputs(probabilities, unfamiliarity)

    def warm_up(self, batch_sizes: Sequence[int], map_shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Runs the model once for each batch size, and for all maps: no caller pays for first-time work.

        Raises RuntimeUnusable if the maps are not those that the model's card promises, [channels, height, width].
        """
        for layer, shape in map_shapes.items():
            if self._output_shapes.get(layer) != shape:
                given = self._output_shapes.get(layer, "nothing")
                raise RuntimeUnusable(f"the model's card promises {layer} as {shape}, its graph gives {given}")
        for n in batch_sizes:
            self.run(np.zeros((n, 28, 28), np.uint8))
        self.run(np.zeros((1, 28, 28), np.uint8), tuple(map_shapes))


def _output_shapes(session: Any) -> dict[str, tuple[int, ...]]:
    return {output.name: tuple(output.shape[1:]) for output in session.get_outputs()}


def _check_signature(session: Any) -> None:
    inputs = [(value.name, value.type, value.shape[1:]) for value in session.get_inputs()]
    outputs = _output_shapes(session)
    if inputs != [(IMAGES, "tensor(uint8)", [28, 28])] or not outputs.keys() >= set(ANSWERS):
        raise RuntimeUnusable(
            f"the model takes {inputs} and gives {sorted(outputs)}; "
            f"expected {IMAGES}, uint8 [n, 28, 28], and {' and '.join(ANSWERS)} among the outputs"
        )


def _open_session(graph: bytes, provider: Provider, intra_op_threads: int) -> Any:
    available = ort.get_available_providers()
    if provider == "cuda" and CUDA not in available:
        raise RuntimeUnusable(
            f"CUDA was asked for, but this onnxruntime offers only {', '.join(available)}: "
            "install the `gpu` extra in place of `serving`, or use --provider auto"
        )
    wanted = [CPU] if provider == "cpu" or CUDA not in available else [CUDA, CPU]
    if CUDA in wanted:
        # The CUDA and cuDNN that came as wheels are found only if they are loaded before the session is opened.
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it does not find
            ort.preload_dlls(directory="")
    options = ort.SessionOptions()
    options.intra_op_num_threads = intra_op_threads
    options.inter_op_num_threads = 1
    # A spinning thread takes a whole core from the threads that read and answer calls.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(graph, options, providers=wanted)
    except Exception as error:
        # ONNX Runtime raises a dozen classes of its own here, all of them about the model or the provider.
        raise RuntimeUnusable(f"ONNX Runtime cannot load the model: {error}") from None
