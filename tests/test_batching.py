"""Concurrent callers of one AsyncClient travel together, and neither answers nor failures get mixed up."""

import asyncio
import gc
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from gated import GatedServer, gated_server, pixels_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from test_client import Scripted, serving

from clients import AsyncClient, Classification, DeadlineExceeded, InvalidInput, ServerError, Unavailable, batching
from clients.handwriting import Hand, png
from lenet.v1.digits_pb2 import ClassifyRequest, ClassifyResponse

Outcome: TypeAlias = Classification | Exception
Asked: TypeAlias = "asyncio.Task[Outcome]"
PATIENCE_S, SHORT_S = 20.0, 0.2
LEAVING = (asyncio.CancelledError, DeadlineExceeded)


def images_of(*keys: int) -> NDArray[np.uint8]:
    """An image for each key, as the gated model reads them."""
    return np.frombuffer(pixels_of(*keys), np.uint8).reshape(-1, 28, 28)


async def outcome(call: Awaitable[Classification]) -> Outcome:
    """The answer, or the error in its place."""
    try:
        return await call
    except Exception as error:
        return error


async def told(calls: Iterable[Asked]) -> list[list[int] | type[BaseException]]:
    """What each caller was told: the images that its answer is about, or the class of its error."""
    calls = list(calls)
    await asyncio.wait(calls)
    return [asyncio.CancelledError if call.cancelled() else keys_or_error(call.result()) for call in calls]


def keys_or_error(result: Outcome) -> list[int] | type[BaseException]:
    """The images that an answer is about, or the class of an error."""
    return (
        [round(value) for value in result.probabilities[:, 0].tolist()]
        if isinstance(result, Classification)
        else type(result)
    )


class Callers:
    """Asks a server through one AsyncClient, each call in a task of its own."""

    def __init__(self, target: str, tasks: asyncio.TaskGroup, batching: bool) -> None:
        self.client = AsyncClient(target, timeout_s=PATIENCE_S, batching=batching)
        self._tasks = tasks

    def ask(self, images: Any, **options: Any) -> Asked:
        """Asks as soon as the event loop comes round."""
        return self._tasks.create_task(outcome(self.client.classify(images, **options)))

    async def ask_one_by_one(self, *keys: int, **options: Any) -> list[Asked]:
        """Asks for one image after the other; when it returns, all are waiting or sent."""
        asked = []
        for key in keys:
            asked.append(self.ask(images_of(key), **options))
            await all_parked()
        return asked

    async def fill_the_calls(self, server: GatedServer) -> list[Asked]:
        """Sends as many calls as may be under way, for the images 0 and 1; the first stands before the gate."""
        asked = await self.ask_one_by_one(0, 1)
        await standing_before_the_gate(server)
        return asked


async def standing_before_the_gate(server: GatedServer) -> None:
    """Returns when a call has reached the model."""
    assert await asyncio.to_thread(server.model.entered.acquire, timeout=PATIENCE_S)


async def all_parked() -> None:
    """Returns when every task has come as far as it can without the network."""
    for _ in range(6):
        await asyncio.sleep(0)


def all_of(events: threading.Semaphore, number: int) -> bool:
    """Waits until so many events have come."""
    return all(events.acquire(timeout=PATIENCE_S) for _ in range(number))


def play(scenario: Callable[[Callers], Awaitable[None]], target: str, batching: bool = True) -> None:
    """Plays a scenario, and checks that afterwards no task is left and no exception went unnoticed."""

    async def stage() -> None:
        unnoticed: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unnoticed.append(context))
        async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
            callers = Callers(target, tasks, batching)
            async with callers.client:
                await scenario(callers)
        await all_parked()
        gc.collect()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert unnoticed == []

    asyncio.run(stage())


@pytest.fixture
def server(released_model: Path) -> Iterator[GatedServer]:
    """Its runs of the model are the calls that came, since it joins none itself."""
    with gated_server(released_model, "lane", max_batch_images=1) as started:
        yield started


