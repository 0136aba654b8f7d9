"""The network is the article's, training is repeatable, and its command ends as it says."""

import json
import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest
import torch
from mnist_files import part_of, write_mnist
from rich.console import Console
from torch import Tensor, nn

from training import runs
from training.augment import Distortion, distort
from training.convolution import output_size
from training.data import Mnist, offline_sample, read_directory
from training.errors import RunError
from training.evaluation import evaluate
from training.familiarity import Familiarity
from training.fit import Split, score
from training.model import LeNet5, LeNet5Layers, ServedLeNet5, describe, to_float
from training.recipe import RECIPES, Recipe
from training.train import learn

ROOT = Path(__file__).parent.parent
QUICK = Recipe(epochs=2, batch=64)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny batches gain nothing from a second thread and lose much by it where other programs run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small() -> Mnist:
    """A few hundred real images."""
    return part_of(offline_sample(), train=320, test=100)


@pytest.fixture(scope="module")
def small_dir(small: Mnist, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as IDX files."""
    return write_mnist(tmp_path_factory.mktemp("mnist"), small)


def command(cwd: Path, *flags: str, **environment: str) -> subprocess.Popen[str]:
    """Starts `lenet-train` as a user does, in a directory of its own."""
    inherited = {name: value for name, value in os.environ.items() if name != "MNIST_DIR"}
    return subprocess.Popen(
        [sys.executable, "-m", "training.train", *flags],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Waits for a command; returns exit status, stdout and stderr."""
    out, err = process.communicate(timeout=280)
    return process.returncode, out, err


def test_the_table_of_layers_is_the_articles() -> None:
    """Outputs and parameters of every layer, and the two totals, as they were published."""
    layers = describe(LeNet5())
    assert {layer.name: (layer.shape, layer.parameters) for layer in layers} == {
        "conv1": ((6, 28, 28), 156),
        "pool1": ((6, 14, 14), 0),
        "conv2": ((16, 10, 10), 2_416),
        "pool2": ((16, 5, 5), 0),
        "conv3": ((120, 1, 1), 48_120),
        "fc1": ((84,), 10_164),
        "fc2": ((10,), 850),
    }
    assert sum(layer.parameters for layer in layers) == 61_706
    assert sum(layer.multiply_adds for layer in layers) == 416_520
    assert sum(weights.numel() for weights in LeNet5().state_dict().values()) == 61_706


def test_the_table_is_true_of_the_tensors() -> None:
    """What the network really computes has the shapes that the table gives."""
    network = LeNet5()
    outputs = ServedLeNet5(network, Familiarity())(torch.zeros(3, 28, 28, dtype=torch.uint8))._asdict()
    for layer in describe(network):
        if layer.kind != "linear":
            assert outputs[layer.name].shape == (3, *layer.shape)
    assert outputs["logits"].shape == outputs["probabilities"].shape == (3, 10)


def test_a_layer_that_the_table_does_not_know_is_an_error() -> None:
    """Counts that leave something out would be wrong in silence."""
    network = LeNet5()
    network.add_module("norm", nn.BatchNorm1d(10))
    with pytest.raises(TypeError, match="norm is a BatchNorm1d"):
        describe(network)


@pytest.mark.parametrize(("arguments", "size"), [((28, 5, 1, 2), 28), ((28, 2, 2), 14), ((5, 5), 1), ((4, 2), 3)])
def test_output_size_follows_the_formula(arguments: tuple[int, ...], size: int) -> None:
    """(n + 2p - k) / s + 1."""
    assert output_size(*arguments) == size


@pytest.mark.parametrize("arguments", [(5, 2, 2), (4, 5)])
def test_output_size_must_come_out_whole(arguments: tuple[int, ...]) -> None:
    """A kernel that doesn't fit is an error and no rounding."""
    with pytest.raises(ValueError, match="isn't a whole number of at least 1"):
        output_size(*arguments)


@pytest.mark.parametrize("stage", ["1", "2"])
def test_pooling_comes_before_relu(stage: str) -> None:
    """What enters pooling is the convolution's own result, negative values included; what is reported isn't."""
    network = LeNet5()
    entered: dict[str, Tensor] = {}
    network.get_submodule(f"pool{stage}").register_forward_hook(
        lambda _, inputs, output: entered.update(before=inputs[0], after=output)
    )
    found = network.activations(torch.rand(2, 1, 28, 28))._asdict()
    assert torch.equal(entered["before"], found[f"conv{stage}"])
    assert entered["before"].min() < 0
    assert torch.equal(found[f"pool{stage}"], entered["after"].clamp(min=0))
    assert found[f"pool{stage}"].min() == 0


def test_the_served_network_takes_bytes_and_is_the_trained_one() -> None:
    """Same weights, same names; 255 is ink 1.0; probabilities are the softmax of the logits."""
    trained = LeNet5()
    served = ServedLeNet5(trained, Familiarity())
    images = torch.randint(0, 256, (5, 28, 28), dtype=torch.uint8)
    answer = served(images)
    assert torch.equal(answer.logits, trained(images[:, None].float() / 255))
    torch.testing.assert_close(answer.probabilities.sum(1), torch.ones(5))
    assert to_float(torch.full((1, 28, 28), 255, dtype=torch.uint8)).max() == 1


def test_no_distortion_changes_nothing() -> None:
    """At strength 0 every image comes back."""
    images = torch.rand(4, 1, 28, 28)
    same = distort(images, Distortion(0, 0, 0, 0), torch.Generator())
    torch.testing.assert_close(same, images, atol=1e-5, rtol=0)


def test_every_image_gets_its_own_distortion_within_bounds() -> None:
    """A dot in the middle moves by another way in each copy, and never further than asked for."""
    images = torch.zeros(200, 1, 29, 29)
    images[:, :, 14, 14] = 1
    moved = distort(images, Distortion(0, 3, 0, 0), torch.Generator().manual_seed(1))
    offset = _centre(moved) - 14  # [200, 2]
    assert offset.abs().max() <= 3.01
    assert offset.min() < -2.5
    assert offset.max() > 2.5
    assert len({tuple(way) for way in offset.tolist()}) == 200


def test_rotation_turns_by_at_most_the_angle() -> None:
    """A dot right of the middle stays on its circle, within the angle, on both sides."""
    images = torch.zeros(200, 1, 29, 29)
    images[:, :, 14, 24] = 1
    y, x = (_centre(distort(images, Distortion(20, 0, 0, 0), torch.Generator().manual_seed(1))) - 14).T
    angle = torch.atan2(y, x).rad2deg()
    torch.testing.assert_close(torch.hypot(x, y), torch.full((200,), 10.0), atol=0.3, rtol=0)
    assert angle.abs().max() < 21
    assert angle.min() < -17
    assert angle.max() > 17


def _centre(images: Tensor) -> Tensor:
    weight = images[:, 0] / images.sum((1, 2, 3))[:, None, None]
    places = torch.arange(29.0)
    return torch.stack([(weight.sum(2) * places).sum(1), (weight.sum(1) * places).sum(1)], dim=1)


def test_scores_agree_with_a_calculation_by_hand() -> None:
    """Two images, two classes: one right at 0.8, one wrong at 0.6."""
    scores = evaluate(torch.tensor([[0.8, 0.2], [0.6, 0.4]]).log(), torch.tensor([0, 1]))
    assert scores.images == 2
    assert scores.accuracy == 0.5
    assert scores.nll == pytest.approx(-(math.log(0.8) + math.log(0.4)) / 2)
    assert scores.brier == pytest.approx((0.04 + 0.04 + 0.36 + 0.36) / 2)
    assert scores.calibration_error == pytest.approx((0.2 + 0.6) / 2)


def test_gaps_within_a_bin_cancel_and_between_bins_add() -> None:
    """Four images sure to 0.75, three of them right, are calibrated; sure and wrong is the worst there is."""
    sure = torch.tensor([[0.75, 0.25]] * 4).log()
    assert evaluate(sure, torch.tensor([0, 0, 0, 1])).calibration_error == pytest.approx(0, abs=1e-6)
    assert evaluate(torch.tensor([[99.0, -99.0]]), torch.tensor([1])).calibration_error == pytest.approx(1)


def trained(mnist: Mnist, recipe: Recipe) -> tuple[LeNet5, list[dict[str, float]]]:
    """Returns the network and its epochs without their times."""
    network, metrics = learn(mnist, recipe, Console(quiet=True))
    return network, [{key: value for key, value in row.items() if key != "seconds"} for row in metrics["epochs"]]


def same_weights(one: LeNet5Layers, other: LeNet5Layers) -> bool:
    """Compares bit for bit."""
    return all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))


