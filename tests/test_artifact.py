"""A model directory that is missing, empty or altered is not served."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.artifact import ArtifactError, open_artifact
from serving.runtime import Runtime, RuntimeUnusable


@pytest.fixture
def model(released_model: Path, tmp_path: Path) -> Path:
    """A copy of the released model, to damage."""
    return shutil.copytree(released_model, tmp_path / "lenet5" / "1")


def change_card(model: Path, **changes: object) -> None:
    """Overwrites keys of the card; None removes one."""
    card = {**json.loads((model / "card.json").read_text()), **changes}
    (model / "card.json").write_text(json.dumps({key: value for key, value in card.items() if value is not None}))


def test_the_highest_whole_number_is_served(model: Path) -> None:
    """10 comes after 9, and what is no number is no version."""
    for name in ("9", "10", "latest", "11.partial"):
        shutil.copytree(model, model.parent / name)
    assert open_artifact(model.parent).directory.name == "10"
    assert open_artifact(model).directory == model


def test_the_kernels_are_those_of_lenet5(released_model: Path) -> None:
    """As float32 arrays by name, 61,706 numbers in all."""
    kernels = open_artifact(released_model).kernels
    assert kernels["conv1.weight"].shape == (6, 1, 5, 5)
    assert sum(values.size for values in kernels.values()) == 61_706


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_byte_of_any_file_that_the_card_lists_is_refused(released_model: Path, data: st.DataObject) -> None:
    """The error names the file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(released_model, Path(folder) / "1")
        victim = copy / data.draw(st.sampled_from(["model.onnx", "lean.onnx", "model.pt", "kernels.npz"]))
        content = bytearray(victim.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        victim.write_bytes(content)
        with pytest.raises(ArtifactError, match=f"{victim.name} is not the file that was exported"):
            open_artifact(copy)


@pytest.mark.parametrize("name", ["model.onnx", "lean.onnx", "model.pt", "kernels.npz", "card.json"])
def test_a_missing_file_is_named(model: Path, name: str) -> None:
    """Whichever it is."""
    (model / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        open_artifact(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": None}, "lacks the key 'layers'"),
        ({"files": {}}, "lists the files none; expected model.onnx, lean.onnx, kernels.npz, and"),
        ({"files": {"../../secret": {"sha256": ""}}}, "lists the files ../../secret"),
        ({"files": ["model.onnx"]}, "not of the expected form"),
        ({"files": {"model.onnx": {}, "lean.onnx": {}, "kernels.npz": {}}}, "lacks the key 'sha256'"),
        ({"layers": [{"name": "conv1"}]}, "lacks the key 'kind'"),
        ({"unfamiliarity": None}, "lacks the key 'unfamiliarity'; export the model again"),
        ({"layers": 5}, "not of the expected form"),
        ({"evaluation": {"test_set": "MNIST", "test_images": float("inf")}}, "not of the expected form"),
        ({"evaluation": {"test_set": "MNIST", "test_images": "all"}}, "not of the expected form"),
    ],
)
def test_a_card_that_is_not_one_of_ours_is_refused(model: Path, changes: dict[str, object], message: str) -> None:
    """The error says what is wrong with it."""
    change_card(model, **changes)
    with pytest.raises(ArtifactError, match=message):
        open_artifact(model)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe"])
def test_a_card_that_is_no_json_object_is_refused(model: Path, content: bytes) -> None:
    """Whatever is in the file."""
    (model / "card.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"card\.json"):
        open_artifact(model)


@pytest.mark.parametrize("graph", ["graph", "lean"])
def test_a_graph_that_is_no_graph_is_refused(released_model: Path, graph: str) -> None:
    """ONNX Runtime's own error is passed on in one kind of exception."""
    broken = replace(open_artifact(released_model), **{graph: b"not a model"})  # type: ignore[arg-type]
    with pytest.raises(RuntimeUnusable, match="cannot load the model"):
        Runtime(broken)


def test_cuda_that_is_not_there_is_refused_and_not_replaced(released_model: Path) -> None:
    """`auto` runs on the CPU and says so; `cuda` says why it cannot."""
    artifact = open_artifact(released_model)
    assert Runtime(artifact, provider="auto").provider == "CPUExecutionProvider"
    with pytest.raises(RuntimeUnusable, match="CUDA was asked for"):
        Runtime(artifact, provider="cuda")


@pytest.mark.parametrize("promised", [{"conv4": (6, 28, 28)}, {"conv1": (6, 1, 1)}])
def test_maps_that_the_graph_does_not_give_as_promised_are_refused(
    released_model: Path, promised: dict[str, tuple[int, ...]]
) -> None:
    """Before the first caller asks for them; the size of replies is reckoned from the promise."""
    with pytest.raises(RuntimeUnusable, match=f"promises {next(iter(promised))} as"):
        Runtime(open_artifact(released_model)).warm_up((1,), promised)


def test_a_large_run_is_its_images_one_by_one(released_model: Path) -> None:
    """In the order in which they came."""
    runtime = Runtime(open_artifact(released_model))
    images = np.random.default_rng(0).integers(0, 256, (67, 28, 28)).astype(np.uint8)
    together = runtime.run(images)
    for n, image in enumerate(images):
        alone = runtime.run(image[None])
        np.testing.assert_allclose(together.probabilities[n], alone.probabilities[0], atol=1e-5)
        np.testing.assert_allclose(together.unfamiliarity[n], alone.unfamiliarity[0], rtol=1e-4)


def test_a_run_gives_what_was_asked_for_and_nothing_else(released_model: Path) -> None:
    """Shapes and types of probabilities and maps."""
    outputs = Runtime(open_artifact(released_model)).run(np.zeros((3, 28, 28), np.uint8), ("pool2",))
    assert outputs.probabilities.shape == (3, 10)
    assert list(outputs.maps) == ["pool2"]
    assert outputs.maps["pool2"].shape == (3, 16, 5, 5)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda model: shutil.rmtree(model.parent), "no model directory"),
        (lambda model: shutil.rmtree(model), "holds no model version"),
        (lambda model: (model / "model.onnx").write_bytes(b"x"), "is not the file that was exported"),
    ],
    ids=["missing", "empty", "altered"],
)
def test_the_server_does_not_start_on_a_bad_model_directory(model: Path, damage: object, message: str) -> None:
    """Exit status 1 and one line that says why."""
    assert callable(damage)
    damage(model)
    command = [sys.executable, "-m", "serving.command", "--port", "0", "--model-dir", str(model.parent)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
