"""An artifact is complete, proven, and readable without this project; or there is none."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mnist_files import part_of, write_mnist
from rich.console import Console

from lenet.v1.digits_pb2 import LAYER_KIND_POOLING, Limits
from serving.artifact import open_artifact
from serving.description import describe
from training import formats, runs
from training.data import Mnist, load_mnist
from training.errors import ExportError
from training.export import next_version, write_artifact
from training.model import Activation, LeNet5, Pooling, ServedLeNet5, ServedOutputs
from training.parity import check_parity
from training.recipe import Recipe
from training.train import familiarity_of, learn

ROOT = Path(__file__).parent.parent
SHAPES = {
    "probabilities": (10,),
    "logits": (10,),
    "unfamiliarity": (),
    "conv1": (6, 28, 28),
    "pool1": (6, 14, 14),
    "conv2": (16, 10, 10),
    "pool2": (16, 5, 5),
    "conv3": (120, 1, 1),
}


@pytest.fixture(scope="module")
def place(small_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with data and a trained run."""
    return Path(shutil.copytree(small_run, tmp_path_factory.mktemp("export") / "place"))


@pytest.fixture(scope="module")
def mnist(place: Path) -> Mnist:
    """The data of the run."""
    return load_mnist(place / "mnist")


def export(place: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    """Runs `lenet-export` as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "training.export", *flags],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MNIST_DIR": str(place / "mnist")},
        capture_output=True,
        text=True,
        timeout=280,
    )


@pytest.fixture(scope="module")
def printed(place: Path) -> str:
    """What a first export prints."""
    finished = export(place)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


@pytest.fixture(scope="module")
def artifact(place: Path, printed: str) -> Path:
    """The first version."""
    return place / "models" / "lenet5" / "1"


@pytest.fixture(scope="module")
def card(artifact: Path) -> dict[str, Any]:
    """Its card."""
    read: dict[str, Any] = json.loads((artifact / "card.json").read_text())
    return read


def test_an_export_is_complete_and_says_so_in_six_lines(artifact: Path, printed: str, card: dict[str, Any]) -> None:
    """Five files, nothing left beside them, no noise of the exporters; readable by whoever may read the folder."""
    names = ["card.json", "kernels.npz", "lean.onnx", "model.onnx", "model.pt"]
    assert sorted(file.name for file in artifact.iterdir()) == names
    assert [entry.name for entry in artifact.parent.iterdir()] == ["1"]
    assert len(printed.splitlines()) == 6
    assert f"{card['evaluation']['accuracy']:.2%} of 500 images right" in printed
    assert printed.splitlines()[-1].startswith("models/lenet5/1: ")
    assert artifact.stat().st_mode == artifact.parent.stat().st_mode


def test_the_card_describes_the_files(artifact: Path, card: dict[str, Any]) -> None:
    """Sizes and SHA-256 of all four."""
    assert set(card["files"]) == {"model.onnx", "lean.onnx", "model.pt", "kernels.npz"}
    for name, listed in card["files"].items():
        content = (artifact / name).read_bytes()
        assert listed == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_the_card_says_what_it_was_made_from(card: dict[str, Any], mnist: Mnist) -> None:
    """Counts, data, recipe, scores and the proof of parity."""
    assert card["format"] == card["version"] == 1
    assert card["architecture"]["parameters"] == 61_706
    assert card["architecture"]["multiply_adds"] == 416_520
    assert [layer["name"] for layer in card["layers"]] == ["conv1", "pool1", "conv2", "pool2", "conv3", "fc1", "fc2"]
    assert card["layers"][0]["shape"] == [6, 28, 28]
    assert card["layers"][-1] == {
        "name": "fc2", "kind": "linear", "shape": [10], "parameters": 850, "multiply_adds": 840
    }  # fmt: skip
    assert card["training"]["epochs"] == 4
    assert card["data"]["sha256"] == mnist.sha256
    assert card["evaluation"]["test_images"] == card["parity"]["images"] == 500
    assert card["evaluation"]["accuracy"] > 0.5
    assert card["evaluation"]["test_set"] == "another t10k set than MNIST's, from the same directory"
    assert 0 < card["parity"]["max_probability_difference"] <= 1e-5
    assert card["architecture"]["activation"] == "relu"
    assert card["training"]["name"] == "default"
    assert card["unfamiliarity"]["threshold"] > 0


def test_no_path_of_this_machine_is_in_the_artifact(artifact: Path, tmp_path: Path) -> None:
    """Both exporters would note where the source code lay."""
    for file in artifact.iterdir():
        contents = [file.read_bytes()]
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as members:
                contents += [members.read(name) for name in members.namelist()]
        for content in contents:
            assert str(ROOT).encode() not in content
            assert sys.prefix.encode() not in content


def test_the_onnx_file_stands_alone(artifact: Path) -> None:
    """One file with its weights inside, under the names that torch gives them."""
    model = onnx.load(artifact / "model.onnx", load_external_data=False)
    initializers = {tensor.name: tensor for tensor in model.graph.initializer}
    assert set(LeNet5().state_dict()) <= set(initializers)
    assert not any(tensor.external_data for tensor in initializers.values())
    assert [entry.version for entry in model.opset_import] == [formats.OPSET]


def test_the_lean_file_gives_the_same_answers_and_no_maps(artifact: Path, mnist: Mnist) -> None:
    """Probabilities and unfamiliarity, for one image and for many."""
    whole, lean = (
        onnxruntime.InferenceSession(artifact / name, providers=["CPUExecutionProvider"])
        for name in ("model.onnx", "lean.onnx")
    )
    names = [output.name for output in lean.get_outputs()]
    assert names == ["probabilities", "unfamiliarity"]
    for n in (1, 200):
        images = {"images": mnist.test_images[:n].numpy()}
        for found, expected in zip(lean.run(names, images), whole.run(names, images), strict=True):
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 7])
def test_the_onnx_file_takes_any_number_of_images(artifact: Path, n: int) -> None:
    """uint8 in; seven outputs in the stated order, all float32, for every batch size."""
    session = onnxruntime.InferenceSession(artifact / "model.onnx", providers=["CPUExecutionProvider"])
    (entry,) = session.get_inputs()
    assert (entry.name, entry.type, entry.shape) == ("images", "tensor(uint8)", ["n", 28, 28])
    assert [output.name for output in session.get_outputs()] == list(SHAPES)
    outputs = session.run(None, {"images": np.zeros((n, 28, 28), np.uint8)})
    for output, shape in zip(outputs, SHAPES.values(), strict=True):
        assert (output.dtype, output.shape) == (np.float32, (n, *shape))


def test_torchscript_loads_without_this_project(artifact: Path, mnist: Mnist, tmp_path: Path) -> None:
    """In a process that can't import `training`, the same probabilities come out, by name."""
    np.save(tmp_path / "images.npy", mnist.test_images[:9].numpy())
    code = """
import sys, numpy, torch
sys.modules["training"] = None  # importing it fails from now on, also where the project is installed
model = torch.jit.load(sys.argv[1])
answer = model(torch.from_numpy(numpy.load("images.npy")))
assert answer._fields == ("probabilities", "logits", "unfamiliarity", "conv1", "pool1", "conv2", "pool2", "conv3")
numpy.save("probabilities.npy", answer.probabilities.detach().numpy())
"""
    subprocess.run([sys.executable, "-W", "ignore", "-I", "-c", code, artifact / "model.pt"], cwd=tmp_path, check=True)
    session = onnxruntime.InferenceSession(artifact / "model.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(["probabilities"], {"images": mnist.test_images[:9].numpy()})
    np.testing.assert_allclose(np.load(tmp_path / "probabilities.npy"), expected, atol=1e-5)


def test_kernels_are_the_weights_of_the_run(artifact: Path, place: Path) -> None:
    """All ten arrays, float32, without pickle."""
    network, _ = runs.load(place / "runs" / "latest")
    with np.load(artifact / "kernels.npz", allow_pickle=False) as kernels:
        assert set(kernels) == set(network.state_dict())
        for name, weights in network.state_dict().items():
            assert kernels[name].dtype == np.float32
            assert np.array_equal(kernels[name], weights.numpy())


def perturbed(served: ServedLeNet5, layer: str) -> ServedLeNet5:
    """Returns the network with one bias of a layer a little off."""
    other = deepcopy(served)
    with torch.no_grad():
        other.get_parameter(f"{layer}.bias")[0] += 0.01
    return other


@pytest.mark.parametrize(
    ("file", "layer"),
    [
        ("model.onnx", "fc2"),
        ("model.onnx", "conv2"),
        ("lean.onnx", "conv1"),
        ("lean.onnx", "conv3"),
        ("model.pt", "conv3"),
        ("kernels.npz", "fc1"),
    ],
)
def test_a_file_that_disagrees_is_refused(
    artifact: Path, place: Path, mnist: Mnist, tmp_path: Path, file: str, layer: str
) -> None:
    """One weight off by 0.01 in any one of the forms is found, and the file is named."""
    for name in formats.WRITERS:
        (tmp_path / name).write_bytes((artifact / name).read_bytes())
    network, metrics = runs.load(place / "runs" / "latest")
    served = ServedLeNet5(network, familiarity_of(network, mnist, metrics["recipe"]["validation_images"]))
    served.eval().requires_grad_(False)
    check_parity(served, tmp_path, mnist.test_images)
    formats.WRITERS[file](perturbed(served, layer), tmp_path / file)
    with pytest.raises(ExportError, match=rf"^{file} disagrees with PyTorch: .* nothing was exported$"):
        check_parity(served, tmp_path, mnist.test_images)


def test_a_network_of_nans_is_refused_and_leaves_nothing(place: Path, mnist: Mnist, tmp_path: Path) -> None:
    """Whatever fails after the first file was written, no version appears and no rubbish stays."""
    network, metrics = runs.load(place / "runs" / "latest")
    with torch.no_grad():
        network.fc2.bias.fill_(float("nan"))
    with pytest.raises(ExportError, match="disagrees with PyTorch"):
        write_artifact(network, metrics, mnist, tmp_path)
    assert list((tmp_path / "lenet5").iterdir()) == []


def test_versions_count_up_from_the_highest(tmp_path: Path) -> None:
    """As numbers, not as texts; what isn't a version doesn't count."""
    assert next_version(tmp_path) == 1
    for name in ("1", "9", "10", "11-draft", ".export-99"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == 11


def test_a_second_export_is_the_next_version(place: Path, artifact: Path) -> None:
    """The one before stays as it is."""
    before = (artifact / "card.json").read_bytes()
    finished = export(place)
    assert finished.returncode == 0
    assert json.loads((artifact.parent / "2" / "card.json").read_text())["version"] == 2
    assert (artifact / "card.json").read_bytes() == before


def test_a_run_on_other_data_is_not_evaluated(place: Path, mnist: Mnist, tmp_path: Path) -> None:
    """Its training images could be among the test images."""
    write_mnist(tmp_path / "other", part_of(mnist, 100, 100))
    finished = export(place, "--data-dir", str(tmp_path / "other"), "--models-dir", str(tmp_path / "models"))
    assert finished.returncode == 1
    assert finished.stderr.startswith("lenet-export: the run was trained on other data")
    assert len(finished.stderr.splitlines()) == 1
    assert not (tmp_path / "models").exists()


def test_without_a_run_there_is_an_error_in_one_line(tmp_path: Path, place: Path) -> None:
    """It names the command that comes first."""
    finished = export(place, "--run-dir", str(tmp_path / "none"))
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"lenet-export: {tmp_path}/none: no finished training run")
    assert len(finished.stderr.splitlines()) == 1


def test_a_folder_that_cannot_be_written_is_an_error_in_one_line(tmp_path: Path, place: Path) -> None:
    """It names the folder and the flag."""
    (tmp_path / "file").touch()
    finished = export(place, "--models-dir", str(tmp_path / "file"))
    assert finished.returncode == 1
    assert finished.stderr.startswith(f"lenet-export: {tmp_path}/file/lenet5: no artifact can be written")


@pytest.mark.parametrize(
    ("pooling", "activation", "parameters"), [("avg", "tanh", 61_706), ("strided", "relu", 61_706 + 150 + 1_040)]
)
def test_other_forms_of_the_network_are_exported_and_described(
    mnist: Mnist, tmp_path: Path, pooling: Pooling, activation: Activation, parameters: int
) -> None:
    """Average or strided pooling and tanh pass the same proof; the card says what they are, and the server opens it."""
    recipe = Recipe(epochs=1, batch=32, pooling=pooling, activation=activation)
    network, metrics = learn(mnist, recipe, Console(quiet=True))
    artifact, card = write_artifact(network, metrics, mnist, tmp_path)
    assert card["architecture"]["pooling"] == f"{pooling}, before the activation"
    assert card["architecture"]["activation"] == activation
    assert card["architecture"]["parameters"] == parameters
    assert [layer["shape"] for layer in card["layers"]][:4] == [(6, 28, 28), (6, 14, 14), (16, 10, 10), (16, 5, 5)]
    described = describe(open_artifact(artifact), Limits(), provider="", fast_lane=True).layers[1]
    assert described.kind == LAYER_KIND_POOLING
    assert list(described.kernel.shape) == ([6, 6, 2, 2] if pooling == "strided" else [])
    assert described.has_feature_map


def test_the_outputs_are_named_in_one_order() -> None:
    """The named tuple that is traced and the contract's table are the same list."""
    assert ServedOutputs._fields == tuple(SHAPES)


def test_the_released_model_is_what_its_card_says() -> None:
    """The version in the repository: trained on all of MNIST, at least 99.3 %, files intact."""
    released = ROOT / "models" / "lenet5" / "1"
    card = json.loads((released / "card.json").read_text())
    assert card["evaluation"]["test_set"] == "the MNIST test set"
    assert card["evaluation"]["accuracy"] >= 0.993
    for name, listed in card["files"].items():
        assert hashlib.sha256((released / name).read_bytes()).hexdigest() == listed["sha256"]