def test_a_seed_fixes_every_bit(small: Mnist) -> None:
    """Same seed, same weights and figures; another seed, others; and what ran before doesn't matter."""
    first, rows = trained(small, QUICK)
    torch.rand(7)
    again, rows_again = trained(small, QUICK)
    other, _ = trained(small, Recipe(epochs=2, batch=64, seed=1))
    assert same_weights(first, again)
    assert rows == rows_again
    assert not same_weights(first, other)


def test_the_test_set_decides_nothing(small: Mnist) -> None:
    """With other test images and labels, the weights and all rows are the same."""
    swapped = Mnist(small.train_images, small.train_labels, small.test_images.flip(0), small.test_labels, "", "")
    network, rows = trained(small, QUICK)
    network_swapped, rows_swapped = trained(swapped, QUICK)
    assert same_weights(network, network_swapped)
    assert rows == rows_swapped


def test_validation_images_are_not_trained_on(small: Mnist) -> None:
    """Spoiling the labels at the end of the training images changes what is measured, not what is learned."""
    labels = small.train_labels.clone()
    labels[-16:] = (labels[-16:] + 1) % 10
    spoiled = Mnist(small.train_images, labels, small.test_images, small.test_labels, "", "")
    recipe = Recipe(epochs=20, batch=16, validation_images=16)
    network, rows = trained(small, recipe)
    network_spoiled, rows_spoiled = trained(spoiled, recipe)
    # The temperature is fitted to them, and scales the last layer.
    assert all(
        torch.equal(one, other)
        for (name, one), other in zip(network.state_dict().items(), network_spoiled.state_dict().values(), strict=True)
        if not name.startswith("fc2")
    )
    assert rows_spoiled[-1]["validation_accuracy"] < rows[-1]["validation_accuracy"] - 0.3


