"""What can go wrong with a call, as one small tree. The gRPC status decides the class, in both clients.

    LenetError              any failure of a call; `code` holds the gRPC status
    ├── InvalidInput        the server refused the input, or the message was too large: change it
    ├── Unavailable         no server there, or it is overloaded or stopping: try again later
    ├── DeadlineExceeded    no answer within `timeout_s`
    └── ServerError         anything else; for INTERNAL the text holds an id that is also in the server's log

An array of the wrong form is a ValueError and an unreadable file an OSError: nothing has been sent then.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import grpc

__all__ = ["DeadlineExceeded", "InvalidInput", "LenetError", "ServerError", "Unavailable"]


class LenetError(Exception):
    """Says that a call failed: what the server said, and which server that was.

    Attributes:
        code: the gRPC status of the call.
    """

    def __init__(self, message: str, code: grpc.StatusCode) -> None:
        super().__init__(message)
        self.code = code


class InvalidInput(LenetError):
    """Says that the server refused the input: INVALID_ARGUMENT or RESOURCE_EXHAUSTED (message too large)."""


class Unavailable(LenetError):
    """Says that no server answers at the target, or that it is overloaded or stopping: UNAVAILABLE, CANCELLED."""


class DeadlineExceeded(LenetError):
    """Says that no answer came within `timeout_s`: DEADLINE_EXCEEDED."""


class ServerError(LenetError):
    """Says that the call failed in any other way; the input is not known to be at fault."""


_CLASSES: dict[grpc.StatusCode, type[LenetError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidInput,
    grpc.StatusCode.RESOURCE_EXHAUSTED: InvalidInput,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,  # nobody here cancels, so a server that stops did
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
}

# How gRPC begins the text of an UNAVAILABLE that is its own, when no server was there to say anything.
_NOBODY_THERE = ("failed to connect", "connections to all backends failing", "dns resolution", "errors resolving")

# What grpc.aio says, as INTERNAL, if a call ends while it is writing: the connection went, or the server stopped.
_LOST_BY_AIO = "Internal error from Core"


class _Failure(Protocol):
    """What grpc's and grpc.aio's errors have in common, which their types do not say."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...


@contextmanager
def failures_of(target: str) -> Iterator[None]:
    """Turns the errors of gRPC, sync or async, into this module's.

    Args:
        target: the address that was called, for the message.
    """
    try:
        yield
    except grpc.RpcError as error:
        failure = cast(_Failure, error)
        code, details = failure.code(), failure.details() or ""
        if details == _LOST_BY_AIO:
            code = grpc.StatusCode.UNAVAILABLE
        raise _translated(code, details, target) from error


def _translated(code: grpc.StatusCode, details: str, target: str) -> LenetError:
    return _CLASSES.get(code, ServerError)(_message(code, details, target), code)


def _message(code: grpc.StatusCode, details: str, target: str) -> str:
    if code is grpc.StatusCode.UNAVAILABLE and details.lower().startswith(_NOBODY_THERE):
        return f"no server answers at {target}; start it with `make serve` or name another one ({details})"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"{target} gave no answer in time ({details})"
    if _CLASSES.get(code) is Unavailable:
        return f"{target} is unavailable: {details}"
    if code in _CLASSES:
        return f"{target} refused the input: {details}"
    return f"{target} failed with {code.name}: {details}"
