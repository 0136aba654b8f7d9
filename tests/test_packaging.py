"""What each extra of the package installs, and that the pinned versions are within its ranges."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from conftest import ROOT
from packaging.requirements import Requirement

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
HEAVY = {"torch", "torchvision", "onnx", "onnxscript", "mlxtend"}


def requirements(extra: str) -> list[Requirement]:
    """Everything that an extra asks for by name, with the project's own extras followed."""
    found = []
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == PROJECT["name"]:
            found += [inner for name in requirement.extras for inner in requirements(name)]
        else:
            found.append(requirement)
    return found + [Requirement(line) for line in PROJECT["dependencies"]]


def names(extra: str) -> set[str]:
    """The names of those packages."""
    return {requirement.name for requirement in requirements(extra)}


@pytest.mark.parametrize("extra", ["cli", "serving", "gpu", "playground"])
def test_serving_and_asking_need_no_training_packages(extra: str) -> None:
    """They install in seconds."""
    assert names(extra) & HEAVY == set()


def test_onnx_runtime_comes_once() -> None:
    """The packages for CPU and GPU overwrite each other's files, so no extra may bring both."""
    assert names("serving") - names("gpu") == {"onnxruntime"}
    assert names("gpu") - names("serving") == {"onnxruntime-gpu"}
    (gpu,) = (requirement for requirement in requirements("gpu") if requirement.name == "onnxruntime-gpu")
    assert gpu.extras == {"cuda", "cudnn"}


def test_the_pinned_versions_are_within_the_ranges() -> None:
    """And everything that the tests need is pinned."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pins = {re.sub("[_.]", "-", name).lower(): version for name, _, version in (line.partition("==") for line in lines)}
    for requirement in requirements("dev") + requirements("gpu"):
        assert requirement.specifier.contains(pins[requirement.name]), requirement


def test_no_file_of_the_packaging_names_an_index() -> None:
    """Where packages come from is the user's choice."""
    for name in ("constraints.txt", "pyproject.toml", "Makefile", "Dockerfile", "docker-compose.yml"):
        assert "://" not in (ROOT / name).read_text(), name


def test_the_wheel_holds_the_page(tmp_path: Path) -> None:
    """Every file of it: an installed package serves the same page as the repository."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    page = {f"clients/playground/static/{file.name}" for file in (ROOT / "clients/playground/static").iterdir()}
    assert len(page) > 20
    assert page <= set(zipfile.ZipFile(wheel).namelist())
