"""A second client, which asks while the load is on and compares every answer with the right one.

h2load sends the same request over and over, so it cannot notice an answer that went to the wrong caller. The witness
asks for other images each time, a few at once.
"""

import threading
from typing import Self

import numpy as np

from benchmarks.dialects import Dialect
from benchmarks.digits import Digits

PAUSE_S = 0.02
MOST_IMAGES = 3


class Witness:
    """Asks until the end of the `with`; what went wrong is then raised."""

    def __init__(self, target: str, dialect: Dialect, digits: Digits) -> None:
        self._target, self._dialect, self._digits = target, dialect, digits
        self._random = np.random.default_rng(0)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="witness")
        self._failure: Exception | None = None
        self.answers = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._done.set()
        self._thread.join()
        if self._failure:
            raise self._failure

    def _watch(self) -> None:
        try:
            with self._dialect.connected(self._target) as ask:
                while not self._done.wait(PAUSE_S):
                    some = self._some()
                    some.check(self._dialect.read(ask(self._dialect.write(some.images))), "the witness")
                    self.answers += len(some.images)
        except Exception as error:
            self._failure = error

    def _some(self) -> Digits:
        count = self._random.integers(1, MOST_IMAGES + 1)
        order = self._random.integers(len(self._digits.images), size=count)
        return Digits(self._digits.images[order], self._digits.answers[order])
