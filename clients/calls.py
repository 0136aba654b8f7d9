"""The terms of a call, the same for both clients: whom to ask, how long to wait, when to try again.

Retries are gRPC's own, set by the service config, so that no code here repeats a call by hand.
"""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager

from clients.errors import failures_of

DEFAULT_TARGET = "127.0.0.1:50051"
DEFAULT_TIMEOUT_S = 5.0

_SERVICE_CONFIG = {
    # Every replica behind a DNS name gets its share; with one address this changes nothing.
    "loadBalancingConfig": [{"round_robin": {}}],
    "methodConfig": [
        {
            "name": [{"service": "lenet.v1.DigitClassifier"}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 2,
                # CANCELLED by the server: the call came in the instant in which it closed its connections to stop.
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
            },
        }
    ],
    # A failure costs one token and a success returns a tenth; at half of them retries stop, so that they
    # cannot keep an overloaded server down. 100 lets dozens of calls survive the loss of one connection.
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}

CHANNEL_OPTIONS: tuple[tuple[str, str | int], ...] = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # gRPC retries only a request that it still holds, and by default it holds 256 KiB: 334 images.
    ("grpc.per_rpc_retry_buffer_size", 8 << 20),
    # What a reply may hold is the server's setting; a client with a limit of its own would refuse what it asked for.
    ("grpc.max_receive_message_length", -1),
    # By default a client looks for a server that went away as seldom as every two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5000),
)


def grpc_timeout(timeout_s: float) -> float | None:
    """Gives a timeout in seconds in gRPC's form, where None is no limit."""
    return None if timeout_s == math.inf else timeout_s


class Terms:
    """The terms on which a client calls.

    Attributes:
        target: the server's address.
    """

    def __init__(self, target: str, timeout_s: float) -> None:
        self.target = target
        self._timeout_s = timeout_s

    @contextmanager
    def _call(self, timeout_s: float | None) -> Iterator[float | None]:
        """Gives the timeout in gRPC's form, and turns gRPC's errors into LenetError."""
        seconds = self._seconds(timeout_s)
        with failures_of(self.target):
            yield grpc_timeout(seconds)

    def _seconds(self, timeout_s: float | None) -> float:
        """Gives the timeout of a call, where None takes the client's; raises ValueError."""
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if not timeout_s > 0:
            raise ValueError(f"timeout_s is {timeout_s}; expected seconds above 0, or math.inf for no limit")
        return timeout_s


class SourceFailure:
    """Keeps what the caller's own iterable raised, which gRPC would log and lose.

    The flow just ends there, so that the requests before it are still answered; then `raise_kept` gives the
    caller the exception.
    """

    def __init__(self) -> None:
        self._kept: Exception | None = None

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, failure: BaseException | None, trace: object) -> bool:
        if isinstance(failure, Exception):
            self._kept = failure
        return self._kept is not None

    def raise_kept(self) -> None:
        """Raises the exception, if there was one."""
        if self._kept is not None:
            raise self._kept