def target_of(server: GatedServer) -> str:
    """Its address."""
    return f"127.0.0.1:{server.server.port}"


def test_those_who_wait_go_together_first_in_first_out(server: GatedServer) -> None:
    """Behind the calls under way ten callers gather, and one call takes them all in their order."""

    async def scenario(callers: Callers) -> None:
        asked = await callers.fill_the_calls(server)
        asked += await callers.ask_one_by_one(*range(10, 20))
        server.model.open_gate()
        assert await told(asked) == [[0], [1], *([key] for key in range(10, 20))]
        assert sorted(server.model.batches) == [[0], [1], [*range(10, 20)]]

    play(scenario, target_of(server))


@pytest.mark.parametrize(("at_once", "calls"), [(1, [1]), (2, [2]), (32, [32]), (63, [32, 31]), (100, [50, 50])])
def test_callers_of_one_turn_of_the_loop_go_at_once(server: GatedServer, at_once: int, calls: list[int]) -> None:
    """Nobody waits for more company; two calls share the callers, if they are enough for two."""

    async def scenario(callers: Callers) -> None:
        server.model.open_gate()
        assert await told([callers.ask(images_of(key)) for key in range(at_once)]) == [[key] for key in range(at_once)]
        assert sorted(map(len, server.model.batches), reverse=True) == calls

    play(scenario, target_of(server))


def test_a_call_carries_at_most_its_limit_and_no_array_is_torn(server: GatedServer) -> None:
    """Arrays of several images join too, whole; one above the limit has a call of its own."""
    arrays = [list(range(1000 * n, 1000 * n + size)) for n, size in enumerate([100, 156, 200, 57, 1, 300], 1)]

    async def scenario(callers: Callers) -> None:
        asked = await callers.fill_the_calls(server)
        asked += [callers.ask(images_of(*keys)) for keys in arrays]
        await all_parked()
        server.model.open_gate()
        assert await told(asked) == [[0], [1], *arrays]
        assert sorted(map(len, server.model.batches)) == [1, 1, 58, 200, 256, 300]

    play(scenario, target_of(server))


def test_pictures_and_maps_travel_alone(server: GatedServer) -> None:
    """They get what they always got."""

    async def scenario(callers: Callers) -> None:
        server.model.open_gate()
        asked = [callers.ask(png(7, Hand())) for _ in range(2)]
        asked += [callers.ask(images_of(5), feature_maps=["conv1"]) for _ in range(2)]
        answers = [answer for answer in await asyncio.gather(*asked) if isinstance(answer, Classification)]
        assert [[*answer.feature_maps] for answer in answers] == [[], [], ["conv1"], ["conv1"]]
        assert [answer.pixels is None for answer in answers] == [False, False, True, True]
        assert [len(batch) for batch in server.model.batches] == [1] * 4

    play(scenario, target_of(server))


def test_batching_can_be_turned_off(server: GatedServer) -> None:
    """Then every `classify` is a call."""

    async def scenario(callers: Callers) -> None:
        server.model.open_gate()
        assert await told([callers.ask(images_of(key)) for key in range(10)]) == [[key] for key in range(10)]
        assert sorted(server.model.batches) == [[key] for key in range(10)]

    play(scenario, target_of(server), batching=False)


def test_a_wrong_argument_is_refused_before_it_joins(server: GatedServer) -> None:
    """The caller hears at once, though all calls are under way, and nobody else notices."""

    async def scenario(callers: Callers) -> None:
        asked = [*await callers.fill_the_calls(server), *await callers.ask_one_by_one(2)]
        wrong = [callers.ask(np.zeros((28, 28))), callers.ask(images_of(3), timeout_s=0)]
        assert await told(wrong) == [ValueError, ValueError]
        server.model.open_gate()
        assert await told(asked) == [[0], [1], [2]]

    play(scenario, target_of(server))


