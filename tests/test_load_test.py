"""The load test as its users run it: Locust as a process of its own, against real servers, good and bad ones."""

import csv
import json
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import grpc
import numpy as np
import pytest
from conftest import ROOT, ServerProcess, running_server

from clients.messages import Classification
from clients.questions import Digit, Question, mnist_digits, questions
from lenet.v1 import digits_pb2 as pb
from lenet.v1 import digits_pb2_grpc as pb_grpc

LOCUST = [sys.executable, "-m", "locust", "--locustfile", str(ROOT / "clients/locustfile.py")]
NO_SERVER = "127.0.0.1:1"
PATIENCE_S = 30


@dataclass(frozen=True)
class Report:
    """What a run left behind.

    Attributes:
        status: of its exit.
        log: all that it printed.
        calls: per name, how many were made.
        failures: per name and failure, how many there were.
    """

    status: int
    log: str
    calls: dict[str, int]
    failures: dict[tuple[str, str], int]


def load(folder: Path, *flags: str, users: int = 8, run_time_s: int = 1) -> Report:
    """Runs a load test without the web page."""
    command = [*LOCUST, "--headless", "--only-summary", "--users", str(users), "--spawn-rate", str(users)]
    command += ["--run-time", f"{run_time_s}s", "--csv", str(folder / "run"), *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    return report(folder, done.returncode, done.stdout + done.stderr)


def report(folder: Path, status: int, log: str) -> Report:
    """Reads Locust's statistics; empty ones if it did not begin."""
    calls = {row["Name"]: int(row["Request Count"]) for row in rows(folder / "run_stats.csv")}
    calls.pop("Aggregated", None)
    failures = {(row["Name"], row["Error"]): int(row["Occurrences"]) for row in rows(folder / "run_failures.csv")}
    return Report(status, log, calls, failures)


def rows(file: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(file.read_text().splitlines())) if file.exists() else []


class MixUp(pb_grpc.DigitClassifierServicer):
    """Answers as if to another caller, but not if asked for the maps of a picture, as before a load test."""

    def __init__(self, target: str) -> None:
        self.loaded = 0
        self._counting = threading.Lock()
        self._earlier: dict[tuple[int, int, int], pb.ClassifyResponse] = {}
        self._honest = pb_grpc.DigitClassifierStub(grpc.insecure_channel(target))

    def DescribeModel(self, request: pb.DescribeModelRequest, context: object) -> pb.DescribeModelResponse:  # noqa: D102, N802
        return self._honest.DescribeModel(request)

    def Classify(self, request: pb.ClassifyRequest, context: grpc.ServicerContext) -> pb.ClassifyResponse:  # noqa: D102, N802
        reply = self._honest.Classify(request)
        if request.encoded_image and request.feature_maps:
            return reply
        with self._counting:
            self.loaded += 1
            number = self.loaded
        return self._spoilt(number, reply, context)

    def ClassifyStream(self, request_iterator: object, context: object) -> NoReturn:  # noqa: D102, N802
        raise NotImplementedError("the load test asks for no streams")

    def _spoilt(self, _: int, reply: pb.ClassifyResponse, context: grpc.ServicerContext) -> pb.ClassifyResponse:
        kind = (len(reply.digits), len(reply.feature_maps), len(reply.pixels))
        earlier = self._earlier.get(kind, reply)
        self._earlier[kind] = reply
        return earlier


class Refuser(MixUp):
    """Refuses calls; the first ten, which is how many threads gevent has by default, only after the thirtieth."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.thirtieth = threading.Event()

    def _spoilt(self, number: int, reply: pb.ClassifyResponse, context: grpc.ServicerContext) -> NoReturn:
        if number <= 10:
            self.thirtieth.wait(PATIENCE_S)
        elif number == 30:
            self.thirtieth.set()
        context.abort(grpc.StatusCode.UNAVAILABLE, "no more")
        raise AssertionError("abort raises")


@contextmanager
def in_front_of(target: str, kind: type[MixUp]) -> Iterator[tuple[str, MixUp, grpc.Server]]:
    """Runs a MixUp or a Refuser in front of a server."""
    servicer = kind(target)
    server = grpc.server(ThreadPoolExecutor(16))
    pb_grpc.add_DigitClassifierServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", servicer, server
    server.stop(0).wait()


def test_every_kind_of_call_is_made_and_answered(server: ServerProcess, tmp_path: Path) -> None:
    """Nothing fails, and the report is a page that names the calls."""
    page = tmp_path / "out/report.html"
    done = load(tmp_path, "--host", server.target, "--html", str(page), "--images-per-call", "17", run_time_s=2)
    assert (done.status, done.failures) == (0, {}), done.log
    assert set(done.calls) == {"one image", "17 images", "feature maps", "PNG"}
    assert min(done.calls.values()) > 0
    assert done.calls["one image"] > 2 * max(done.calls[name] for name in ("17 images", "feature maps", "PNG"))
    assert "17 images" in page.read_text()


def test_it_starts_a_server_of_its_own_and_stops_it(tmp_path: Path) -> None:
    """As `make load-test` does, here with a URL for a host, which is ignored."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    done = load(
        tmp_path, "--own-server", "--host", f"http://{NO_SERVER}", "--weight-png", "0", "--weight-one-image", "1"
    )
    assert (done.status, done.failures) == (0, {}), done.log
    assert set(done.calls) == {"one image", "32 images", "feature maps"}
    log = (tmp_path / "out/load-test-server.log").read_text()
    assert log.rstrip().endswith("stopped")


