"""Calls that wait: batches, order, refusal, cancellation, deadlines and model failures, for both ways in."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeAlias

import grpc
import pytest
from conftest import WAYS_IN
from gated import GatedServer, gated_server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lenet.v1 import digits_pb2_grpc
from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse, DescribeModelRequest
from serving import lane

CODE = grpc.StatusCode
Call: TypeAlias = "grpc.Future[ClassifyResponse]"
SHORT_DEADLINE_S = 0.2


def outcome(call: Call) -> grpc.StatusCode:
    """The status with which a call ended."""
    try:
        call.result(20)
    except grpc.FutureCancelledError:
        return CODE.CANCELLED
    except grpc.RpcError as error:
        code = error.code()
        assert isinstance(code, CODE)
        return code
    return CODE.OK


def nothing_until(event: threading.Event) -> Iterator[bytes]:
    """A request that never comes, until the event."""
    event.wait(60)
    yield from ()


def keys_answered(call: Call) -> list[int]:
    """The images that the answer of a call is about."""
    return [round(value) for value in call.result().probabilities[::10]]


@pytest.fixture
def patient_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the lane read all that has arrived before it runs the model, however slow the machine is.

    It watches whether the caller of every call is still there, and not only in a long queue.
    """
    monkeypatch.setattr(lane, "MAX_DRAIN_S", 10.0)
    monkeypatch.setattr(lane, "UNWATCHED_BATCHES", 0)


@pytest.mark.usefixtures("patient_lane")
def test_calls_that_wait_for_the_model_are_answered_in_one_batch(released_model: Path) -> None:
    """Behind one running call, ten of one image make batches of four, four and two, first in first out."""
    with gated_server(released_model, "lane", max_batch_images=4) as server:
        calls = [server.ask_and_wait_until_running(0)]
        for key in range(1, 11):
            calls.append(server.ask(key))
            server.wait_until_all_has_arrived()  # one after the other, so that their order is known
        server.model.open_gate()
        assert [keys_answered(call) for call in calls] == [[key] for key in range(11)]
        assert server.model.batches == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]


@pytest.mark.usefixtures("patient_lane")
@pytest.mark.parametrize("way_in", WAYS_IN)
def test_calls_beyond_the_limit_are_refused_at_once(released_model: Path, way_in: str) -> None:
    """With room for three, the calls beyond hear UNAVAILABLE while those before them still wait."""
    room = {"max_waiting": 3, "max_batch_images": 1} if way_in == "lane" else {"max_pool_waiting": 2}
    with gated_server(released_model, way_in, **room) as server:
        ended = threading.Semaphore(0)
        calls = [server.ask_and_wait_until_running(0), *(server.ask(key) for key in range(1, 8))]
        for call in calls:
            call.add_done_callback(lambda _: ended.release())
        server.wait_until_all_has_arrived()
        if way_in == "lane":  # its one thread stands in the model, and reads on when this run is over
            server.model.let_one_run()
        assert all(ended.acquire(timeout=20) for _ in range(5))
        assert sum(not call.done() for call in calls) <= 3
        server.model.open_gate()
        outcomes = [outcome(call) for call in calls]
        room_for = 4 if way_in == "lane" else 3  # the run that was let through made a place free
        assert 3 <= outcomes.count(CODE.OK) <= room_for
        assert outcomes.count(CODE.OK) + outcomes.count(CODE.UNAVAILABLE) == 8


@pytest.mark.usefixtures("patient_lane")
@pytest.mark.parametrize("way_in", WAYS_IN)
@pytest.mark.parametrize("leaves", ["cancels", "expires"])
def test_a_caller_that_leaves_while_it_waits_is_dropped_and_nobody_else_notices(
    released_model: Path, way_in: str, leaves: str
) -> None:
    """The call had been read and stood in the queue: the model does not run for it, and its neighbours are answered."""
    with gated_server(released_model, way_in, max_batch_images=1) as server:
        calls = [server.ask_and_wait_until_running(0)]
        timeout_s = 1 if leaves == "expires" else 20
        if way_in == "lane":  # call 1 runs when the lane has read 2 and 3 as well
            for key, patience_s in ((1, 20), (2, timeout_s), (3, 20)):
                calls.append(server.ask(key, timeout_s=patience_s))
                server.wait_until_all_has_arrived()  # one after the other, so that their order is known
            server.model.let_one_run()
            assert server.model.entered.acquire(timeout=20)
        else:  # which of two threads reaches the pool first is open, so 2 and 3 come when 1 runs
            server.model.let_one_run()
            calls += [server.ask_and_wait_until_running(1), server.ask(2, timeout_s=timeout_s), server.ask(3)]
            server.wait_until_all_has_arrived()
        if leaves == "cancels":
            calls[2].cancel()
        left = outcome(calls[2])
        server.wait_until_all_has_arrived()
        server.model.open_gate()
        assert left is (CODE.CANCELLED if leaves == "cancels" else CODE.DEADLINE_EXCEEDED)
        assert [keys_answered(calls[number]) for number in (0, 1, 3)] == [[0], [1], [3]]
        assert server.model.batches == [[0], [1], [3]]


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_health_answers_while_every_place_is_taken(released_model: Path, way_in: str) -> None:
    """Overload of the model is no reason to restart the server."""
    with gated_server(released_model, way_in, max_pool_waiting=2, max_waiting=3) as server:
        calls = [server.ask_and_wait_until_running(0), *(server.ask(key) for key in range(1, 50))]
        server.wait_until_all_has_arrived()
        server.model.open_gate()
        assert {outcome(call) for call in calls} == {CODE.OK, CODE.UNAVAILABLE}


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_model_failure_tells_its_callers_nothing_but_an_incident(released_model: Path, way_in: str) -> None:
    """The reason is in the log; the caller gets INTERNAL and the number to ask for."""
    with gated_server(released_model, way_in) as server:
        server.model.open_gate()
        server.model.failing = {7}
        with pytest.raises(grpc.RpcError) as caught:
            server.ask(7).result()
        assert caught.value.code() is CODE.INTERNAL
        assert "incident" in str(caught.value.details())
        assert "secret" not in str(caught.value.details())
        assert keys_answered(server.ask(8)) == [8]


