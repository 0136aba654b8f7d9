"""Both clients against a real server, and against small ones that misbehave in ways that a real one does not on demand.

Each test runs twice: `ask` is a call through `Client`, then one through `AsyncClient`.
"""

import asyncio
import math
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import grpc
import numpy as np
import pytest
from conftest import ServerProcess
from numpy.typing import NDArray

import clients
from clients import (
    AsyncClient,
    Classification,
    Client,
    DeadlineExceeded,
    InvalidInput,
    LenetError,
    ServerError,
    Unavailable,
)
from clients.handwriting import Hand, png
from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse

BLANK = np.zeros((28, 28), np.uint8)
Heard: TypeAlias = list[Classification] | None
MAPS = ("conv1", "pool1", "conv2", "pool2", "conv3")


class Ask(Protocol):
    """Makes one call with a client of its own: target, method, the method's arguments.

    The results of a stream come as a list: `heard`, which a test may give to see what came before a failure.
    """

    def __call__(self, target: str, method: str, *arguments: Any, heard: Heard = None, **options: Any) -> Any:
        """Makes the call."""


def ask_and_block(target: str, method: str, *arguments: Any, heard: Heard = None, **options: Any) -> Any:
    heard = [] if heard is None else heard
    with Client(target) as client:
        answer = getattr(client, method)(*arguments, **options)
        if method != "classify_stream":
            return answer
        for each in answer:
            heard.append(each)
    return heard


def ask_and_await(target: str, method: str, *arguments: Any, heard: Heard = None, **options: Any) -> Any:
    async def ask(heard: list[Classification]) -> Any:
        async with AsyncClient(target) as client:
            answer = getattr(client, method)(*arguments, **options)
            if method != "classify_stream":
                return await answer
            async for each in answer:
                heard.append(each)  # noqa: PERF401 - the next one may raise
        return heard

    return asyncio.run(ask([] if heard is None else heard))


@pytest.fixture(params=[ask_and_block, ask_and_await], ids=["Client", "AsyncClient"])
def ask(request: pytest.FixtureRequest) -> Ask:
    chosen: Ask = request.param
    return chosen


@pytest.fixture(scope="session")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("drawn") / "seven.png"
    file.write_bytes(png(7, Hand()))
    return file


@pytest.fixture(scope="session")
def images(server: ServerProcess) -> NDArray[np.uint8]:
    """The digits 0 to 9 as [10, 28, 28], in the form that the server gave to drawings of them."""
    with Client(server.target) as client:
        seen = [client.classify(png(digit, Hand())).pixels for digit in range(10)]
    return np.stack([each for each in seen if each is not None])


@contextmanager
def black_hole() -> Iterator[tuple[str, socket.socket]]:
    """Gives the address of a socket that takes connections and never says a word, and the socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}", listener


@pytest.fixture
def nobody() -> str:
    """An address where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


