"""The report is one page with all of its pictures, its figures are those of the run, and it appears whole or not."""

import base64
import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
import torch
from mnist_files import images_idx, part_of, write_mnist
from PIL import Image

from training import figures, runs
from training.data import load_mnist
from training.evaluation import evaluate
from training.model import to_float
from training.report import calibration_bins, confident_mistakes, confusion, to_html
from training.train import familiarity_of

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent
PICTURES = (
    "filters-conv1", "filters-conv2", "filters-conv3", "maps-conv1", "maps-pool1", "maps-conv2", "maps-pool2",
    "maps-conv3", "curves", "confusion", "mistakes", "calibration", "unfamiliarity",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data, a trained run, a FashionMNIST of noise and a table of records."""
    directory = Path(shutil.copytree(small_run, tmp_path_factory.mktemp("report") / "place"))
    (directory / "fashion").mkdir()
    clothes = torch.randint(0, 256, (50, 28, 28), dtype=torch.uint8)
    (directory / "fashion" / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(images_idx(clothes)))
    (directory / "docs").mkdir()
    (directory / "docs" / "records.md").write_text("## Ideas\n\n| idea | NLL |\n|---|---:|\n| as it is | 0.0182 |\n")
    return directory


@pytest.fixture(scope="module")
def metrics(place: Path) -> dict[str, Any]:
    """The figures of the run."""
    read: dict[str, Any] = json.loads((place / "runs" / "latest" / "metrics.json").read_text())
    return read


def report(place: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs `lenet-report` as a user does."""
    environment = {"PYTHONPATH": str(ROOT), "MNIST_DIR": str(place / "mnist"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "training.report", *flags],
        cwd=place,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture(scope="module")
def output(place: Path) -> Path:
    """The folder of a finished report."""
    finished = report(place, "--fashion-dir", "fashion")
    assert (finished.returncode, finished.stderr) == (0, "")
    assert len(finished.stdout.splitlines()) == len(PICTURES) + 1
    assert finished.stdout.splitlines()[-1] == "out/report/index.html"
    return place / "out" / "report"


@pytest.fixture(scope="module")
def page(output: Path) -> str:
    """Its page."""
    return (output / "index.html").read_text()


def test_every_picture_is_there_and_shows_something(output: Path) -> None:
    """The files are the page and the pictures, without a partial one; no picture is of one colour, or nearly."""
    assert sorted(file.name for file in output.iterdir()) == sorted(["index.html", *(f"{n}.png" for n in PICTURES)])
    for name in PICTURES:
        with Image.open(output / f"{name}.png") as image:
            assert image.width == 1440
            pixels = np.asarray(image.convert("L"))
        assert (pixels < 200).mean() > 0.005, name
        assert (pixels > 240).mean() > 0.05, name


def test_the_page_holds_the_pictures_and_needs_nothing_else(output: Path, page: str) -> None:
    """Each picture's very bytes, in order, each with words on how to read it; no address, script or style elsewhere."""
    held = [base64.b64decode(text) for text in re.findall(r'src="data:image/png;base64,([^"]+)"', page)]
    assert held == [(output / f"{name}.png").read_bytes() for name in PICTURES]
    assert len(re.findall(r"<h2 id=.*\n<p>[^<]{40,}</p>\n<figure tabindex=.0.><img alt=", page)) == len(PICTURES)
    without_pictures = re.sub(r'src="data:[^"]+"', "", page)
    for outward in ("http", "src=", "href", "url(", "@import", "<script", "<link"):
        assert outward not in without_pictures


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1440])
def test_a_browser_shows_all_of_it(
    browser: "Browser", output: Path, width: int, theme: Literal["light", "dark"]
) -> None:
    """Opened as a file, on a phone and on a wide screen: every picture, nothing cut off, and axe is content."""
    from axe_playwright_python.sync_playwright import Axe

    errors: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=theme)
    page = context.new_page()
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto((output / "index.html").as_uri())
    widths = page.evaluate("[...document.images].map((image) => image.complete && image.naturalWidth)")
    assert widths == [1440] * len(PICTURES)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()
    assert errors == []


