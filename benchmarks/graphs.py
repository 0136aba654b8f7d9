"""The two graphs of an artifact, in process and side by side: what the lean one is worth.

`python -m benchmarks.graphs`. One thread; rounds are interleaved, ratios are taken within a round.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import cyclopts
import numpy as np

from benchmarks.peers.network import Network
from serving.artifact import open_artifact

SIZES = (1, 8, 32, 512)
IMAGES_A_ROUND = 2000


def run(*, rounds: int = 25, model_dir: Path = Path("models/lenet5")) -> None:
    """Prints microseconds an image, medians of the rounds."""
    artifact = open_artifact(model_dir)
    whole, lean = (Network(str(artifact.directory / name)) for name in ("model.onnx", "lean.onnx"))
    ways = {"model.onnx": whole.run, "lean.onnx": lean.run}
    print(f"| images a run | {' | '.join(ways)} | times as fast, lowest to highest |")
    print("|--:|--:|--:|--:|")
    rng = np.random.default_rng(0)
    for n in SIZES:
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(_us_an_image(partial(way, images), n))
        ratios = [one / other for one, other in zip(*found.values(), strict=True)]
        cells = [f"{median(values):.1f}" for values in found.values()]
        cells.append(f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        print(f"| {n} | {' | '.join(cells)} |")


def _us_an_image(way: Callable[[], object], n: int) -> float:
    way()
    repeats = max(1, IMAGES_A_ROUND // n // 4)
    began = time.perf_counter()
    for _ in range(repeats):
        way()
    return (time.perf_counter() - began) / repeats / n * 1e6


if __name__ == "__main__":
    cyclopts.run(run)