class Scripted(digits_pb2_grpc.DigitClassifierServicer):
    """Answers each call with the next status of a script, and with a 5 when the script is at its end."""

    def __init__(self, *script: grpc.StatusCode) -> None:
        self._script = list(script)
        self.calls = 0
        self.stream_ended = threading.Event()

    def Classify(self, request: ClassifyRequest, context: Any) -> ClassifyResponse:  # noqa: N802 - the contract's name
        """Plays the next line of the script."""
        self.calls += 1
        if self._script:
            context.abort(self._script.pop(0), "as the script says")
        return ClassifyResponse(digits=[5], probabilities=[0.1] * 10, model_version="1")

    def ClassifyStream(self, requests: Iterator[ClassifyRequest], context: Any) -> Iterator[ClassifyResponse]:  # noqa: N802
        """Plays a line for each request, and notes when the stream has ended, however it did."""
        context.add_callback(self.stream_ended.set)
        for request in requests:
            yield self.Classify(request, context)

    def DescribeModel(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Is not in any script."""
        raise NotImplementedError


@contextmanager
def serving(servicer: Scripted) -> Iterator[str]:
    """Serves a script on a free port, and gives its address."""
    with ThreadPoolExecutor(4) as threads:
        server = grpc.server(threads)
        digits_pb2_grpc.add_DigitClassifierServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield f"127.0.0.1:{port}"
        server.stop(0).wait()


def test_the_public_names_are_those_of_the_package() -> None:
    """Every public name can be imported from `clients`, and is listed once."""
    assert len(set(clients.__all__)) == len(clients.__all__)
    assert all(hasattr(clients, name) for name in clients.__all__)


def test_one_image_and_many_give_one_answer_each(ask: Ask, server: ServerProcess, images: NDArray[np.uint8]) -> None:
    """The answers come in the order of the images, as arrays; a single image is a batch of one."""
    many = ask(server.target, "classify", images)
    assert many.digits.tolist() == list(range(10))
    assert many.probabilities.shape == (10, 10)
    assert many.probabilities.dtype == np.float32
    np.testing.assert_allclose(many.probabilities.sum(axis=1), 1, atol=1e-5)
    assert many.unfamiliarity.shape == (10,)
    assert many.unfamiliarity.dtype == np.float32
    assert many.pixels is None
    assert many.feature_maps == {}

    one = ask(server.target, "classify", images[3])
    assert one.digits.tolist() == [3]
    np.testing.assert_allclose(one.probabilities, many.probabilities[3:4], atol=1e-5)


def test_noise_is_doubted_and_digits_are_not(ask: Ask, server: ServerProcess, images: NDArray[np.uint8]) -> None:
    """The threshold comes from the server; one that knows none, or sends no unfamiliarity, doubts nothing."""
    model = ask(server.target, "describe")
    assert model.unfamiliarity_threshold > 0
    noise = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    answer = ask(server.target, "classify", np.concatenate([images, noise]))
    assert model.doubts(answer).tolist() == 10 * [False] + 5 * [True]
    assert not replace(model, unfamiliarity_threshold=0.0).doubts(answer).any()
    assert not model.doubts(replace(answer, unfamiliarity=np.zeros(0, np.float32))).any()


def test_an_image_that_is_no_contiguous_piece_of_memory_arrives_whole(
    ask: Ask, server: ServerProcess, images: NDArray[np.uint8]
) -> None:
    """Any view of an array will do: here every second image, backwards."""
    assert ask(server.target, "classify", images[::-2]).digits.tolist() == [9, 7, 5, 3, 1]


def test_a_picture_may_be_a_path_or_bytes(ask: Ask, server: ServerProcess, seven: Path) -> None:
    """A path as text, a path object and the file's bytes are the same to the client, which also gets what was seen."""
    answers = [ask(server.target, "classify", form) for form in (str(seven), seven, seven.read_bytes())]
    for answer in answers:
        assert answer.digits.tolist() == [7]
        assert answer.pixels.shape == (28, 28)
        assert answer.pixels.dtype == np.uint8
        np.testing.assert_array_equal(answer.pixels, answers[0].pixels)


def test_feature_maps_come_by_name_in_their_shapes(ask: Ask, server: ServerProcess, images: NDArray[np.uint8]) -> None:
    """Maps come for the layers that were asked for, and only these, with the number of images in front."""
    maps = ask(server.target, "classify", images[:2], feature_maps=MAPS).feature_maps
    shapes = {name: each.shape for name, each in maps.items()}
    assert shapes == {
        "conv1": (2, 6, 28, 28),
        "pool1": (2, 6, 14, 14),
        "conv2": (2, 16, 10, 10),
        "pool2": (2, 16, 5, 5),
        "conv3": (2, 120, 1, 1),
    }
    # Pooling takes the largest of each 2 x 2 block and cuts off what is negative: so the values are in their places.
    blocks = maps["conv1"].reshape(2, 6, 14, 2, 14, 2).max(axis=(3, 5))
    np.testing.assert_allclose(maps["pool1"], np.maximum(blocks, 0), atol=1e-6)


def test_both_clients_give_the_same_answers(server: ServerProcess, seven: Path) -> None:
    """What a program gets does not depend on which client it chose."""
    one, other = (call(server.target, "classify", seven, feature_maps=MAPS) for call in (ask_and_block, ask_and_await))
    np.testing.assert_array_equal(one.digits, other.digits)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    for name in MAPS:
        np.testing.assert_array_equal(one.feature_maps[name], other.feature_maps[name])
    assert one.model_version == other.model_version


def test_a_description_holds_the_layers_with_their_weights(
    ask: Ask, server: ServerProcess, images: NDArray[np.uint8]
) -> None:
    """The kernels and biases that `describe` gives are those that made the maps: a convolution by hand agrees."""
    model = ask(server.target, "describe")
    assert (model.name, model.input_shape, len(model.classes)) == ("lenet5", (-1, 28, 28), 10)
    assert sum(layer.parameters for layer in model.layers) == 61_706
    assert model.evaluation.accuracy > 0.95
    assert model.limits.max_images == 1024
    conv1 = model.layers[0]
    assert (conv1.name, conv1.kind, conv1.output_shape, conv1.stride) == ("conv1", "convolution", (6, 28, 28), 1)
    assert {layer.kind for layer in model.layers} == {"convolution", "pooling", "linear"}
    assert [layer.name for layer in model.layers if layer.has_feature_map] == list(MAPS)
    assert all((layer.kernel is None) == (layer.kind == "pooling") == (layer.bias is None) for layer in model.layers)

    padded = np.pad(images[8] / 255, conv1.padding)
    patch = padded[10:15, 12:17]
    by_hand = (conv1.kernel[:, 0] * patch).sum(axis=(1, 2)) + conv1.bias
    served = ask(server.target, "classify", images[8], feature_maps=["conv1"]).feature_maps["conv1"][0, :, 10, 12]
    np.testing.assert_allclose(served, by_hand, atol=1e-5)


def test_a_stream_gives_one_result_per_input_in_order(
    ask: Ask, server: ServerProcess, images: NDArray[np.uint8], seven: Path
) -> None:
    """A flow may mix batches, single images, paths and bytes; the n-th result is for the n-th input."""
    flow = [images[:3], images[9], seven, seven.read_bytes(), images[4:6]]
    results = ask(server.target, "classify_stream", flow, feature_maps=["conv3"])
    assert [result.digits.tolist() for result in results] == [[0, 1, 2], [9], [7], [7], [4, 5]]
    assert [len(result.feature_maps["conv3"]) for result in results] == [3, 1, 1, 1, 2]


def test_an_async_iterable_can_be_streamed(server: ServerProcess, images: NDArray[np.uint8]) -> None:
    """The next input may depend on the last result: results come while the flow goes on."""

    async def converse() -> list[int]:
        answered: asyncio.Queue[int] = asyncio.Queue()
        heard: list[int] = []

        async def inputs() -> AsyncIterator[NDArray[np.uint8]]:
            yield images[2]
            for _ in range(3):
                yield images[await answered.get() + 1]

        async with AsyncClient(server.target) as client:
            async for result in client.classify_stream(inputs()):
                heard.append(int(result.digits[0]))
                answered.put_nowait(heard[-1])
        return heard

    assert asyncio.run(converse()) == [2, 3, 4, 5]


def test_what_the_callers_iterable_raises_reaches_the_caller(
    ask: Ask, server: ServerProcess, images: NDArray[np.uint8]
) -> None:
    """The caller gets its own exception, not one of gRPC's, after the results of what it had sent."""

    def flow() -> Iterator[NDArray[np.uint8]]:
        yield images[4]
        raise KeyError("the caller's own")

    heard: list[Classification] = []
    with pytest.raises(KeyError, match="the caller's own"):
        ask(server.target, "classify_stream", flow(), heard=heard)
    assert [result.digits.tolist() for result in heard] == [[4]]


def test_a_wrong_array_in_a_stream_is_refused_after_the_results_before_it(
    ask: Ask, server: ServerProcess, images: NDArray[np.uint8]
) -> None:
    """An input that cannot be sent raises what `classify` raises for it."""
    heard: list[Classification] = []
    with pytest.raises(ValueError, match="dtype float64"):
        ask(server.target, "classify_stream", [images[4], images[5].astype(float), images[6]], heard=heard)
    assert [result.digits.tolist() for result in heard] == [[4]]


def test_a_refused_input_ends_a_stream_after_the_results_before_it(
    ask: Ask, server: ServerProcess, images: NDArray[np.uint8]
) -> None:
    """The server's refusal names the input by its number."""
    heard: list[Classification] = []
    with pytest.raises(InvalidInput, match="2"):
        ask(server.target, "classify_stream", [images[4], b"not a picture", images[6]], heard=heard)
    assert [result.digits.tolist() for result in heard] == [[4]]


def test_a_stream_that_is_left_half_way_ends_on_the_server_too() -> None:
    """Closing the results frees the server, though the flow of inputs would go on for ever."""

    def endless() -> Iterator[NDArray[np.uint8]]:
        while True:
            yield BLANK

    async def leave(target: str) -> None:
        async with AsyncClient(target) as client:
            results = client.classify_stream(endless())
            await anext(results)
            await results.aclose()
            assert await asyncio.to_thread(script.stream_ended.wait, 10)

    with serving(script := Scripted()) as target:
        asyncio.run(leave(target))
    with serving(script := Scripted()) as target, Client(target) as client:
        results = client.classify_stream(endless())
        next(results)
        results.close()
        assert script.stream_ended.wait(10)


@pytest.mark.parametrize(
    ("images", "complaint"),
    [
        (np.zeros((28, 28)), r"dtype float64 with values from 0.0 to 0.0; expected a uint8 array"),
        (np.full((2, 28, 28), 300), r"dtype int64 with values from 300 to 300; expected a uint8 array"),
        (np.zeros((28, 28), bool), r"dtype bool"),
        (np.zeros((784,), np.uint8), r"shape \[784\]; expected a uint8 array \[n, 28, 28\] or \[28, 28\]"),
        (np.zeros((1, 1, 28, 28), np.uint8), r"shape \[1, 1, 28, 28\]; expected"),
        (np.zeros((2, 28, 27), np.uint8), r"shape \[2, 28, 27\]; expected"),
        (np.zeros((0, 28, 28), np.uint8), r"shape \[0, 28, 28\]; expected"),
        ([[0] * 28] * 28, r"images is a list; expected a uint8 array"),
        (None, r"images is a NoneType; expected"),
        (b"", r"0 bytes; expected a PNG or JPEG"),
    ],
)
def test_what_is_no_image_is_refused_before_anything_is_sent(
    ask: Ask, nobody: str, images: object, complaint: str
) -> None:
    """The text says what came and what is expected. No server is needed to find out."""
    with pytest.raises(ValueError, match=complaint):
        ask(nobody, "classify", images)


def test_one_name_for_the_names_of_maps_is_refused(ask: Ask, nobody: str) -> None:
    """A text is a sequence of texts in Python: without this, the layers "c", "o", "n", "v", "1" would be asked for."""
    with pytest.raises(ValueError, match=r"expected a sequence of names: \['conv1'\]"):
        ask(nobody, "classify", BLANK, feature_maps="conv1")


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan")])
def test_a_timeout_that_is_none_is_refused(ask: Ask, nobody: str, timeout_s: float) -> None:
    """Zero seconds would always be too short, and there is `math.inf` for no limit."""
    with pytest.raises(ValueError, match="expected seconds above 0"):
        ask(nobody, "classify", BLANK, timeout_s=timeout_s)


def test_no_limit_of_time_can_be_asked_for(ask: Ask, server: ServerProcess) -> None:
    """math.inf is a timeout like any other."""
    assert ask(server.target, "describe", timeout_s=math.inf).name == "lenet5"


def test_a_missing_file_is_an_os_error(ask: Ask, nobody: str, tmp_path: Path) -> None:
    """What Python says of a file is not hidden behind an error of this package."""
    with pytest.raises(FileNotFoundError):
        ask(nobody, "classify", tmp_path / "none.png")


@pytest.mark.timeout(30)
def test_a_slow_file_does_not_stop_the_event_loop(server: ServerProcess, seven: Path, tmp_path: Path) -> None:
    """While one task waits for a file, here a pipe that is not yet written, another gets its answer."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async def both() -> int:
        async with AsyncClient(server.target) as client, asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(client.classify(pipe))
            await asyncio.sleep(0)
            await client.describe()
            assert not waiting.done()
            await asyncio.to_thread(pipe.write_bytes, seven.read_bytes())
            return int((await waiting).digits[0])

    assert asyncio.run(both()) == 7


@pytest.mark.parametrize("timeout_s", [0.3, 1.0])
def test_a_server_that_never_answers_costs_the_timeout(ask: Ask, timeout_s: float) -> None:
    """A connection that is taken and then silent ends with DeadlineExceeded, when the caller's time is up."""
    with black_hole() as (target, _):
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=target) as raised:
            ask(target, "classify", BLANK, timeout_s=timeout_s)
    assert timeout_s * 0.9 < time.monotonic() - start < timeout_s + 2  # the machine may be busy
    assert raised.value.code is grpc.StatusCode.DEADLINE_EXCEEDED