def test_no_path_of_this_machine_is_in_the_page(page: str, place: Path) -> None:
    """Nor in the pictures that it holds."""
    for path in (str(place), str(ROOT), sys.prefix):
        assert path not in page


def test_the_page_says_what_the_metrics_say(page: str, metrics: dict[str, Any]) -> None:
    """Accuracy and scores as measured by the run, each in its row."""
    scores = metrics["test"]
    rows = dict(re.findall(r'<tr><th scope="row">(.*)<td>(.*)', page))
    assert rows["test accuracy"] == f"{scores['accuracy']:.2%}"
    assert rows["NLL"] == f"{scores['nll']:.4f} nats"
    assert rows["Brier score"] == f"{scores['brier']:.4f}"
    assert rows["calibration error"] == f"{scores['calibration_error']:.4f}"
    assert rows["temperature"].startswith(f"{metrics['temperature']:.3f},")
    assert rows["network"].startswith("61,706 parameters, max pooling, relu")
    assert f"{scores['accuracy']:.2%} of 500 images right" in page


def test_the_share_of_digits_that_pass_is_measured_by_the_runs_threshold(page: str, place: Path) -> None:
    """Counted here by hand, from the definition; the clothes are named too."""
    network, metrics = runs.load(place / "runs" / "latest")
    mnist = load_mnist(place / "mnist")
    known = familiarity_of(network, mnist, metrics["recipe"]["validation_images"])
    found = network.activations(to_float(mnist.test_images))
    passing = (known(found.logits, found.pool2) <= known.threshold).double().mean().item()
    assert 0.5 < passing < 1
    assert f"passes for a digit: {passing:.2%} of test digits, " in page
    assert re.search(
        r"[\d.]+% of blank, [\d.]+% of noise, [\d.]+% of inverted digits, [\d.]+% of letters, [\d.]+% of FashionMNIST",
        page,
    )


def test_tables_of_records_are_shown(page: str) -> None:
    """As HTML tables under a heading."""
    comparisons = page.partition(">Comparisons<")[2]
    assert "<h3>Ideas</h3>" in comparisons
    assert "<td>as it is</td>" in comparisons
    assert ">0.0182</td>" in comparisons


def test_markdown_leads_nowhere_and_brings_no_html() -> None:
    """Links are their text, pictures are left out, tags are text."""
    html = to_html("# A\n\n[text](http://a.b) ![c](http://d.e/f.png) <script>\n\n| x |\n|---|\n| <b> |\n")
    assert html.startswith("<h3>A</h3>\n<p>text  &lt;script&gt;</p>\n<table>")
    assert "&lt;b&gt;" in html
    assert "http" not in html


def test_what_is_missing_is_said(place: Path) -> None:
    """Without FashionMNIST and without records there is a page, which tells how to get both."""
    finished = report(place, "--fashion-dir", "none", "--records", "none.md", "--output", "other")
    assert (finished.returncode, finished.stderr) == (0, "")
    page = (place / "other" / "index.html").read_text()
    assert "FashionMNIST is left out, since its test images aren&#39;t here" in page
    assert "% of FashionMNIST" not in page
    assert "% of letters" in page
    assert "There are no tables yet: <code>lenet-records</code>" in page


