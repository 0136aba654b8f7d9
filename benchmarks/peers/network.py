"""The network as every peer runs it: ONNX Runtime with one thread that does not spin, as our own server has it.

n x 784 bytes come, n x 11 float32 go: ten probabilities and the unfamiliarity.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

IMAGE_BYTES = 28 * 28
MAX_BATCH_CALLS = 32


class Network:
    """One ONNX Runtime session."""

    def __init__(self, model: str, threads: int = 1) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session: Any = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self.run(np.zeros((1, 28, 28), np.uint8))

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classifies images [n, 28, 28]; gives [n, 11]."""
        probabilities, unfamiliarity = self._session.run(["probabilities", "unfamiliarity"], {"images": images})
        return np.column_stack([probabilities, unfamiliarity])

    def answer(self, pixels: bytes) -> bytes:
        """Answers one request."""
        return self.run(np.frombuffer(pixels, np.uint8).reshape(-1, 28, 28)).tobytes()

    def answer_together(self, requests: Sequence[bytes]) -> list[bytes]:
        """Answers several requests with one run, in order."""
        if len(requests) == 1:
            return [self.answer(requests[0])]
        answers = self.run(np.frombuffer(b"".join(requests), np.uint8).reshape(-1, 28, 28))
        ends = np.cumsum([len(pixels) // IMAGE_BYTES for pixels in requests])
        return [part.tobytes() for part in np.split(answers, ends[:-1])]


@dataclass(frozen=True)
class Arguments:
    """What each peer is told."""

    port: int
    model: str
    workers: int
    batch: bool


def arguments() -> Arguments:
    """Reads the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-batch", dest="batch", action="store_false")
    given = parser.parse_args()
    return Arguments(given.port, str(Path(given.model).resolve()), given.workers, given.batch)
