"""The whole chain as a user runs it: train, export, serve, ask; each a command of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from conftest import running_server
from mnist_files import part_of, write_mnist

from clients.handwriting import Hand, png
from training.data import offline_sample


def run(folder: Path, *command: str) -> str:
    """Runs an installed command in a folder and returns what it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "MNIST_DIR"}
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run([program, *command[1:]], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_new_version_is_trained_exported_served_and_asked(released_model: Path, tmp_path: Path) -> None:
    """The server takes the version after the released one, and says so with every answer."""
    write_mnist(tmp_path / "mnist", part_of(offline_sample(), train=3000, test=500))
    shutil.copytree(released_model, tmp_path / "models/lenet5/1")
    (tmp_path / "drawn.png").write_bytes(png(0, Hand.of(seed=0)))

    run(tmp_path, "lenet-train", "--data-dir", "mnist", "--epochs", "12", "--batch", "64")
    assert "lenet5 version 2" in run(tmp_path, "lenet-export", "--data-dir", "mnist")
    with running_server("--model-dir", str(tmp_path / "models/lenet5")) as server:
        model = json.loads(run(tmp_path, "lenet", "describe", "--json", "--server", server.target))
        answer = json.loads(run(tmp_path, "lenet", "classify", "drawn.png", "--json", "--server", server.target))

    card = json.loads((tmp_path / "models/lenet5/2/card.json").read_text())
    assert model["version"] == "2"
    assert model["evaluation"]["accuracy"] == card["evaluation"]["accuracy"] > 0.9
    (classified,) = answer["results"]
    assert (classified["digit"], classified["model_version"]) == (0, "2")