def test_an_array_may_be_changed_while_it_waits(server: GatedServer) -> None:
    """What counts is what it held when `classify` was called."""

    async def scenario(callers: Callers) -> None:
        await callers.fill_the_calls(server)
        image = images_of(7).copy()
        asked = callers.ask(image)
        await all_parked()
        image[:] = 0
        server.model.open_gate()
        assert await told([asked]) == [[7]]

    play(scenario, target_of(server))


@pytest.mark.parametrize("patience_s", [PATIENCE_S, math.inf])
def test_a_timeout_holds_for_its_caller_alone(server: GatedServer, patience_s: float) -> None:
    """One of three in a call runs out of time; the call goes on for as long as the most patient one waits."""

    async def scenario(callers: Callers) -> None:
        asked = [callers.ask(images_of(n), timeout_s=time) for n, time in enumerate([SHORT_S, patience_s, PATIENCE_S])]
        error = await asked[0]
        assert isinstance(error, DeadlineExceeded)
        assert str(error) == f"{target_of(server)} gave no answer within 0.2 s"
        server.model.open_gate()
        assert await told(asked) == [DeadlineExceeded, [1], [2]]
        assert server.model.batches == [[0, 1, 2]]

    play(scenario, target_of(server))


@pytest.mark.parametrize("leaves", LEAVING)
def test_one_who_leaves_while_it_waits_is_left_out(server: GatedServer, leaves: type[BaseException]) -> None:
    """Its images are not sent at all."""

    async def scenario(callers: Callers) -> None:
        asked = [*await callers.fill_the_calls(server), *await callers.ask_one_by_one(2)]
        asked += await callers.ask_one_by_one(3, timeout_s=SHORT_S if leaves is DeadlineExceeded else PATIENCE_S)
        asked += await callers.ask_one_by_one(4)
        if leaves is asyncio.CancelledError:
            asked[3].cancel()
        await asyncio.wait([asked[3]])
        server.model.open_gate()
        assert await told(asked) == [[0], [1], [2], leaves, [4]]
        assert sorted(server.model.batches) == [[0], [1], [2, 4]]

    play(scenario, target_of(server))


def test_one_whose_time_is_over_is_left_out_though_a_busy_loop_has_not_told_it(server: GatedServer) -> None:
    """The deadline counts, not the alarm, which a blocked event loop rings late."""

    async def scenario(callers: Callers) -> None:
        asked = [callers.ask(images_of(1), timeout_s=SHORT_S), callers.ask(images_of(2))]
        await asyncio.sleep(0)  # both have asked, and the loop blocks before they depart
        time.sleep(2 * SHORT_S)
        server.model.open_gate()
        assert await told(asked) == [DeadlineExceeded, [2]]
        assert server.model.batches == [[2]]

    play(scenario, target_of(server))


def test_one_who_is_cancelled_under_way_does_not_disturb_its_mates(server: GatedServer) -> None:
    """Its row comes back with the others, and is dropped."""

    async def scenario(callers: Callers) -> None:
        asked = [callers.ask(images_of(key)) for key in range(5)]
        await standing_before_the_gate(server)
        asked[0].cancel()
        asked[3].cancel()
        await all_parked()
        server.model.open_gate()
        assert await told(asked) == [asyncio.CancelledError, [1], [2], asyncio.CancelledError, [4]]

    play(scenario, target_of(server))


class Mute(Scripted):
    """Answers calls for image 3, and holds all others until their caller leaves."""

    def __init__(self) -> None:
        super().__init__()
        self.came, self.left = threading.Semaphore(0), threading.Semaphore(0)

    def Classify(self, request: ClassifyRequest, context: Any) -> ClassifyResponse:  # noqa: N802 - the contract's name
        """Notes who came and who left."""
        if request.pixels == pixels_of(3):
            return ClassifyResponse(digits=[3], probabilities=[3.0, *[0.0] * 9], unfamiliarity=[0.0])
        left = threading.Event()
        if context.add_callback(left.set):
            self.came.release()
            if left.wait(PATIENCE_S):
                self.left.release()
        return ClassifyResponse()


