"""A Python environment for each peer, so that no peer's dependencies meet another's, or ours.

Made once under `out/bench`, from exact versions; made again when these change. A peer that cannot be installed is an
answer too: the reason goes into the table.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

FOLDER = Path("out/bench")
PINS = Path(__file__).parent / "peers"
INSTALL_TIMEOUT_S = 600


class Unavailable(Exception):
    """A peer cannot be measured here; the text says why."""


def python_of(environment: str | None) -> str:
    """Gives the interpreter of a peer's environment, which it makes if need be; None is our own.

    Raises Unavailable.
    """
    if environment is None:
        return sys.executable
    folder, pins = FOLDER / environment, PINS / f"{environment}.txt"
    python = folder / "bin/python"
    done = folder / f"installed-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    if not done.exists():
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(pins)])
        done.touch()
    # Not resolved: the link is what makes it the environment's own.
    return str(python.absolute())


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        errors = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        raise Unavailable(f"cannot be installed: {(errors or ['pip failed'])[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"cannot be installed within {INSTALL_TIMEOUT_S} s") from error
