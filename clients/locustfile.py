"""Loads a server with a mix of calls, and checks every answer: `make load-test`, or `locust -f clients/locustfile.py`.

It measures the server and not the client: calls go out without the client's retries, which would hide that the server
refuses some and would add their pauses to its times. Each user has a connection of its own, as users have. Failures
are counted by gRPC status, wrong answers as WRONG ANSWER; the first of each kind is logged in full.

One process of Locust keeps a core busy with 500 to 1,000 calls a second, so times include its own waiting; more load
comes from `--processes`. `make bench` is for comparing servers.
"""

import argparse
import atexit
import logging
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, cast

import gevent
import grpc
import grpc.experimental.gevent
import locust.stats
from locust import User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import Runner, WorkerRunner

from clients.calls import CHANNEL_OPTIONS, DEFAULT_TARGET, DEFAULT_TIMEOUT_S
from clients.client import Client
from clients.errors import LenetError, failures_of
from clients.own_server import ServerFailure, own_server
from clients.questions import KINDS, Question, drawn_digits, known_digits, mnist_digits, questions
from lenet.v1.digits_pb2_grpc import DigitClassifierStub

_DIGITS = 20  # that the calls are about: each by two hands
_MODEL_DIR, _OUTPUT = Path("models/lenet5"), Path("out")
_WRONG, _REFUSED = "WRONG ANSWER", grpc.StatusCode.UNAVAILABLE.name
_CHANNEL_OPTIONS = (*CHANNEL_OPTIONS, ("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
# More than there are users: gRPC waits for each answer in a thread of gevent's pool, and with the usual 10 of them an
# answer would go unnoticed while 10 others are awaited.
_THREADS = 10_000
_LOCUST_BUCKET = locust.stats.bucket_response_time

_log = logging.getLogger("lenet")


@events.init_command_line_parser.add_listener
def _add_options(parser: LocustArgumentParser) -> None:
    """Adds the options; Locust shows them on its web page too, and reads the environment variables."""
    parser.set_defaults(web_host="127.0.0.1")  # Locust's own default is every interface

    def option(name: str, type_: Any, metavar: str, default: Any, help_: str) -> None:
        variable = f"LOCUST_{name.replace('-', '_').upper()}"
        parser.add_argument(f"--{name}", type=type_, metavar=metavar, default=default, help=help_, env_var=variable)

    option("weight-one-image", _count, "<int>", 7, "Share of calls with one image, relative to the other weights")
    option("weight-many-images", _count, "<int>", 1, "Share of calls with many images")
    option("weight-feature-maps", _count, "<int>", 1, "Share of calls with one image that ask for all feature maps")
    option("weight-png", _count, "<int>", 1, "Share of calls with one PNG file")
    option("images-per-call", _count, "<int>", 32, "Images in a call with many images")
    option("wait-s", float, "<seconds>", 0.0, "How long a user waits between an answer and the next call")
    option("timeout-s", float, "<seconds>", DEFAULT_TIMEOUT_S, "When a call is given up: DEADLINE_EXCEEDED")
    option("mnist-dir", str, "<directory>", "", "MNIST's IDX files, to take the digits from; without it they are drawn")
    help_ = "Start a server on a free port, and stop it at the end; --host is ignored then"
    parser.add_argument("--own-server", action="store_true", help=help_, include_in_web_ui=False)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


@dataclass(frozen=True, eq=False)
class _Load:
    """What to ask, and on what terms.

    Attributes:
        asked: the questions of each kind, in the order of KINDS.
        weights: of the kinds, in the same order.
        told: the failures that have been logged in full, by question and failure.
    """

    target: str
    asked: list[list[Question]]
    weights: list[int]
    timeout_s: float
    told: set[tuple[str, str]] = field(default_factory=set)

    def question(self) -> Question:
        """Gives one at random."""
        (kind,) = random.choices(self.asked, self.weights)  # noqa: S311 - nothing here is secret
        return random.choice(kind)  # noqa: S311


class DigitUser(User):
    """Asks one question after the other, over a connection of its own."""

    host = DEFAULT_TARGET
    load: ClassVar[_Load]  # made when a test starts

    def on_start(self) -> None:
        """Connects."""
        self._channel = grpc.insecure_channel(self.load.target, _CHANNEL_OPTIONS)
        self._stub = DigitClassifierStub(self._channel)

    def on_stop(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def wait_time(self) -> float:
        """Gives the seconds until the next question."""
        return float(_options(self.environment).wait_s)

    @task
    def ask(self) -> None:
        """Asks one question and checks the answer; the time for the check is not counted."""
        question = self.load.question()
        began = time.perf_counter()
        try:
            with failures_of(self.load.target):
                reply = self._stub.Classify(question.request, timeout=self.load.timeout_s)
        except LenetError as error:
            self._count(question, time.perf_counter() - began, 0, error.code.name, str(error))
        else:
            took_s = time.perf_counter() - began
            mistake = question.mistake(reply)
            self._count(question, took_s, reply.ByteSize(), _WRONG if mistake else None, mistake)

    def _count(self, question: Question, took_s: float, size: int, failure: str | None, details: str | None) -> None:
        self.environment.events.request.fire(
            request_type="Classify",
            name=question.name,
            response_time=took_s * 1000,
            response_length=size,
            exception=failure,  # a text, so that Locust counts by it and shows it as it is
        )
        if failure and (question.name, failure) not in self.load.told:
            self.load.told.add((question.name, failure))
            _log.warning("first %s of %s: %s", failure, question.name, details)


@events.init.add_listener
def _prepare(environment: Environment, **_: Any) -> None:
    """Prepares the process, here because Locust has forked by now; ends it if a test without a page cannot start."""
    grpc.experimental.gevent.init_gevent()
    gevent.get_hub().threadpool.maxsize = _THREADS
    locust.stats.bucket_response_time = _bucket  # type: ignore[assignment]  # all that is done with it goes for float
    options = _options(environment)
    if isinstance(environment.runner, WorkerRunner):
        return
    try:
        if options.own_server:
            environment.host = _start_server()
        if options.headless:
            DigitUser.load = _rehearsed(environment)  # before the run time begins to count
    except (ServerFailure, LenetError, OSError, ValueError) as error:
        sys.exit(f"load test: {error}")


def _bucket(time_ms: float) -> float:
    """Rounds to two digits, as Locust does, but also below 10 ms."""
    return round(time_ms, 1) if time_ms < 10 else _LOCUST_BUCKET(time_ms)


def _start_server() -> str:
    _OUTPUT.mkdir(exist_ok=True)
    log = _OUTPUT / "load-test-server.log"
    running = ExitStack()
    atexit.register(running.close)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # until Locust, once all is ready, sets its own handler
    try:
        return running.enter_context(own_server(_MODEL_DIR, log))
    except ServerFailure as failure:
        raise ServerFailure(f"{failure}; the server's log:\n{log.read_text()}") from None


@events.test_start.add_listener
def _rehearse(environment: Environment, **_: Any) -> None:
    """Asks the server about each digit before anyone else does, or says why the test does not start."""
    if _options(environment).headless and not isinstance(environment.runner, WorkerRunner):
        return
    try:
        DigitUser.load = _rehearsed(environment)
    except (LenetError, OSError, ValueError) as error:
        _log.error("the test does not start: %s", error)
        if environment.runner:
            environment.runner.log_exception("local", str(error), "")  # the web page shows it under Exceptions
        raise gevent.GreenletExit from None


def _rehearsed(environment: Environment) -> _Load:
    options = _options(environment)
    weights = [getattr(options, f"weight_{kind}") for kind in KINDS]
    if min(weights) < 0 or not any(weights) or options.images_per_call < 1:
        raise ValueError("the weights must be 0 or more and not all 0, and images-per-call 1 or more")
    directory = options.mnist_dir
    pictures = mnist_digits(Path(directory), _DIGITS) if directory else drawn_digits(_DIGITS)
    target = _target(environment)
    with Client(target, timeout_s=options.timeout_s) as client:
        digits = known_digits(client, pictures)
    by_kind = questions(digits, options.images_per_call)
    return _Load(target, [by_kind[kind] for kind in KINDS], weights, options.timeout_s)


def _options(environment: Environment) -> argparse.Namespace:
    return cast(argparse.Namespace, environment.parsed_options)  # None only without a command line


def _target(environment: Environment) -> str:
    # Locust's own help asks for a URL.
    return (environment.host or DigitUser.host).removeprefix("http://").rstrip("/")


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    """Sets the exit status.

    Locust's own rule makes any failure an error. Here a server may refuse what is too much for it: that is counted,
    but it is what the server promises to do under too much load.
    """
    runner = environment.runner
    if runner is None or isinstance(runner, WorkerRunner):
        return
    objections = list(_objections(environment, runner))
    for objection in objections:
        _log.error("%s", objection)
    environment.process_exit_code = 1 if objections else 0


def _objections(environment: Environment, runner: Runner) -> Iterator[str]:
    stats = environment.stats
    failures: Counter[str] = Counter()
    for each in stats.errors.values():
        failures[str(each.error)] += each.occurrences
    refused = failures.pop(_REFUSED, 0)
    yield from (f"{count} x {failure}" for failure, count in failures.items())
    yield from (f"{each['count']} x {each['msg']}" for each in runner.exceptions.values())
    if _options(environment).headless and stats.num_requests == stats.num_failures:
        yield "no call was answered"
    # UNAVAILABLE is also what a call hears if the server is gone.
    if refused and (trouble := _trouble(_target(environment))):
        yield trouble


def _trouble(target: str) -> str | None:
    try:
        with Client(target) as client:
            client.describe()
    except LenetError as error:
        return str(error)
    return None


if __name__ == "__main__":  # `locust --help` shows only Locust's own options: it does not load this file
    options_ = LocustArgumentParser(
        prog="locust -f clients/locustfile.py",
        usage="%(prog)s [options below, or of `locust --help`]",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        add_help=False,
    )
    _add_options(options_)
    options_.print_help()
