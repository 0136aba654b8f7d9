"""A training run on disk: `weights.pt` and `metrics.json`.

Each file appears by rename, the metrics last, and they hold the weights' digest: whoever reads a run gets the weights
that these metrics are about, or an error.
"""

import hashlib
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import torch

from training.data import Mnist, load_mnist
from training.errors import RunError
from training.model import LeNet5

LATEST = Path("runs/latest")
WEIGHTS = "weights.pt"
METRICS = "metrics.json"
FORMAT = 2


def prepare(run_dir: Path) -> None:
    """Makes sure, before minutes of training, that the result can be written; raises RunError."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=run_dir).close()
    except OSError as error:
        raise RunError(f"{run_dir}: can't write there ({error.strerror}); name another with --run-dir") from error


def save(run_dir: Path, network: LeNet5, metrics: dict[str, Any]) -> None:
    """Writes the run in place of the one before; raises RunError."""
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    weights = buffer.getvalue()
    text = json.dumps({**metrics, "weights_sha256": hashlib.sha256(weights).hexdigest()}, indent=2) + "\n"
    try:
        _write(run_dir / WEIGHTS, weights)
        _write(run_dir / METRICS, text.encode())
    except OSError as error:
        raise RunError(f"{run_dir}: the run can't be written ({error.strerror}); name another --run-dir") from error


def load(run_dir: Path) -> tuple[LeNet5, dict[str, Any]]:
    """Reads a run; raises RunError where there is none or its files don't belong together."""
    try:
        metrics = json.loads((run_dir / METRICS).read_bytes())
        weights = (run_dir / WEIGHTS).read_bytes()
    except (OSError, ValueError) as error:
        raise RunError(f"{run_dir}: no finished training run ({error}); run lenet-train first") from error
    if hashlib.sha256(weights).hexdigest() != metrics.get("weights_sha256"):
        raise RunError(f"{run_dir}: {WEIGHTS} isn't the file that {METRICS} is about; run lenet-train again")
    if metrics.get("format") != FORMAT:
        raise RunError(f"{run_dir}: a run of another version of this program; run lenet-train again")
    network = LeNet5(metrics["recipe"]["pooling"], metrics["recipe"]["activation"])
    network.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True))
    return network.eval(), metrics


def data_of(metrics: dict[str, Any], data_dir: Path | None) -> Mnist:
    """Loads the data that a run was trained on; raises RunError if what is here is other data."""
    mnist = load_mnist(data_dir)
    if mnist.sha256 != metrics["data"]["sha256"]:
        trained_on = metrics["data"]["source"]
        raise RunError(
            f"the run was trained on other data ({trained_on}) than is here ({mnist.source}), which may hold its"
            " training images as test images; name its data with --data-dir or run lenet-train again"
        )
    return mnist


def _write(path: Path, content: bytes) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
