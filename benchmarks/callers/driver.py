"""Lets many callers ask at one time, and checks every answer.

Prints "begin" and "end" around the time that counts, so that whoever started the program can look at the server at
these moments, and then one JSON object.
"""

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Answer = NDArray[np.float32]
Ask = Callable[[Image], Awaitable[Answer]]
"""Takes [28, 28] and gives [11], ten probabilities and the unfamiliarity."""

TOLERANCE = 1e-4
WARM_UP_S = 0.5


@dataclass(frozen=True)
class Arguments:
    """What each program is told."""

    target: str
    digits: str
    callers: int
    seconds: float
    batching: bool


@dataclass
class Reply:
    """One answer."""

    image: int
    began: float
    ended: float
    answer: Answer


def arguments() -> Arguments:
    """Reads the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--digits", required=True)
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--no-batching", dest="batching", action="store_false")
    return Arguments(**vars(parser.parse_args()))


async def drive(ask: Ask, given: Arguments) -> None:
    """Asks, checks and prints."""
    with np.load(given.digits) as file:
        images, answers = file["images"], file["answers"]
    replies: list[Reply] = []
    numbers, ends_at = count(), time.perf_counter() + WARM_UP_S + given.seconds
    callers = [asyncio.create_task(_call(ask, images, numbers, ends_at, replies)) for _ in range(given.callers)]
    await asyncio.sleep(WARM_UP_S)
    print("begin", flush=True)
    began, cpu_began = time.perf_counter(), time.process_time()
    await asyncio.gather(*callers)
    cpu_s = time.process_time() - cpu_began
    print("end", flush=True)
    _check(replies, answers)
    print(json.dumps(_figures([reply for reply in replies if reply.ended > began], began, cpu_s)))


async def _call(ask: Ask, images: Image, numbers: Iterator[int], ends_at: float, replies: list[Reply]) -> None:
    while (began := time.perf_counter()) < ends_at:
        image = next(numbers) % len(images)
        answer = await ask(images[image])
        replies.append(Reply(image, began, time.perf_counter(), answer))


def _check(replies: list[Reply], answers: Answer) -> None:
    found = np.stack([reply.answer for reply in replies])
    expected = answers[[reply.image for reply in replies]]
    off = float(np.abs(found - expected).max())
    if not off <= TOLERANCE:
        raise SystemExit(f"answers are off by {off:.2g}; expected at most {TOLERANCE:g}")


def _figures(replies: list[Reply], began: float, cpu_s: float) -> dict[str, float]:
    p50, p99 = np.percentile([reply.ended - reply.began for reply in replies], [50, 99]) * 1000
    took = max(reply.ended for reply in replies) - began
    return {"requests": len(replies), "seconds": took, "p50_ms": float(p50), "p99_ms": float(p99), "cpu_s": cpu_s}