@pytest.mark.parametrize("leave", LEAVING)
def test_a_call_that_all_have_left_is_cancelled(leave: type[BaseException]) -> None:
    """The server hears of it, and the next go: even behind one that would wait for ever."""
    mute = Mute()

    async def scenario(callers: Callers) -> None:
        options = {"timeout_s": 5 * SHORT_S if leave is DeadlineExceeded else math.inf}
        asked = await callers.ask_one_by_one(0, **options)
        asked += [callers.ask(images_of(key), **options) for key in (1, 2)]
        await all_parked()
        asked.append(callers.ask(images_of(3)))
        assert await asyncio.to_thread(all_of, mute.came, 2)
        if leave is asyncio.CancelledError:
            for each in asked[:3]:
                each.cancel()
        assert await told(asked) == [leave, leave, leave, [3]]
        assert await asyncio.to_thread(all_of, mute.left, 2)

    with serving(mute) as target:
        play(scenario, target)


def test_a_caller_that_is_thrown_away_does_not_disturb_its_mates(server: GatedServer) -> None:
    """Nobody awaits this one any more, nor has it been cancelled."""

    async def scenario(callers: Callers) -> None:
        asked = callers.ask(images_of(1))
        await asyncio.sleep(0)  # it has asked, and not yet departed
        thrown_away = callers.client.classify(images_of(0))
        thrown_away.send(None)
        await standing_before_the_gate(server)
        thrown_away.close()
        server.model.failing = {0}
        server.model.open_gate()
        assert await told([asked]) == [ServerError]

    play(scenario, target_of(server))


def test_only_the_one_at_fault_is_refused(released_model: Path) -> None:
    """A call that is too large for the server is taken apart: an array of five is refused, where four are allowed."""

    async def scenario(callers: Callers) -> None:
        asked = await callers.fill_the_calls(gated)
        asked += [callers.ask(images_of(*keys)) for keys in ([10], [20, 21], [30, 31, 32, 33, 34], [40])]
        await all_parked()
        gated.model.open_gate()
        assert await told(asked) == [[0], [1], [10], [20, 21], InvalidInput, [40]]
        error = await asked[4]
        assert "pixels holds 5 images; expected at most 4" in str(error)

    with gated_server(released_model, "lane", max_batch_images=1, max_images=4) as gated:
        play(scenario, target_of(gated))


def test_a_failure_of_the_call_reaches_each_member_as_its_own_exception(server: GatedServer) -> None:
    """All hear the same, and nobody's traceback grows by the others'; the next call is a new one."""

    async def scenario(callers: Callers) -> None:
        server.model.failing = {2}
        server.model.open_gate()
        asked = [callers.ask(images_of(key)) for key in range(4)]
        assert await told(asked) == [ServerError] * 4
        errors = await asyncio.gather(*asked)
        assert len({id(error) for error in errors}) == 4
        assert len({str(error) for error in errors}) == 1
        assert "incident" in str(errors[0])
        assert await told(await callers.ask_one_by_one(7)) == [[7]]

    play(scenario, target_of(server))


def test_too_few_answers_are_an_error_and_nobody_gets_anothers() -> None:
    """A server that gives one answer for three images; alone, each is answered."""

    async def scenario(callers: Callers) -> None:
        assert await told([callers.ask(images_of(key)) for key in range(3)]) == [ServerError] * 3
        answer = await callers.ask(images_of(0))
        assert isinstance(answer, Classification)
        assert answer.digits.tolist() == [5]

    with serving(Scripted()) as target:
        play(scenario, target)


def test_closing_the_client_tells_those_who_wait_and_those_under_way(server: GatedServer) -> None:
    """Nothing hangs, and whoever asks afterwards hears the same."""

    async def scenario(callers: Callers) -> None:
        asked = [*await callers.fill_the_calls(server), *await callers.ask_one_by_one(2, 3)]
        await callers.client.close()
        asked += await callers.ask_one_by_one(4)
        assert await told(asked) == [Unavailable] * 5
        assert {str(await each) for each in asked} == {f"the client of {target_of(server)} was closed"}

    play(scenario, target_of(server))