def test_without_a_run_there_is_an_error_in_one_line(place: Path, tmp_path: Path) -> None:
    """It names the command that comes first, and nothing is written."""
    finished = report(place, "--run-dir", str(tmp_path / "none"), "--output", str(tmp_path / "report"))
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"lenet-report: {tmp_path}/none: no finished training run")
    assert len(finished.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_on_other_data_is_not_shown(place: Path, tmp_path: Path) -> None:
    """Pictures of other digits would not belong to the run's figures."""
    write_mnist(tmp_path / "other", part_of(load_mnist(place / "mnist"), 100, 100))
    finished = report(place, "--data-dir", str(tmp_path / "other"), "--output", str(tmp_path / "report"))
    assert finished.returncode == 1
    assert finished.stderr.startswith("lenet-report: the run was trained on other data")
    assert len(finished.stderr.splitlines()) == 1
    assert not (tmp_path / "report").exists()


def test_a_folder_that_cannot_be_written_is_an_error_in_one_line(place: Path, tmp_path: Path) -> None:
    """Found before anything is drawn; it names the folder and the flag."""
    (tmp_path / "file").touch()
    finished = report(place, "--output", str(tmp_path / "file" / "report"))
    assert (finished.returncode, finished.stdout) == (1, "")
    expected = f"{tmp_path}/file/report: the report can't be written (Not a directory); name another folder"
    assert finished.stderr == f"lenet-report: {expected} with --output\n"


def test_a_page_that_fails_leaves_the_one_before(place: Path, tmp_path: Path) -> None:
    """A damaged FashionMNIST is found after some pictures are drawn; the folder is as it was."""
    (tmp_path / "fashion").mkdir()
    (tmp_path / "fashion" / "t10k-images-idx3-ubyte.gz").write_bytes(b"damaged")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "index.html").write_text("before")
    finished = report(place, "--fashion-dir", str(tmp_path / "fashion"), "--output", str(tmp_path / "report"))
    assert finished.returncode == 1
    assert "mistakes.png" in finished.stdout
    assert len(finished.stderr.splitlines()) == 1
    assert [(file.name, file.read_text()) for file in (tmp_path / "report").iterdir()] == [("index.html", "before")]


def some_answers() -> tuple[torch.Tensor, torch.Tensor]:
    """Returns logits [400, 10] and labels [400], about a half of them right, at all degrees of sureness."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (400,), generator=generator)
    logits = 2 * torch.randn(400, 10, generator=generator)
    logits[torch.arange(400), labels] += 2
    return logits, labels


def test_the_confusion_matrix_counts_every_image_once() -> None:
    """Rows are labels, columns what was read; the diagonal is the accuracy."""
    assert confusion(torch.tensor([3, 3, 5]), torch.tensor([3, 8, 5])).nonzero().tolist() == [[3, 3], [3, 8], [5, 5]]
    logits, labels = some_answers()
    counts = confusion(labels, logits.argmax(1))
    assert counts.sum(1).tolist() == torch.bincount(labels, minlength=10).tolist()
    assert counts.sum(0).tolist() == torch.bincount(logits.argmax(1), minlength=10).tolist()
    assert counts.trace().item() / 400 == evaluate(logits, labels).accuracy


def test_calibration_bins_make_the_calibration_error() -> None:
    """The mean distance between confidence and accuracy, weighted by images, is what `evaluate` says."""
    logits, labels = some_answers()
    bins = calibration_bins(logits, labels)
    full = bins.images > 0
    gaps = (bins.confidence - bins.accuracy).abs()[full] * bins.images[full]
    assert bins.images.sum() == 400
    assert gaps.sum().item() / 400 == pytest.approx(evaluate(logits, labels).calibration_error, abs=1e-12)
    lowest, highest = torch.arange(15) / 15, torch.arange(1, 16) / 15
    assert ((lowest <= bins.confidence) & (bins.confidence <= highest))[full].all()


def test_mistakes_are_wrong_and_the_surest_come_first() -> None:
    """Of three wrong answers the two surest; a right one that is surer still is none of them."""
    logits = torch.tensor([[0.6, 0.4], [0.9, 0.1], [0.99, 0.01], [0.2, 0.8]]).log()
    assert confident_mistakes(logits, torch.tensor([1, 1, 0, 0]), most=2).tolist() == [1, 3]


def test_a_run_without_mistakes_can_be_drawn() -> None:
    """Nothing wrong, every answer in one bin, no unfamiliar image, one epoch without an error: no warning either."""
    nothing = np.zeros((0,), int)
    epoch = {"epoch": 1, "train_loss": 0.1, "train_accuracy": 1.0, "validation_accuracy": None}
    bins = np.array([0] * 14 + [5])
    shares = np.where(bins, 1.0, np.nan)
    for figure in (
        figures.mistakes(np.zeros((0, 28, 28)), nothing, nothing, nothing),
        figures.confusion(np.eye(10, dtype=int) * 5),
        figures.calibration(bins, shares, shares),
        figures.unfamiliarity({"digits": np.zeros(5)}, 0.0),
        figures.curves([epoch]),
    ):
        with Image.open(io.BytesIO(figures.png(figure))) as image:
            assert image.width == 1440
