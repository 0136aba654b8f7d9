"""The server as a process: it starts, answers, is told to stop with calls in flight, answers them, and exits 0."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from conftest import ROOT, WAYS_IN, ServerProcess, running_server
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from PIL import Image

from clients import Client, Unavailable
from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest

SERVICE = "lenet.v1.DigitClassifier"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
ONE_IMAGE = ClassifyRequest(pixels=bytes(784))


@pytest.fixture(params=WAYS_IN)
def own_server(request: pytest.FixtureRequest, released_model: Path) -> Iterator[ServerProcess]:
    """A server that the test may stop."""
    flags = ["--no-lane"] if request.param == "ordinary" else []
    with running_server("--model-dir", str(released_model), *flags) as started:
        yield started


def slow_picture() -> bytes:
    """A plain 1 on 16 million pixels, which takes the server a third of a second to decode."""
    image = Image.new("RGB", (4000, 4000), "white")
    image.paste("black", (1900, 1000, 2100, 3000))
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def test_sigterm_answers_what_is_in_flight_and_exits_0(own_server: ServerProcess) -> None:
    """Also with an open Watch, which hears of it, and an open stream that is idle."""
    with grpc.insecure_channel(own_server.target) as channel:
        stub, health = digits_pb2_grpc.DigitClassifierStub(channel), health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert next(watch).status == SERVING
        stream_may_go_on = threading.Event()

        def one_request_in_a_while() -> Iterator[ClassifyRequest]:
            yield ONE_IMAGE
            stream_may_go_on.wait(60)

        stream = stub.ClassifyStream(one_request_in_a_while(), timeout=60)
        assert len(next(stream).digits) == 1
        slow = ClassifyRequest(encoded_image=slow_picture())
        calls = [stub.Classify.future(slow, timeout=60) for _ in range(6)]
        health.Check(health_pb2.HealthCheckRequest())  # on the same connection: the calls have been sent before it

        own_server.process.terminate()
        assert next(watch).status == NOT_SERVING
        assert [list(call.result().digits) for call in calls] == [[1]] * 6
        assert own_server.process.wait(20) == 0
        for idle in (watch, stream):
            with pytest.raises(grpc.RpcError) as caught:
                next(idle)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        stream_may_go_on.set()
    assert "cut off" not in "".join(own_server.log)


def test_no_call_is_lost_by_a_stop_under_load(own_server: ServerProcess) -> None:
    """Callers in a loop are answered until the server takes no more calls, then hear Unavailable and nothing else."""
    answered: list[int] = []
    ends: list[Exception] = []

    def ask_until_refused() -> None:
        with Client(own_server.target) as client:
            try:
                while True:
                    answered.append(len(client.classify(np.zeros((1, 28, 28), np.uint8)).digits))
            except Exception as error:
                ends.append(error)

    callers = [threading.Thread(target=ask_until_refused) for _ in range(4)]
    for caller in callers:
        caller.start()
    while len(answered) < 200:
        assert own_server.process.poll() is None
    assert own_server.stop() == 0
    for caller in callers:
        caller.join(20)
    assert set(answered) == {1}
    assert [type(error) for error in ends] == [Unavailable] * 4


def test_health_and_reflection_are_served(server: ServerProcess) -> None:
    """For the server as a whole, for the service, and NOT_FOUND for another; tools find the contract."""
    with grpc.insecure_channel(server.target) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="other"))
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        found = set(ProtoReflectionDescriptorDatabase(channel).get_services())
        assert found == {SERVICE, "grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection"}


def test_it_listens_on_ipv6_by_its_plain_address(released_model: Path) -> None:
    """The brackets that a colon needs are the server's business; the ready line has them."""
    with (
        running_server("--model-dir", str(released_model), "--host", "::1") as started,
        Client(started.target) as client,
    ):
        assert started.target.startswith("[::1]:")
        assert client.describe().name == "lenet5"


def test_reflection_can_be_switched_off(released_model: Path) -> None:
    """The setting that says so does so."""
    with (
        running_server("--model-dir", str(released_model), "--no-reflection") as started,
        grpc.insecure_channel(started.target) as channel,
        pytest.raises(grpc.RpcError, match="UNIMPLEMENTED"),
    ):
        ProtoReflectionDescriptorDatabase(channel).get_services()


def test_it_listens_on_loopback_only_unless_told_otherwise(server: ServerProcess) -> None:
    """No other machine reaches a server that was started without thought."""
    listening = [c for c in psutil.Process(server.process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert {connection.laddr.ip.removeprefix("::ffff:") for connection in listening} == {"127.0.0.1"}


def run_server(*flags: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a server that is expected to refuse its settings."""
    command = [sys.executable, "-m", "serving.command", *flags]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=30, env={**os.environ, **environment}
    )


def test_a_taken_port_is_an_error_and_not_shared(server: ServerProcess, released_model: Path) -> None:
    """Two servers on one port would each get some of the calls."""
    done = run_server("--port", server.target.rpartition(":")[2], "--model-dir", str(released_model))
    assert done.returncode == 1
    assert server.target in done.stderr
    assert "Traceback" not in done.stderr


def test_cuda_that_cannot_be_used_is_an_error_and_not_a_fallback(released_model: Path) -> None:
    """`--provider cuda` on a machine without CUDA exits."""
    done = run_server("--port", "0", "--provider", "cuda", "--model-dir", str(released_model))
    assert done.returncode == 1
    assert "CUDA was asked for" in done.stderr


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        (["--port", "70000"], {}, "--port"),
        ([], {"LENET_PORT": "many"}, "LENET_PORT"),
        (["--max-batch-images", "0"], {}, "--max-batch-images"),
        (["--provider", "tpu"], {}, "--provider"),
        (["--colour", "blue"], {}, "--colour"),
    ],
)
def test_wrong_settings_exit_with_2_and_name_the_setting(
    flags: list[str], environment: dict[str, str], message: str
) -> None:
    """From the command line and from the environment."""
    done = run_server(*flags, **environment)
    assert done.returncode == 2
    assert message in done.stderr


def test_settings_come_from_the_environment_and_flags_win(released_model: Path) -> None:
    """LENET_PORT is used where there is no --port, LENET_MODEL_DIR is not where there is a --model-dir."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = run_server("--model-dir", str(released_model), LENET_PORT=port)
        assert refused.returncode == 1
        assert f"127.0.0.1:{port}" in refused.stderr
        done = run_server("--model-dir", "/nowhere/at/all", LENET_PORT=port, LENET_MODEL_DIR=str(released_model))
        assert "/nowhere/at/all" in done.stderr


def test_a_second_signal_ends_a_drain(released_model: Path) -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    with running_server("--model-dir", str(released_model), "--drain-delay-s", "60") as started:
        started.process.send_signal(signal.SIGINT)
        while "stopping" not in "".join(started.log):
            assert started.process.poll() is None
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(10) == -signal.SIGINT