def test_wrong_answers_are_counted_as_such(server: ServerProcess, tmp_path: Path) -> None:
    """From a server that gives callers the answers of others, once there are others."""
    with in_front_of(server.target, MixUp) as (target, _, _):
        done = load(tmp_path, "--host", target, "--weight-one-image", "1", run_time_s=2)
    assert done.status == 1
    assert {failure for _, failure in done.failures} == {"WRONG ANSWER"}
    assert {name for name, _ in done.failures} == set(done.calls) == {"one image", "32 images", "feature maps", "PNG"}
    assert "first WRONG ANSWER of one image: probabilities are off by up to" in done.log


def test_refused_input_is_counted_by_its_status(server: ServerProcess, tmp_path: Path) -> None:
    """And only with the calls that deserve it; the server's own words say what is wrong."""
    done = load(tmp_path, "--host", f"http://{server.target}/", "--images-per-call", "1025")
    assert done.status == 1
    assert done.failures == {("1025 images", "INVALID_ARGUMENT"): done.calls["1025 images"]}
    assert "pixels holds 1025 images; expected at most 1024" in done.log


def test_a_server_that_refuses_too_much_load_passes(released_model: Path, tmp_path: Path) -> None:
    """UNAVAILABLE is counted, without the retries that would hide it, and is no fault."""
    with running_server("--model-dir", str(released_model), "--max-waiting", "1") as small:
        done = load(tmp_path, "--host", small.target)
    assert {failure for _, failure in done.failures} == {"UNAVAILABLE"}, done.log
    assert sum(done.failures.values()) > 10
    assert sum(done.calls.values()) > sum(done.failures.values())
    assert done.status == 0


def test_users_do_not_wait_for_each_other_and_each_call_goes_out_once(server: ServerProcess, tmp_path: Path) -> None:
    """Two of them go on while ten wait; and a retry would reach the server as one more call."""
    users = 12
    with in_front_of(server.target, Refuser) as (target, servicer, _):
        done = load(tmp_path, "--host", target, "--wait-s", "0.02", users=users)
        assert isinstance(servicer, Refuser)
        went_on = servicer.thirtieth.is_set()
        servicer.thirtieth.set()
    assert went_on
    assert {failure for _, failure in done.failures} == {"UNAVAILABLE"}, done.log
    assert servicer.loaded - users <= sum(done.failures.values()) <= servicer.loaded
    assert done.status == 1
    assert "no call was answered" in done.log


