"""The README is true: its commands run, its links lead somewhere, and no setting or target is missing."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from conftest import ROOT, ServerProcess

from clients.handwriting import Hand, png
from serving.settings import Settings

README = (ROOT / "README.md").read_text()
DEFAULT_TARGET = "127.0.0.1:50051"


def blocks(language: str) -> list[str]:
    """The code blocks of a language in the README."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture
def demo_folder(tmp_path: Path) -> Path:
    """A working directory with the drawings that the README names."""
    for name in set(re.findall(r"out/demo/(\d\d-drawn-\d)\.png", README)):
        file = tmp_path / "out/demo" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png(int(name[-1]), Hand.of(seed=1)))
    return tmp_path


def test_the_commands_of_the_readme_run(server: ServerProcess, demo_folder: Path) -> None:
    """Each `lenet` line, as it stands there."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("lenet ")]
    assert len(lines) >= 3
    for line in lines:
        environment = {**os.environ, "PATH": path, "LENET_SERVER": server.target}
        done = subprocess.run(line.split(), cwd=demo_folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout
    assert (demo_folder / "maps.png").exists()


def test_the_python_of_the_readme_runs(
    server: ServerProcess, demo_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands there, but for the port."""
    (example,) = blocks("python")
    assert DEFAULT_TARGET in example
    monkeypatch.chdir(demo_folder)
    exec(example.replace(DEFAULT_TARGET, server.target), {})  # noqa: S102 - the example is ours
    assert capsys.readouterr().out.startswith("[2] ")


def test_every_make_target_is_in_the_readme_and_every_target_there_exists() -> None:
    """A target is a line of the Makefile with an explanation."""
    explained = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = re.findall(r"^make ([a-z-]+)|`make ([a-z -]+)`", README, re.MULTILINE)
    named = {word for command in commands for word in " ".join(command).split()}
    assert len(explained) > 10
    assert explained - named == set()
    assert set(re.findall(r"`make ([a-z-]+)`", README)) - explained == set()


def test_every_setting_is_in_the_readme() -> None:
    """By its flag."""
    flags = {f"--{field.name.replace('_', '-')}" for field in fields(Settings)}
    assert flags - set(re.findall(r"`(--[a-z-]+)`", README)) == set()


def test_every_link_of_the_readme_leads_to_a_file() -> None:
    """Links to other sites are not checked."""
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert len(links) > 5
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_is_short() -> None:
    """Under 120 lines."""
    assert len(README.splitlines()) < 120