def test_every_method_keeps_to_a_timeout(ask: Ask) -> None:
    """Streams and descriptions too end in time."""
    with black_hole() as (target, _):
        with pytest.raises(DeadlineExceeded):
            ask(target, "describe", timeout_s=0.2)
        with pytest.raises(DeadlineExceeded):
            ask(target, "classify_stream", [BLANK], timeout_s=0.2)


def test_the_timeout_of_the_client_holds_for_its_calls() -> None:
    """A call without a timeout takes the client's; the client itself always has one."""
    with black_hole() as (target, _), Client(target, timeout_s=0.2) as client:
        with pytest.raises(DeadlineExceeded):
            client.classify(BLANK)
        start = time.monotonic()
        with pytest.raises(DeadlineExceeded):
            client.classify(BLANK, timeout_s=0.7)
        assert time.monotonic() - start > 0.6


def test_no_server_is_told_soon_and_with_advice(ask: Ask, nobody: str) -> None:
    """Where nobody listens, the call fails long before its timeout, and the text says what to do."""
    start = time.monotonic()
    with pytest.raises(Unavailable, match=f"no server answers at {nobody}; start it with `make serve`") as raised:
        ask(nobody, "classify", BLANK, timeout_s=30)
    assert time.monotonic() - start < 10
    assert raised.value.code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("n", [1, 1024])