def test_a_server_that_goes_away_does_not(server: ServerProcess, tmp_path: Path) -> None:
    """Though all that its callers hear is UNAVAILABLE, too."""
    command = [*LOCUST, "--headless", "--only-summary", "--users", "4", "--spawn-rate", "4", "--run-time", "3s"]
    with in_front_of(server.target, MixUp) as (target, servicer, proxy):
        flags = ["--host", target, "--wait-s", "0.05", "--csv", str(tmp_path / "run")]
        with subprocess.Popen([*command, *flags], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
            give_up = time.monotonic() + PATIENCE_S
            while servicer.loaded < 10 and time.monotonic() < give_up:
                time.sleep(0.05)
            proxy.stop(0).wait()
            _, log = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(r"ERROR/lenet: no server answers at", log), log


def test_without_a_server_there_is_one_clear_line(tmp_path: Path) -> None:
    """Apart from the one with which Locust starts."""
    done = load(tmp_path, "--host", NO_SERVER)
    assert done.status == 1
    (line,) = (line for line in done.log.splitlines() if "Starting Locust" not in line)
    assert re.match(f"load test: no server answers at {NO_SERVER}; start it with `make serve`", line)


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ([f"--weight-{kind}=0" for kind in ("one-image", "many-images", "feature-maps", "png")], "not all 0"),
        (["--mnist-dir", "nowhere"], "nowhere/t10k-images-idx3-ubyte"),
    ],
)
def test_wrong_options_are_refused_in_one_line(tmp_path: Path, flags: list[str], complaint: str) -> None:
    """Before anything is asked of a server."""
    done = load(tmp_path, *flags)
    assert done.status == 1
    (line,) = (line for line in done.log.splitlines() if "Starting Locust" not in line)
    assert complaint in line


def test_the_web_page_shows_the_options_and_why_a_test_does_not_start(tmp_path: Path) -> None:
    """It listens on loopback only, with the options as they were given."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*LOCUST, "--web-port", str(port), "--weight-png", "5"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as process:
        try:
            page = fetched(f"http://127.0.0.1:{port}/")
            assert '"weight_png": {"choices": null, "default_value": 5' in page
            assert "Share of calls with one PNG file" in page
            assert "127.0.0.1:50051" in page
            assert "own_server" not in page
            fetched(f"http://127.0.0.1:{port}/swarm", user_count="1", spawn_rate="1", host=NO_SERVER)
            assert f"no server answers at {NO_SERVER}" in told(f"http://127.0.0.1:{port}/exceptions")
        finally:
            process.terminate()
        _, log = process.communicate(timeout=PATIENCE_S)
    assert f"web interface at http://127.0.0.1:{port}" in log
    assert "Traceback" not in log


def fetched(url: str, **form: str) -> str:
    """Gets a page, or sends a form, as soon as there is a server."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            data = urllib.parse.urlencode(form).encode() if form else None
            with urllib.request.urlopen(url, data) as page:  # noqa: S310 - http, to ourselves
                return str(page.read().decode())
        except urllib.error.URLError:
            assert time.monotonic() < give_up
            time.sleep(0.1)


def told(url: str) -> str:
    """Waits until there is an exception, and gives its text."""
    give_up = time.monotonic() + PATIENCE_S
    while not (exceptions := json.loads(fetched(url))["exceptions"]):
        assert time.monotonic() < give_up
        time.sleep(0.1)
    return str(exceptions[0]["msg"])


