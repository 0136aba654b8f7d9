"""The demo as a newcomer runs it: a process of its own, which starts and ends a real server."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image

from clients import demo, handwriting


def run_demo(*flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "clients.demo", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_demo_shows_every_digit_and_cleans_up(released_model: Path, tmp_path: Path) -> None:
    """It ends by itself with 0, has named its pictures, and its server is gone."""
    done = run_demo("--model-dir", str(released_model), "--output", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")

    rows = re.findall(r"^(\S+\.png)  drawn (\d)  read (\d)  .*%  (right|WRONG)$", done.stdout, re.MULTILINE)
    assert len(rows) >= 12
    assert {drawn for _, drawn, _, _ in rows} == set("0123456789")
    assert all((drawn == read) == (verdict == "right") for _, drawn, read, verdict in rows)
    right = sum(verdict == "right" for *_, verdict in rows)
    assert f"{right} of {len(rows)} right" in done.stdout
    papers = set()
    for file, *_ in rows:
        with Image.open(file) as drawing:
            papers.add(drawing.getpixel((0, 0)))
    assert len(papers) >= 3

    maps = re.search(r"^feature maps of \S+: (\S+)$", done.stdout, re.MULTILINE)
    assert maps
    with Image.open(maps[1]) as picture:
        assert picture.width >= 1000

    target = re.search(r"server ready at (\S+)", done.stdout)
    assert target
    health = [sys.executable, "-m", "clients.cli", "health", "--server", target[1]]
    assert subprocess.run(health, cwd=ROOT, capture_output=True).returncode == 3


def test_a_server_that_cannot_start_fails_the_demo_with_its_log(tmp_path: Path) -> None:
    """The log is what helps, so it is shown then, and only then."""
    done = run_demo("--model-dir", str(tmp_path / "none"), "--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "the server ended with status 1 instead of serving" in done.stderr
    assert "no model directory" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_answers_fail_the_demo(
    released_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A demo that draws a 3 and calls it a 2 must not pass."""
    monkeypatch.chdir(ROOT)
    honest = handwriting.png
    monkeypatch.setattr(handwriting, "png", lambda digit, hand: honest((digit + 1) % 10, hand))
    assert demo.demo(model_dir=released_model, output=tmp_path) == 1
    assert "WRONG" in capsys.readouterr().out