def test_fewer_images_get_more_passes() -> None:
    """Unless the number is given."""
    assert Recipe().epochs_for(58_000) < Recipe().epochs_for(4_275) <= 60
    assert Recipe(epochs=3).epochs_for(58_000) == 3


def test_a_loss_that_is_no_number_ends_the_run(small: Mnist) -> None:
    """A network of NaNs must not look like a result."""
    with pytest.raises(RunError, match="the loss is nan in epoch 1; try a lower --learning-rate"):
        learn(small, Recipe(epochs=1, batch=16, learning_rate=1e38), Console(quiet=True))


def test_the_command_leaves_weights_and_figures(tmp_path: Path, small: Mnist, small_dir: Path) -> None:
    """What is on disk scores what the metrics say, and holds no path of this machine."""
    status, out, err = ended(command(tmp_path, "--epochs", "3", "--batch", "32", MNIST_DIR=str(small_dir)))
    assert (status, err) == (0, "")
    assert len(re.findall(r"^ +[123] .* [\d.]+$", out, re.MULTILINE)) == 3
    network, metrics = runs.load(tmp_path / "runs" / "latest")
    assert metrics["test"]["accuracy"] == score(network, Split(small.test_images, small.test_labels)).accuracy
    assert metrics["recipe"]["epochs"] == 3
    assert metrics["data"]["sha256"] == small.sha256
    assert [row["epoch"] for row in metrics["epochs"]] == [1, 2, 3]
    assert str(tmp_path.parent) not in json.dumps(metrics)
    assert sorted(file.name for file in (tmp_path / "runs" / "latest").iterdir()) == ["metrics.json", "weights.pt"]


def test_an_interrupted_run_leaves_the_one_before_as_it_was(tmp_path: Path, small_dir: Path) -> None:
    """Ctrl-C between two epochs: one line, exit status 130, and no file has changed or appeared."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "weights.pt").write_bytes(b"before")
    process = command(tmp_path, "--run-dir", "run", "--epochs", "100000", MNIST_DIR=str(small_dir))
    assert process.stdout
    for line in process.stdout:
        if re.match(r" +2 ", line):
            break
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    assert (status, err) == (130, "lenet-train: interrupted, nothing was written\n")
    assert [(file.name, file.read_bytes()) for file in run_dir.iterdir()] == [("weights.pt", b"before")]


def test_a_run_directory_that_cannot_be_written_is_found_before_training(tmp_path: Path, small_dir: Path) -> None:
    """The error comes first, not after the minutes that it would waste."""
    (tmp_path / "file").touch()
    status, out, err = ended(command(tmp_path, "--run-dir", "file/run", MNIST_DIR=str(small_dir)))
    assert (status, out) == (1, "")
    assert err == "lenet-train: file/run: can't write there (Not a directory); name another with --run-dir\n"


def test_damaged_data_and_wrong_usage_have_their_own_exit_status(tmp_path: Path) -> None:
    """1 with one line for what went wrong, 2 for a flag that isn't there or makes no sense."""
    status, _, err = ended(command(tmp_path, "--data-dir", "nowhere"))
    assert status == 1
    assert re.fullmatch(r"lenet-train: nowhere: found no train-images-idx3 file; .*\n", err)
    assert ended(command(tmp_path, "--epoch", "3"))[0] == 2
    assert ended(command(tmp_path, "--batch", "0"))[0] == 2


