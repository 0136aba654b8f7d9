"""Writes one network in the forms that an artifact holds, none of which needs this code to be read.

TorchScript is deprecated: torch recommends `torch.export`, whose files are tied to a version of torch. `model.pt` is
TorchScript because that is what loads from Python and from C++ alone; its writer still works, and its deprecation
warning is silenced here, since a user can do nothing about it. Loaded, it returns a named tuple.

Both exporters note the paths of the source files that they saw; these are stripped.
"""

import io
import logging
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from training.lean import LeanLeNet5, LeanOutputs
from training.model import IMAGE_SIDE, LeNet5Layers, ServedLeNet5, ServedOutputs

ONNX = "model.onnx"
LEAN = "lean.onnx"
TORCHSCRIPT = "model.pt"
KERNELS = "kernels.npz"
OPSET = 20
"""Of ONNX; what torch's exporter writes without a conversion, read by ONNX Runtime since 1.17."""


def write_onnx(network: ServedLeNet5, path: Path) -> None:
    """Writes one ONNX file, weights inside: `images` [n, 28, 28] to the fields of ServedOutputs, for any n."""
    _write_onnx(network, ServedOutputs._fields, path)


def write_lean(network: ServedLeNet5, path: Path) -> None:
    """Writes the lean form of the network in the same way: to the fields of LeanOutputs."""
    _write_onnx(LeanLeNet5(network).eval().requires_grad_(False), LeanOutputs._fields, path)


def _write_onnx(network: nn.Module, outputs: Sequence[str], path: Path) -> None:
    example = torch.zeros(2, IMAGE_SIDE, IMAGE_SIDE, dtype=torch.uint8)  # 2, because 1 would be taken as fixed
    with silent_exporters():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
            input_names=["images"],
            output_names=list(outputs),
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    for noted in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, model.graph):
        noted.ClearField("metadata_props")
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString(deterministic=True))


def write_torchscript(network: ServedLeNet5, path: Path) -> None:
    """Writes TorchScript of the same network; `torch.jit.load` needs nothing else."""
    written = io.BytesIO()
    with silent_exporters():
        torch.jit.save(torch.jit.script(network), written)
    with zipfile.ZipFile(written) as whole, zipfile.ZipFile(path, "w") as stripped:
        for member in whole.infolist():
            if not member.filename.endswith(".debug_pkl"):
                stripped.writestr(member, whole.read(member))


def write_kernels(network: LeNet5Layers, path: Path) -> None:
    """Writes all weights as float32 arrays, `conv1.weight` to `fc2.bias`, for `numpy.load` without pickle."""
    arrays: dict[str, Any] = {name: weights.detach().numpy() for name, weights in network.named_parameters()}
    np.savez(path, **arrays)


WRITERS: dict[str, Callable[[ServedLeNet5, Path], None]] = {
    ONNX: write_onnx,
    LEAN: write_lean,
    TORCHSCRIPT: write_torchscript,
    KERNELS: write_kernels,
}
"""By file name."""


@contextmanager
def silent_exporters() -> Iterator[None]:
    """Keeps torch's notes about deprecation and its exporter's log from the user, for a while."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