def test_a_refusal_for_now_is_retried(ask: Ask, n: int) -> None:
    """A server that says UNAVAILABLE twice is asked a third time, and the caller sees only the answer.

    1,024 images are more than gRPC holds for a retry by default.
    """
    script = Scripted(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE)
    with serving(script) as target:
        assert ask(target, "classify", np.zeros((n, 28, 28), np.uint8)).digits.tolist() == [5]
    assert script.calls == 3


def test_a_server_that_stays_unavailable_is_asked_four_times(ask: Ask) -> None:
    """Then the caller is told, in the server's own words."""
    script = Scripted(*[grpc.StatusCode.UNAVAILABLE] * 10)
    with serving(script) as target, pytest.raises(Unavailable, match="as the script says"):
        ask(target, "classify", BLANK)
    assert script.calls == 4


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidInput),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, InvalidInput),
        (grpc.StatusCode.INTERNAL, ServerError),
        (grpc.StatusCode.UNAUTHENTICATED, ServerError),
        (grpc.StatusCode.UNIMPLEMENTED, ServerError),
    ],
)
def test_each_status_has_its_error(ask: Ask, status: grpc.StatusCode, error: type[LenetError]) -> None:
    """The status decides the class; the text names the server and keeps its words. None of these is retried."""
    script = Scripted(status, status)
    with serving(script) as target, pytest.raises(LenetError, match="as the script says") as raised:
        ask(target, "classify", BLANK)
    assert type(raised.value) is error
    assert raised.value.code is status
    assert target in str(raised.value)
    assert script.calls == 1


def test_a_message_that_is_too_large_is_invalid_input(ask: Ask, server: ServerProcess) -> None:
    """5.5 MiB of pixels, where the server takes 4."""
    with pytest.raises(InvalidInput) as raised:
        ask(server.target, "classify", np.zeros((7400, 28, 28), np.uint8))
    assert raised.value.code in (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT)


def test_tasks_and_threads_may_share_a_client(server: ServerProcess, images: NDArray[np.uint8]) -> None:
    """Each of many concurrent calls gets its own answer."""
    wanted = [index % 10 for index in range(200)]

    async def gather() -> list[int]:
        async with AsyncClient(server.target, timeout_s=60) as client:
            answers = await asyncio.gather(*(client.classify(images[digit]) for digit in wanted))
        return [int(answer.digits[0]) for answer in answers]

    assert asyncio.run(gather()) == wanted
    with Client(server.target, timeout_s=60) as client, ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda digit: client.classify(images[digit]), wanted))
    assert [int(answer.digits[0]) for answer in answers] == wanted
