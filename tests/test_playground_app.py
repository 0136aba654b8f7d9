"""The app between page and server, without a browser: what it answers, what it refuses, and that it stops in order."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

import numpy as np
import pytest
from browser import decode_frame, running_playground
from conftest import ROOT, ServerProcess

from clients import Client
from clients.handwriting import Hand, png

STATIC = ROOT / "clients/playground/static"


def ask(url: str, body: bytes | None = None, **headers: str) -> tuple[int, Message, bytes]:
    """The status, headers and body of a reply."""
    request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310
            return reply.status, reply.headers, reply.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


def test_an_answer_is_the_servers_own_floats(playground: str, server: ServerProcess) -> None:
    """For several images, with maps, and for a picture, with the pixels that were found in it."""
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), np.uint8)
    _, _, content = ask(f"{playground}/classify?maps=conv2", images.tobytes(), content_type="application/octet-stream")
    got = decode_frame(content).arrays
    with Client(server.target) as client:
        expected = client.classify(images, feature_maps=["conv2"])
        picture = client.classify(png(6, Hand()))
    assert np.array_equal(got["probabilities"], expected.probabilities)
    assert np.array_equal(got["unfamiliarity"], expected.unfamiliarity)
    assert np.array_equal(got["conv2"], expected.feature_maps["conv2"])
    _, _, content = ask(f"{playground}/classify", png(6, Hand()), content_type="image/png")
    assert picture.pixels is not None
    assert np.array_equal(decode_frame(content).arrays["pixels"], picture.pixels)


def test_the_description_holds_every_kernel(playground: str, server: ServerProcess) -> None:
    model = decode_frame(ask(f"{playground}/model")[2])
    with Client(server.target) as client:
        layers = client.describe().layers
    assert [each["name"] for each in model.header["layers"]] == [layer.name for layer in layers]
    for layer in layers:
        if layer.kernel is not None:
            assert np.array_equal(model.arrays[f"{layer.name}.kernel"], layer.kernel)


@pytest.mark.parametrize(
    ("kind", "size", "status"),
    [
        ("application/octet-stream", 783, 415),
        ("application/octet-stream", 0, 415),
        ("text/plain", 784, 415),
        ("application/octet-stream", 784 * 1025, 422),
        ("image/png", 50, 422),
    ],
)
def test_bad_input_is_refused_in_words(playground: str, kind: str, size: int, status: int) -> None:
    """And nothing of the machine is in them."""
    got, _, content = ask(f"{playground}/classify", bytes(size), content_type=kind)
    assert got == status
    assert b"Traceback" not in content
    assert b"127.0.0.1" not in content


def test_a_body_that_is_too_large_is_refused_before_it_is_read(playground: str) -> None:
    """By the length that its header promises."""
    connection = http.client.HTTPConnection(playground.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/classify")
    connection.putheader("content-type", "image/png")
    connection.putheader("content-length", str(4 * 2**20 + 1))
    connection.endheaders()
    with connection.getresponse() as reply:
        assert reply.status == 413
    connection.close()


def test_an_unknown_map_is_refused(playground: str) -> None:
    status, _, content = ask(f"{playground}/classify?maps=fc9", bytes(784), content_type="application/octet-stream")
    assert (status, b"fc9" in content) == (422, True)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("192.168.1.7:80", 200),
        ("evil.example", 421),
        ("[::1]evil.example", 421),
    ],
)
def test_a_name_that_could_be_pointed_here_is_not_answered(playground: str, host: str, status: int) -> None:
    """DNS rebinding takes a name."""
    assert ask(f"{playground}/status", Host=host)[0] == status


def test_every_reply_forbids_the_page_to_reach_elsewhere(playground: str) -> None:
    """Pages, modules, errors."""
    for path in ("/", "/main.js", "/nowhere", "/status"):
        policy = ask(playground + path)[1]["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy


def test_the_static_files_name_no_other_machine() -> None:
    """No fonts, no scripts, no images from elsewhere; the name of SVG is no address."""
    for file in STATIC.iterdir():
        assert "://" not in file.read_text().replace("http://www.w3.org/2000/svg", ""), file.name


def test_a_server_that_is_away_is_an_answer() -> None:
    """The status is told at once, and a drawing is refused in words that hold no address."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with running_playground(f"127.0.0.1:{taken.getsockname()[1]}") as url:
            assert ask(f"{url}/status")[2] == b'{"serving":false}'
            status, _, content = ask(f"{url}/classify", bytes(784), content_type="application/octet-stream")
    assert status == 503
    assert b"127.0.0.1" not in content


def test_a_taken_port_is_an_error_in_one_line(playground: str) -> None:
    command = [sys.executable, "-m", "clients.cli", "playground", "--port", playground.rpartition(":")[2]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr.startswith("lenet: cannot listen on 127.0.0.1:")
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_package_is_an_error_in_one_line() -> None:
    """Whoever installed the client alone hears what to install."""
    code = "import sys; sys.modules['uvicorn'] = None; from clients import cli; sys.exit(cli.main(['playground']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "lenet: import of uvicorn halted; None in sys.modules; install lenet-lens[cli,playground]\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_the_very_start_is_heeded(server: ServerProcess, number: signal.Signals) -> None:
    """As soon as the ready line is there, when the web server itself is not quite."""
    command = [sys.executable, "-m", "clients.cli", "playground", "--port", "0", "--server", server.target]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        process.send_signal(number)
        try:
            assert process.wait(20) == 0
        finally:
            process.kill()


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("everyone", [True, False], ids=["ctrl-c", "sigterm"])
def test_one_signal_stops_server_and_playground(released_model: Path, everyone: bool) -> None:
    """Ctrl-C reaches all processes of the terminal, SIGTERM only the first; the status is the server's."""
    ports = {"LENET_PORT": str(free_port()), "LENET_PLAYGROUND_PORT": str(free_port())}
    env = {**os.environ, **ports, "LENET_MODEL_DIR": str(released_model)}
    command = [str(ROOT / "deploy/serve.sh"), str(Path(sys.executable).parent)]
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, process_group=0)
    try:
        assert process.stdout
        ready = ""
        while not ("lenet playground: ready" in ready and "lenet-serve: ready" in ready):
            line = process.stdout.readline()
            assert line, ready
            ready += line
        assert ask(f"http://127.0.0.1:{ports['LENET_PLAYGROUND_PORT']}/status")[2] == b'{"serving":true}'
        if everyone:
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.terminate()
        assert process.wait(30) == 0
        assert process.stdout.read().strip() == ""  # it ends only when both have closed it
    finally:
        process.stdout and process.stdout.close()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