def test_the_options_can_be_read() -> None:
    """`locust --help` cannot show them, since it does not load the file."""
    command = [sys.executable, "-m", "clients.locustfile"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    text = " ".join(done.stdout.split())
    assert (
        "--images-per-call <int> Images in a call with many images [env var: LOCUST_IMAGES_PER_CALL] (default: 32)"
        in text
    )


def question(kind: str) -> Question:
    """One about random pixels, whose expected answer is as random."""
    chance = np.random.default_rng(1)
    digits = []
    for _ in range(3):
        probabilities = chance.dirichlet(np.ones(10), 1).astype(np.float32)
        maps = {layer: chance.normal(size=(1, 2, 3, 3)).astype(np.float32) for layer in ("conv1", "pool1")}
        answer = Classification(probabilities.argmax(1), probabilities, np.zeros(1, np.float32), maps, "1", None)
        digits.append(Digit(b"a picture", chance.integers(0, 256, (28, 28), np.uint8), answer))
    return questions(digits, images_per_call=2)[kind][0]


def answer(asked: Question) -> pb.ClassifyResponse:
    """The right one."""
    reply = pb.ClassifyResponse(digits=asked.probabilities.argmax(1), probabilities=asked.probabilities.ravel())
    for layer, values in asked.feature_maps.items():
        reply.feature_maps.add(layer=layer, shape=values.shape, values=values.tobytes())
    if asked.pixels is not None:
        reply.pixels = asked.pixels.tobytes()
    return reply


@pytest.mark.parametrize("kind", ["one_image", "many_images", "feature_maps", "png"])
def test_the_right_answer_passes_and_a_slightly_other_one_does_not(kind: str) -> None:
    """What float32 sums may differ by is no mistake."""
    asked = question(kind)
    reply = answer(asked)
    assert asked.mistake(reply) is None
    reply.probabilities[3] += 5e-5
    assert asked.mistake(reply) is None
    reply.probabilities[3] += 1e-4
    assert "off by up to 0.00015" in str(asked.mistake(reply))
    reply.probabilities[3] = np.nan
    assert "off by up to inf" in str(asked.mistake(reply))


def test_each_part_of_an_answer_is_checked() -> None:
    """Rows, digits, maps, and the picture in MNIST form."""
    asked = question("many_images")
    short = pb.ClassifyResponse(digits=[1], probabilities=asked.probabilities[0])
    assert asked.mistake(short) == "probabilities are [1, 10]; expected [2, 10]"
    assert "makes no sense" in str(asked.mistake(pb.ClassifyResponse()))
    other = answer(asked)
    other.digits[1] = (other.digits[1] + 1) % 10
    assert asked.mistake(other) == "digits are not the most probable classes"

    asked = question("feature_maps")
    bare, bent, blank = answer(asked), answer(asked), answer(asked)
    del bare.feature_maps[1]
    assert "feature maps are of ['conv1']; expected ['conv1', 'pool1']" in str(asked.mistake(bare))
    bent.feature_maps[1].shape[:] = [1, 2, 9, 1]
    assert "the map of pool1 is [1, 2, 9, 1]; expected [1, 2, 3, 3]" in str(asked.mistake(bent))
    blank.feature_maps[1].values = bytes(len(blank.feature_maps[1].values))
    assert "the map of pool1 is off" in str(asked.mistake(blank))

    asked = question("png")
    assert asked.pixels is not None
    other = answer(asked)
    other.pixels = asked.pixels[::-1].tobytes()
    assert "another MNIST form" in str(asked.mistake(other))


def test_digits_come_from_mnist_too(tmp_path: Path) -> None:
    """Its files may be gzipped or not; one that is too short is refused."""
    images = np.random.default_rng(1).integers(0, 256, (50, 28, 28), np.uint8)
    file = tmp_path / "t10k-images-idx3-ubyte"
    file.write_bytes(b"\0\0\x08\x03" + np.array(images.shape, ">u4").tobytes() + images.tobytes())
    assert len(mnist_digits(tmp_path, 50)) == 50
    with pytest.raises(ValueError, match="holds no 51 images"):
        mnist_digits(tmp_path, 51)
    subprocess.run(["gzip", str(file)], check=True)
    assert len(mnist_digits(tmp_path, 50)) == 50