def test_recipes_are_chosen_by_name(tmp_path: Path, small_dir: Path) -> None:
    """Help names them all, an unknown one is an error that does, and the run tells which it was, with its changes."""
    out = ended(command(tmp_path, "--help"))[1]
    status, _, err = ended(command(tmp_path, "--recipe", "best"))
    for name in RECIPES:
        assert re.search(rf"\b{name}\b", out.partition("--recipe")[2])  # help is wrapped, and in boxes
        assert re.search(rf"\b{name}\b", err)
    assert status == 2
    assert ended(command(tmp_path, "--recipe", "article", "--epochs", "1", MNIST_DIR=str(small_dir)))[0] == 0
    recipe = runs.load(tmp_path / "runs" / "latest")[1]["recipe"]
    assert (recipe["name"], recipe["optimizer"], recipe["batch"], recipe["epochs"]) == ("article", "adam", 32, 1)


def test_weights_and_metrics_of_different_runs_are_refused(tmp_path: Path) -> None:
    """Otherwise a card could praise a network with another one's figures."""
    metrics = {"format": runs.FORMAT, "recipe": {"pooling": "max", "activation": "relu"}}
    runs.save(tmp_path, LeNet5(), metrics)
    weights = (tmp_path / "weights.pt").read_bytes()
    runs.save(tmp_path, LeNet5(), metrics)
    runs.load(tmp_path)
    (tmp_path / "weights.pt").write_bytes(weights)
    with pytest.raises(RunError, match=r"weights.pt isn't the file that metrics.json is about"):
        runs.load(tmp_path)


def test_a_run_of_another_version_is_refused(tmp_path: Path) -> None:
    """With what to do about it, and not with a missing key."""
    runs.save(tmp_path, LeNet5(), {"format": 1})
    with pytest.raises(RunError, match="a run of another version of this program; run lenet-train again"):
        runs.load(tmp_path)


def test_a_run_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """With the command that makes one."""
    with pytest.raises(RunError, match=r"no finished training run .*; run lenet-train first"):
        runs.load(tmp_path)


@pytest.fixture
def mnist_dir() -> Path:
    """The real MNIST of whoever runs the tests."""
    if "MNIST_DIR" not in os.environ:
        pytest.skip("needs all of MNIST: set MNIST_DIR to a directory with its four IDX files")
    return Path(os.environ["MNIST_DIR"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_default_recipe_reaches_its_accuracy(
    tmp_path: Path, mnist_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`lenet-train` without a flag: at least 99.3 % of MNIST's 10,000 test images."""
    started = monotonic()
    status, out, err = ended(command(tmp_path, MNIST_DIR=str(mnist_dir.resolve())))
    with capsys.disabled():
        print(f"\nlenet-train, all of MNIST: {monotonic() - started:.0f} s\n{out}")
    assert (status, err) == (0, "")
    network, _ = runs.load(tmp_path / "runs" / "latest")
    mnist = read_directory(mnist_dir, "")
    assert score(network, Split(mnist.test_images, mnist.test_labels)).accuracy >= 0.993


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_without_a_network_it_still_learns_to_read(
    tmp_path: Path, mnist_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`lenet-train` on the offline sample: at least 98.5 % of the 10,000 test images, which it has never seen."""
    process = command(tmp_path, https_proxy="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", no_proxy="")
    status, out, err = ended(process)
    with capsys.disabled():
        print(f"\nlenet-train, offline sample:\n{out}")
    assert status == 0
    assert "5,000 of MNIST's 60,000 training images" in err
    network, metrics = runs.load(tmp_path / "runs" / "latest")
    assert "held out of the offline sample" in metrics["test_set"]
    mnist = read_directory(mnist_dir, "")
    assert score(network, Split(mnist.test_images, mnist.test_labels)).accuracy >= 0.985
