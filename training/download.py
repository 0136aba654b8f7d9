"""Downloads MNIST by torchvision, quietly, and gives up within seconds where there is no network.

torchvision writes its files in place, so an interrupted download would look like a damaged copy the next time; here
it works in a folder beside the target, which is renamed when it is complete.
"""

import contextlib
import io
import socket
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

from torchvision.datasets import MNIST

PATIENCE_S = 5.0


def download(target: Path, patience_s: float = PATIENCE_S) -> str:
    """Downloads MNIST's files to `target/MNIST/raw`; returns "" or, in one line, why there is no download."""
    if not any(_answers(mirror, patience_s) for mirror in MNIST.mirrors):
        return f"none of torchvision's {len(MNIST.mirrors)} mirrors answers"
    try:
        (target / "MNIST").mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target, prefix=".download-") as workplace:
            with _quiet(), _socket_timeout(patience_s):
                MNIST(workplace, download=True)
            (Path(workplace) / "MNIST/raw").rename(target / "MNIST/raw")
    except (OSError, RuntimeError) as error:
        return " ".join(str(error).split())
    return ""


def _answers(url: str, patience_s: float) -> bool:
    """Asks in a thread, because no timeout covers the look-up of a name."""
    answered = threading.Event()

    def ask() -> None:
        with contextlib.suppress(OSError):
            try:
                urllib.request.urlopen(url, timeout=patience_s).close()  # noqa: S310  # torchvision's own mirrors
            except HTTPError as refusal:  # a mirror shows its files and may well not show its folder
                refusal.close()
            answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience_s)
    return answered.is_set()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
