"""Our server alone, as the load grows: from one caller to far more than it lets wait, and from one image to 1,024.

`python -m benchmarks.growth`, which `make bench` runs at its end. Callers share at most 64 connections here: thousands
of them would measure the handling of connections. What the server refuses is counted; the rest of its work must not
suffer from it.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.digits import Digits
from benchmarks.load import Shape
from benchmarks.measuring import Sample, measure_overload, running
from benchmarks.servers import Server

CONNECTIONS = 64
CALLERS = (1, 4, 16, 64, 256, 1024, 4096)
IMAGES = (4, 16, 64, 256, 1024)
CALLERS_OF_MANY_IMAGES = 4
SHAPES = [Shape(callers, 1, CONNECTIONS) for callers in CALLERS]
SHAPES += [Shape(CALLERS_OF_MANY_IMAGES, images) for images in IMAGES]


@dataclass(frozen=True)
class Point:
    """The medians for one shape of load."""

    callers: int
    images: int
    answers_per_s: float
    """Requests that were answered, not refused, over the whole of a run."""
    images_per_s: float
    p50_ms: float
    """This and p99: of all replies, refusals too."""
    p99_ms: float
    answered: float


def grow(
    server: Server, rounds: int, seconds: float, model_dir: Path, digits: Digits, tell: Callable[[str], None]
) -> list[Point]:
    """Measures a server under growing load, in rounds through all shapes."""
    samples: dict[Shape, list[Sample]] = {shape: [] for shape in SHAPES}
    for number in range(rounds):
        with running(server, model_dir, digits) as found:
            for shape in SHAPES:
                tell(f"growth, round {number + 1}: {shape.callers} callers, {shape.images} images a call")
                samples[shape].append(measure_overload(found, shape, seconds))
    return [_point(shape, found) for shape, found in samples.items()]


def _point(shape: Shape, samples: list[Sample]) -> Point:
    def median(pick: Callable[[Sample], float]) -> float:
        return statistics.median(map(pick, samples))

    return Point(
        callers=shape.callers,
        images=shape.images,
        answers_per_s=median(lambda sample: sample.answers_per_s),
        images_per_s=median(lambda sample: sample.answers_per_s) * shape.images,
        p50_ms=median(lambda sample: sample.p50_ms),
        p99_ms=median(lambda sample: sample.p99_ms),
        answered=median(lambda sample: sample.answered),
    )


def growth_table(points: list[Point]) -> str:
    """Lays the points out in Markdown."""
    rows = [
        f"| {point.callers:,} | {point.images:,} | {point.answers_per_s:,.0f} | {point.images_per_s:,.0f} "
        f"| {point.p50_ms:.3g} | {point.p99_ms:.3g} | {1 - point.answered:.1%} |"
        for point in points
    ]
    head = (
        "| callers | images a call | answers/s | images/s | p50 ms | p99 ms | refused |\n|--:|--:|--:|--:|--:|--:|--:|"
    )
    return "\n".join(["## Growth, LeNet Lens alone", "", head, *rows, ""])


def save(points: list[Point], path: Path) -> None:
    """Writes the points as JSON."""
    path.write_text(json.dumps([asdict(point) for point in points], indent=1) + "\n")
