"""Many concurrent one-image callers of one AsyncClient: with joint calls and without, the same program side by side.

The server has its default settings and shares the machine with the program, as it would in a test of one's own. Every
answer is checked. Rounds are interleaved, because the speed of a shared machine drifts; ratios are taken within a
round. The last rows are a caller that is alone, whom batching must not make wait.
"""

import asyncio
import platform
import statistics
import time
from datetime import date
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Annotated, TypeAlias

import cyclopts
import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray
from rich.progress import track

from benchmarks.versus_aio import cpu_model, running
from clients import AsyncClient, Client
from clients.handwriting import Hand, png

SERVER = ["serving.command", "--port", "0", "--model-dir"]
TIMEOUT_S = 120.0
# Per number of callers and with or without batching, what each round measured.
Figures: TypeAlias = dict[tuple[int, bool], list[float]]


def drawn_digits(target: str) -> NDArray[np.uint8]:
    """The digits 0 to 9 as [10, 28, 28], each as the server's own normalisation makes it."""
    with Client(target) as client:
        seen = [client.classify(png(digit, Hand())).pixels for digit in range(10)]
    return np.stack([each for each in seen if each is not None])


async def ask(target: str, digits: NDArray[np.uint8], *, callers: int, calls: int, batching: bool) -> float:
    """Lets callers ask for one image at a time, each for the next when it has its answer; gives images per second."""

    async def caller(number: int) -> None:
        for turn in range(calls // callers):
            wanted = (number + turn) % 10
            answer = await client.classify(digits[wanted])
            if answer.digits.tolist() != [wanted]:
                raise SystemExit(f"{target} answers {answer.digits.tolist()} for a {wanted}")

    async with AsyncClient(target, timeout_s=TIMEOUT_S, batching=batching) as client:
        await client.describe()  # so that it is connected
        start = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for number in range(callers):
                tasks.create_task(caller(number))
        return calls // callers * callers / (time.perf_counter() - start)


def table(speeds: Figures, rounds: int) -> str:
    """The result in Markdown."""
    lines = [
        "# Concurrent one-image callers of one AsyncClient",
        "",
        f"`python -m benchmarks.amortising` on {date.today()}: {cpu_model()}, shared by server and client, "
        f"{rounds} interleaved rounds; Python {platform.python_version()}, grpcio {version('grpcio')}, "
        f"protobuf {version('protobuf')}, numpy {np.__version__}, onnxruntime {version('onnxruntime')}.",
        "",
        "Images per second, and how many times as many: the median, and the lowest to the highest.",
        "",
        "| callers | a call each | joint calls | times as many |",
        "|---|---|---|---|",
    ]
    for callers in dict.fromkeys(callers for callers, _ in speeds):
        apart, joint = speeds[callers, False], speeds[callers, True]
        ratios = [one / other for one, other in zip(joint, apart, strict=True)]
        cells = [spread(apart, "{:,.0f}"), spread(joint, "{:,.0f}"), spread(ratios, "{:.2f}")]
        lines.append(f"| {callers} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def spread(values: list[float], form: str) -> str:
    """The median with the lowest and the highest value."""
    median, low, high = (form.format(each) for each in (statistics.median(values), min(values), max(values)))
    return f"{median} ({low} to {high})"


def main(
    *,
    callers: Annotated[tuple[int, ...], Parameter(help="Numbers of concurrent callers.")] = (64, 256, 16, 1),
    rounds: int = 7,
    calls: Annotated[int, Parameter(help="Images per round without batching; with it, five times as many.")] = 2560,
    model_dir: Path = Path("models/lenet5"),
    output: Path = Path("benchmarks/amortising.md"),
) -> None:
    """Measures, prints the table and writes it to a file."""
    speeds: Figures = {key: [] for key in product(callers, (False, True))}
    with running(SERVER, model_dir) as target:
        digits = drawn_digits(target)
        for _ in track(range(rounds), "rounds", transient=True):
            for (count, batching), measured in speeds.items():
                images = 5 * calls if batching and count > 1 else calls if count > 1 else calls // 4
                speed = asyncio.run(ask(target, digits, callers=count, calls=images, batching=batching))
                measured.append(speed)
    text = table(speeds, rounds)
    output.write_text(text)
    print(text)


if __name__ == "__main__":
    cyclopts.run(main)
