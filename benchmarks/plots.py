"""The results in pictures: throughput against latency for all servers, and our server's growth."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.growth import CALLERS_OF_MANY_IMAGES, Point
from benchmarks.results import Results
from benchmarks.servers import Server
from benchmarks.table import median
from benchmarks.turns import SHAPES

mpl.use("Agg")

OURS_COLOUR = "tab:red"
OURS_COLOURS = {"ours": OURS_COLOUR, "ours-2": "darkred"}
OTHERS = [colour for colour in mpl.color_sequences["tab20"] if colour not in mpl.color_sequences["tab20"][6:8]]


def plot_servers(results: Results, servers: Sequence[Server], path: Path) -> None:
    """Draws a line for each server, from 1 caller to 256, p50 as the point and p99 as the whisker."""
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes: Axes = figure.subplots()
    loads = [name for name, shape in SHAPES.items() if shape.images == 1 and not shape.is_shared]
    measured = [server for server in servers if any(results.of(server.key, load) for load in loads)]
    for number, server in enumerate(measured):
        found = [samples for load in loads if (samples := results.of(server.key, load))]
        speeds = [median(samples, lambda sample: sample.requests_per_s) for samples in found]
        p50s = [median(samples, lambda sample: sample.p50_ms) for samples in found]
        p99s = [median(samples, lambda sample: sample.p99_ms) for samples in found]
        whiskers = [[0.0] * len(found), [max(p99 - p50, 0) for p50, p99 in zip(p50s, p99s, strict=True)]]
        colour = OURS_COLOURS.get(server.key, OTHERS[number % len(OTHERS)])
        style = "--" if server.environment is None and not server.key.startswith("ours") else "-"
        axes.errorbar(
            speeds, p50s, whiskers, label=server.name.replace("*", ""), color=colour, linestyle=style, marker="o",
            capsize=3, zorder=9 if server.key.startswith("ours") else 2,
        )  # fmt: skip
    axes.set(xlabel="requests/s, one image each", ylabel="ms: p50, and p99 as the whisker")
    axes.set_title("1, 32 and 256 callers: further right is faster, lower is sooner")
    axes.grid(which="both", alpha=0.2)
    if measured:
        axes.set(xscale="log", yscale="log")
        axes.legend(fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=110)


def plot_growth(points: Sequence[Point], path: Path) -> None:
    """Draws throughput and p99 against callers, and against images per call."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    callers = [point for point in points if point.images == 1]
    images = [point for point in points if point.callers == CALLERS_OF_MANY_IMAGES]
    _draw(left, [point.callers for point in callers], [point.answers_per_s for point in callers], callers)
    _draw(right, [point.images for point in images], [point.images_per_s for point in images], images)
    left.set(xlabel="callers, one image a call", ylabel="answers/s")
    right.set(xlabel=f"images a call, {CALLERS_OF_MANY_IMAGES} callers", ylabel="images/s")
    figure.savefig(path, dpi=110)


def _draw(axes: Axes, x: list[int], y: list[float], points: Sequence[Point]) -> None:
    axes.plot(x, y, marker="o", color=OURS_COLOUR)
    axes.set(xscale="log", ylim=(0, None))
    axes.set_xticks(x, [f"{value:,}" for value in x])
    axes.minorticks_off()
    for point, at, height in zip(points, x, y, strict=True):
        if point.answered < 1:
            axes.annotate(
                f"{1 - point.answered:.0%} refused", (at, height), (0, -14), textcoords="offset points", ha="center"
            )
    latency: Axes = axes.twinx()
    latency.plot(x, [point.p99_ms for point in points], marker="s", color="tab:gray", linestyle=":")
    latency.set(yscale="log", ylabel="p99 ms (dotted)")
