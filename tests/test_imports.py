"""The walls of the house: imports point one way, and serving needs neither torch nor onnx."""

import subprocess
import sys

import pytest
from conftest import ROOT

IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, {package!r} + "."):
    importlib.import_module(module.name)
print(*sorted({{name.partition(".")[0] for name in sys.modules}}))
"""


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("serving", {"torch", "torchvision", "onnx", "onnxscript", "clients", "training"}),
        ("clients", {"torch", "torchvision", "onnx", "onnxruntime", "serving", "training"}),
        ("training", {"serving", "clients"}),
    ],
)
def test_a_package_imports_only_what_it_may(package: str, forbidden: set[str]) -> None:
    """Every module of it is imported in a fresh process, whose modules are then looked at."""
    command = [sys.executable, "-c", IMPORT_ALL.format(package=package)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert package in loaded
    assert loaded & forbidden == set()


def test_the_thin_client_needs_only_grpc_the_contract_and_numpy() -> None:
    """`import clients` brings nothing of the command line."""
    code = "import sys, clients; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {"cyclopts", "rich", "matplotlib", "PIL"} & set(done.stdout.split()) == set()
