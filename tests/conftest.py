"""Real servers on free ports: one process for the whole session, or one of its own for a test that ends it."""

import gzip
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

if TYPE_CHECKING:
    from browser import Opener
    from playwright.sync_api import Browser

ROOT = Path(__file__).parent.parent
READY_S = 20
WAYS_IN = ("lane", "ordinary")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_configure() -> None:
    """Undoes what a shell does to its background jobs: they, and the processes of these tests, would ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what needs a browser if there is none."""
    if not BROWSER:
        left_out = [item for item in items if "browser" in getattr(item, "fixturenames", ())]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """And says so, in one line."""
    if not BROWSER:
        terminalreporter.write_line("no browser: the tests of the pages are left out; install chromium")


@dataclass
class ServerProcess:
    """A running `lenet-serve`."""

    process: subprocess.Popen[str]
    target: str
    log: list[str]

    def stop(self, timeout_s: float = 20) -> int:
        """Sends SIGTERM and returns the exit status."""
        self.process.terminate()
        return self.process.wait(timeout_s)


@contextmanager
def running_server(*flags: str, port: str = "0") -> Iterator[ServerProcess]:
    """Starts `lenet-serve`, on a free port by default, and waits for its ready line."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serving.command", "--port", port, *flags],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("LENET_")}
        | {"LENET_DRAIN_DELAY_S": "0.1"},
    )
    assert process.stdout
    assert process.stderr
    log: list[str] = []
    reader = threading.Thread(target=log.extend, args=(process.stderr,))
    reader.start()
    killer = threading.Timer(READY_S, process.kill)
    killer.start()
    ready = re.search(r"ready on (\S+)", process.stdout.readline())
    killer.cancel()
    try:
        assert ready, f"no ready line; the log: {''.join(log)}"
        yield ServerProcess(process, ready[1], log)
    finally:
        process.kill()
        process.wait()
        reader.join()
        process.stdout.close()
        process.stderr.close()


@pytest.fixture(scope="session")
def released_model() -> Path:
    """The model directory that the repository carries."""
    return ROOT / "models/lenet5/1"


@pytest.fixture(scope="session")
def server(released_model: Path) -> Iterator[ServerProcess]:
    """A server with the released model and default settings, shared by all tests that leave it running."""
    with running_server("--model-dir", str(released_model)) as started:
        yield started


@pytest.fixture(scope="session")
def ordinary_server(released_model: Path) -> Iterator[ServerProcess]:
    """The same without the fast lane."""
    with running_server("--model-dir", str(released_model), "--no-lane") as started:
        yield started


@pytest.fixture(params=WAYS_IN)
def target(request: pytest.FixtureRequest) -> str:
    """The address of a server, once for each way in."""
    name = "server" if request.param == "lane" else "ordinary_server"
    started: ServerProcess = request.getfixturevalue(name)
    return started.target


@pytest.fixture(scope="session")
def mnist_test_set() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The 10,000 test images [10000, 28, 28] and their labels [10000], from the directory MNIST_DIR."""
    directory = os.environ.get("MNIST_DIR")
    if not directory:
        pytest.skip("MNIST_DIR is not set: this needs the directory of the MNIST files")
    return read_idx(Path(directory), "t10k-images-idx3-ubyte"), read_idx(Path(directory), "t10k-labels-idx1-ubyte")


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `mnist`, 2,500 real images, and `runs/latest`, trained on them. To be copied and not changed."""
    from mnist_files import train_small_run  # torch, which many tests do without

    return train_small_run(tmp_path_factory.mktemp("small_run"))


def read_idx(directory: Path, name: str) -> NDArray[np.uint8]:
    """Reads an IDX file of bytes, gzipped or not, independently of the product's own reader."""
    path = directory / name
    content = path.read_bytes() if path.exists() else gzip.decompress((directory / f"{name}.gz").read_bytes())
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


@pytest.fixture(scope="session")
def playground(server: ServerProcess) -> Iterator[str]:
    """The address of a playground in front of the shared server."""
    from browser import running_playground  # playwright is for these tests only

    with running_playground(server.target) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    """A browser for one module: while Playwright runs, no other test could run an event loop."""
    from browser import running_browser

    with running_browser() as started:
        yield started


@pytest.fixture
def visit(browser: "Browser", playground: str) -> "Iterator[Opener]":
    """Opens pages; see browser.visits."""
    from browser import visits

    with visits(browser, playground) as open_page:
        yield open_page