def test_closing_the_client_tells_a_call_that_has_not_begun(server: GatedServer) -> None:
    """The client is closed in each turn of the event loop from the one in which the caller asked."""

    async def scenario(callers: Callers, turns: int) -> None:
        asked = callers.ask(images_of(1))
        for _ in range(turns):
            await asyncio.sleep(0)
        await callers.client.close()
        assert await told([asked]) == [Unavailable]

    for turns in range(6):
        play(partial(scenario, turns=turns), target_of(server))


@dataclass(frozen=True)
class Plan:
    """One caller: how many images it sends, with whom it comes, and what becomes of it."""

    images: int
    comes_with_the_last: bool
    fate: str


FATES = ["stays", "stays", "stays", "cancels", "expires", "fails", "wrong array"]
plans = st.lists(st.builds(Plan, st.integers(1, 5), st.booleans(), st.sampled_from(FATES)), max_size=14)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plans=plans, max_joint_images=st.integers(1, 16), max_images=st.integers(1, 16), max_batch=st.integers(1, 8))
def test_every_caller_gets_its_own_answer_or_one_defined_error(
    released_model: Path, plans: list[Plan], max_joint_images: int, max_images: int, max_batch: int
) -> None:
    """For any arrivals, cancellations, timeouts, failing images and limits; nothing is lost, mixed up or run twice."""
    keys = [list(range(10 * number, 10 * number + plan.images)) for number, plan in enumerate(plans, 1)]

    async def scenario(callers: Callers) -> None:
        gated.model.failing = {own[0] for own, plan in zip(keys, plans, strict=True) if plan.fate == "fails"}
        first = await callers.ask_one_by_one(0)
        await standing_before_the_gate(gated)  # from here on the server answers nobody
        asked = await _arrive(callers, plans, keys)
        for plan, each in zip(plans, asked, strict=True):
            if plan.fate == "cancels":
                each.cancel()
            elif plan.fate == "expires":
                await each
        gated.model.open_gate()
        _check(gated, plans, keys, (await told(first + asked))[1:], max_images)
        assert await told(await callers.ask_one_by_one(60000)) == [[60000]]

    with (
        pytest.MonkeyPatch.context() as patch,
        gated_server(released_model, "lane", max_batch_images=max_batch, max_images=max_images) as gated,
    ):
        patch.setattr(batching, "MAX_IMAGES", max_joint_images)
        play(scenario, target_of(gated))


async def _arrive(callers: Callers, plans: list[Plan], keys: list[list[int]]) -> list[Asked]:
    asked = []
    for plan, own in zip(plans, keys, strict=True):
        if not plan.comes_with_the_last:
            await all_parked()
        images = images_of(*own).astype(float) if plan.fate == "wrong array" else images_of(*own)
        asked.append(callers.ask(images, timeout_s=SHORT_S if plan.fate == "expires" else PATIENCE_S))
    await all_parked()
    return asked


def _check(server: GatedServer, plans: list[Plan], keys: list[list[int]], told: list[Any], max_images: int) -> None:
    run = [key for batch in server.model.batches for key in batch]
    assert len(run) == len(set(run))
    failed = {key for batch in server.model.batches if server.model.failing & {*batch} for key in batch}
    expected = {"cancels": asyncio.CancelledError, "expires": DeadlineExceeded, "wrong array": ValueError}
    for plan, own, heard in zip(plans, keys, told, strict=True):
        if plan.fate in expected:
            assert heard is expected[plan.fate]
        elif len(own) > max_images:
            assert heard is InvalidInput
        elif own[0] in failed:
            assert heard is ServerError
        else:
            assert heard == own
            assert own[0] in run