@pytest.mark.parametrize("way_in", WAYS_IN)
def test_a_stopping_server_answers_what_it_took_and_refuses_the_rest(released_model: Path, way_in: str) -> None:
    """A call that stands before the model when the stop comes is answered; one that comes later hears why not."""
    with gated_server(released_model, way_in) as server:
        taken = server.ask_and_wait_until_running(0)
        with ThreadPoolExecutor(1) as thread:
            stopped = thread.submit(server.server.stop)
            assert server.server.draining.wait(20)
            late = server.ask(1)
            server.wait_until_all_has_arrived()
            server.model.open_gate()
            assert keys_answered(taken) == [0]
            assert outcome(late) is CODE.UNAVAILABLE
            assert "shutting down" in str(late.exception())
            assert stopped.result(20) is True
        assert server.model.batches == [[0]]


def test_large_messages_to_refuse_do_not_keep_others_from_their_answers(released_model: Path) -> None:
    """While three callers send messages that take the lane tens of milliseconds to read, a small call is answered."""
    slow_to_read = ClassifyRequest(pixels=bytes(784), feature_maps=["conv1"] * 500_000)
    over = threading.Event()

    def flood(target: str) -> None:
        with grpc.insecure_channel(target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            stub = digits_pb2_grpc.DigitClassifierStub(channel)
            while not over.is_set():
                assert stub.Classify.future(slow_to_read, timeout=20).code() is CODE.INVALID_ARGUMENT

    with gated_server(released_model, "lane") as server, ThreadPoolExecutor(3) as threads:
        server.model.open_gate()
        floods = [threads.submit(flood, f"127.0.0.1:{server.server.port}") for _ in range(3)]
        try:
            outcomes = [outcome(server.ask(key, timeout_s=5)) for key in range(10)]
        finally:
            over.set()
        assert outcomes == [CODE.OK] * 10
        assert [each.result() for each in floods] == [None] * 3


def test_calls_whose_message_never_comes_take_no_place_from_others(released_model: Path) -> None:
    """Nor do they hold up a stop."""
    with gated_server(released_model, "lane", max_waiting=2, grace_s=60) as server:
        server.model.open_gate()
        never = threading.Event()
        half_open: grpc.StreamUnaryMultiCallable[bytes, bytes] = server.channel.stream_unary(
            "/lenet.v1.DigitClassifier/Classify"
        )
        calls = [half_open.future(nothing_until(never), timeout=30) for _ in range(10)]
        server.wait_until_all_has_arrived()
        assert keys_answered(server.ask(1)) == [1]
        assert server.server.stop()
        assert {call.code() for call in calls} == {CODE.UNAVAILABLE}
        never.set()


def test_a_lane_that_dies_stops_the_server_and_says_so(released_model: Path) -> None:
    """Whoever supervises the process starts it again; a server that hangs would be left as it is."""
    with gated_server(released_model, "lane", grace_s=60) as server:
        server.model.open_gate()
        server.model.fatal = {7}
        call = server.ask(7)
        assert server.stop.wait(20)
        assert server.server.failed
        server.server.stop()
        assert outcome(call) is CODE.UNAVAILABLE


@pytest.mark.parametrize("name", ["ReceiveCloseOnServerOperation", "CompletionQueue", "SendStatusFromServerOperation"])
def test_a_grpcio_without_the_private_names_is_served_by_the_ordinary_handler(
    released_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Slower, and with a word in the log and in DescribeModel."""
    cython: Any = grpc._cython
    rest = {key: value for key, value in vars(cython.cygrpc).items() if key != name}
    monkeypatch.setattr(cython, "cygrpc", SimpleNamespace(**rest))
    with gated_server(released_model, "lane") as server:
        server.model.open_gate()
        assert keys_answered(server.ask(3)) == [3]
        assert not server.stub.DescribeModel(DescribeModelRequest(), timeout=20).fast_lane
    assert "no fast lane" in caplog.text
    assert name in caplog.text


@dataclass(frozen=True)
class Plan:
    """One caller: how many images it sends, and what becomes of it."""

    images: int
    fate: str


plans = st.lists(
    st.builds(Plan, st.integers(1, 5), st.sampled_from(["stays", "stays", "stays", "cancels", "expires", "fails"])),
    max_size=14,
)


@pytest.mark.parametrize("way_in", WAYS_IN)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(callers=plans, max_batch_images=st.integers(1, 8), places=st.integers(1, 16), watched=st.booleans())
def test_every_caller_gets_its_own_answer_or_one_defined_error(
    released_model: Path, way_in: str, callers: list[Plan], max_batch_images: int, places: int, watched: bool
) -> None:
    """For any arrivals, cancellations, expiries, failures and limits; nothing is lost, mixed up or run twice."""
    room = {"max_waiting": places, "max_pool_waiting": places}
    with (
        pytest.MonkeyPatch.context() as patch,
        gated_server(released_model, way_in, max_batch_images=max_batch_images, **room) as server,
    ):
        patch.setattr(lane, "UNWATCHED_BATCHES", 0 if watched else 1000)
        keys = [list(range(10 * number, 10 * number + caller.images)) for number, caller in enumerate(callers, 1)]
        server.model.failing = {own[0] for own, caller in zip(keys, callers, strict=True) if caller.fate == "fails"}
        first = server.ask_and_wait_until_running(0)
        calls = _send(server, callers, keys)
        server.model.open_gate()

        assert outcome(first) is CODE.OK
        outcomes = [outcome(call) for call in calls]
        # What is too large for a batch is in the pool, perhaps in the model, by the time that the lane hears of it.
        heeded = way_in == "ordinary" or (watched and max(map(len, keys), default=0) <= max_batch_images)
        _check_outcomes(server, callers, keys, outcomes, cancels_are_heeded=heeded)
        for own, call, code in zip(keys, calls, outcomes, strict=True):
            if code is CODE.OK:
                assert keys_answered(call) == own
        _check_batches(server, way_in, keys, max_batch_images)
        assert keys_answered(server.ask(60000)) == [60000]


def _send(server: GatedServer, callers: list[Plan], keys: list[list[int]]) -> list[Call]:
    calls: list[Call] = []
    for caller, own in zip(callers, keys, strict=True):
        calls.append(server.ask(*own, timeout_s=SHORT_DEADLINE_S if caller.fate == "expires" else 20))
        server.wait_until_all_has_arrived()  # so that the order of arrival is the order of this list
    for caller, call in zip(callers, calls, strict=True):
        if caller.fate == "cancels":
            call.cancel()
        if caller.fate == "expires":
            outcome(call)
    server.wait_until_all_has_arrived()
    return calls


def _check_outcomes(
    server: GatedServer,
    callers: list[Plan],
    keys: list[list[int]],
    outcomes: list[grpc.StatusCode],
    *,
    cancels_are_heeded: bool,
) -> None:
    allowed = {
        "stays": {CODE.OK, CODE.UNAVAILABLE, CODE.INTERNAL},
        "cancels": {CODE.CANCELLED, CODE.UNAVAILABLE},
        "expires": {CODE.DEADLINE_EXCEEDED, CODE.UNAVAILABLE},
        "fails": {CODE.INTERNAL, CODE.UNAVAILABLE},
    }
    run = {key for batch in server.model.batches for key in batch}
    failed = {key for batch in server.model.batches if server.model.failing & {*batch} for key in batch}
    for caller, own, code in zip(callers, keys, outcomes, strict=True):
        assert code in allowed[caller.fate], (caller, code)
        if code is CODE.CANCELLED and not cancels_are_heeded:
            continue  # it may have run, and whoever ran with it was answered
        assert (code is CODE.INTERNAL) == (own[0] in failed)
        # What was cancelled, late or refused before the model was free has cost it nothing.
        assert (own[0] in run) == (code in (CODE.OK, CODE.INTERNAL))


def _check_batches(server: GatedServer, way_in: str, keys: list[list[int]], max_batch_images: int) -> None:
    batches = list(server.model.batches)  # what nobody waits for may be running still
    run = [key for batch in batches for key in batch]
    assert len(run) == len(set(run))
    whole = [own for own in [[0], *keys] if own[0] in run]
    if way_in == "ordinary":  # each call runs alone, in the order in which its handler's thread got to the pool
        assert sorted(batches) == sorted(whole)
        return
    assert all(len(batch) <= max_batch_images or batch in whole for batch in batches)
    plain = [key for own in whole if len(own) <= max_batch_images for key in own]
    assert [key for key in run if key in plain] == plain
