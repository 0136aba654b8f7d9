"""One server process: opens the model, warms it up, serves it, and drains when it is told to stop.

The order of a stop: health says NOT_SERVING while calls are still taken, so that callers can go elsewhere; then new
calls are refused while those in flight are answered; then what is idle (Watch, streams) is closed; exit status 0.
"""

import logging
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lenet.v1.digits_pb2 import Limits
from serving.artifact import Artifact, ArtifactError, open_artifact
from serving.description import describe
from serving.handlers import SERVICE, Handlers
from serving.lane import Lane, LaneUnavailable
from serving.pool import Pool
from serving.runtime import Model, Runtime, RuntimeUnusable
from serving.service import DigitClassifier
from serving.settings import Settings, address
from serving.signals import POLL_S, Told

log = logging.getLogger("lenet-serve")

# Threads for calls that do no work: health, reflection, DescribeModel.
LIGHT_CALLS = 16
REFUSAL_S = 0.25
# Calls that nobody has read yet; C core cuts off those beyond, which spares us the work but tells their callers only
# CANCELLED. By default it begins at 1,000, when the lane still answers all within their deadlines.
MAX_PENDING = 8192
ANSWER_POLL_S = 0.005


class Server:
    """A served model. `start`, then `stop` once."""

    def __init__(
        self, settings: Settings, artifact: Artifact, model: Model, *, provider: str, stop: threading.Event
    ) -> None:
        """Binds the port; raises RuntimeError if it cannot. `provider` is the one that `model` runs on.

        The server itself sets `stop` if it can no longer answer.
        """
        self._settings = settings
        self._stop = stop
        self.draining = threading.Event()
        limits = Limits(
            max_images=settings.max_images,
            max_request_bytes=settings.max_request_bytes,
            max_image_pixels=settings.max_image_pixels,
            max_reply_bytes=settings.max_reply_bytes,
        )
        self._pool = Pool(settings.pool_threads, settings.max_pool_waiting)
        self._classifier = DigitClassifier(
            model, version=artifact.card.version, map_shapes=artifact.map_shapes, limits=limits
        )
        self._server = self._make_server()
        self._lane = self._make_lane()
        description = describe(artifact, limits, provider=provider, fast_lane=self._lane is not None)
        self._handlers = Handlers(
            self._classifier,
            self._pool,
            description=description.SerializeToString(),
            max_streams=settings.max_streams,
            draining=self.draining,
        )
        self._handlers.add_to(self._server)
        self._health = health.HealthServicer()
        self._health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if settings.reflection:
            names = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        self.port = self._server.add_insecure_port(address(settings.host, settings.port))

    @property
    def failed(self) -> bool:
        """True if the server stopped by itself."""
        return self._lane is not None and self._lane.failed

    def start(self) -> None:
        """Answers calls from now on."""
        self._server.start()
        if self._lane:
            self._lane.start()

    def stop(self) -> bool:
        """Drains and stops; False if calls had to be cut off because the grace period was over."""
        self._health.enter_graceful_shutdown()
        time.sleep(self._settings.drain_delay_s)
        # Refused by us, a new call hears UNAVAILABLE; a call that reaches a C core that is shutting down hears
        # CANCELLED, which few clients retry. So C core is stopped last, when callers have heard and back off.
        self.draining.set()
        time.sleep(REFUSAL_S)
        drained = self._wait_for_answers()
        self._server.stop(0).wait()
        if self._lane:
            self._lane.join()
        self._pool.close()
        return drained

    def _wait_for_answers(self) -> bool:
        cut_off_at = time.monotonic() + self._settings.grace_s
        while self._handlers.unanswered or (self._lane and self._lane.unanswered and not self._lane.failed):
            if time.monotonic() > cut_off_at:
                return False
            time.sleep(ANSWER_POLL_S)
        return True

    def _make_server(self) -> grpc.Server:
        settings = self._settings
        # The classifier's methods refuse what is too much themselves, so that calls of theirs leave threads for health.
        threads = settings.pool_threads + settings.max_pool_waiting + settings.max_streams + LIGHT_CALLS
        options = [
            ("grpc.max_receive_message_length", settings.max_request_bytes),
            # Else a second server would get some of the calls, and nobody would know.
            ("grpc.so_reuseport", int(settings.workers != 1)),
            ("grpc.server.max_pending_requests", MAX_PENDING),
            ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING),
        ]
        return grpc.server(ThreadPoolExecutor(threads, thread_name_prefix="handler"), options=options)

    def _make_lane(self) -> Lane | None:
        if not self._settings.lane:
            return None
        try:
            return Lane(
                self._server,
                f"/{SERVICE}/Classify",
                self._classifier,
                self._pool,
                max_batch_images=self._settings.max_batch_images,
                max_waiting=self._settings.max_waiting,
                draining=self.draining,
                on_failure=self._stop.set,
            )
        except LaneUnavailable as error:
            log.warning("no fast lane, Classify is answered by the ordinary handler, slower: %s", error)
            return None


def serve(settings: Settings, told: Told, ready: Callable[[str], None]) -> int:
    """Opens the model and serves it until told to stop; returns the exit status.

    `ready` is called with the address as soon as calls are answered.
    """
    warnings.filterwarnings("ignore", module="PIL")  # a caller's odd metadata is no news to the operator
    stop = threading.Event()
    try:
        server = _open(settings, stop)
    except (ArtifactError, RuntimeUnusable, RuntimeError) as error:
        print(f"lenet-serve: error: {error}", file=sys.stderr)
        return 1
    server.start()
    ready(address(settings.host, server.port))
    while not (told.to_stop() or stop.wait(POLL_S)):
        pass
    told.stopping()
    log.info("stopping")
    if not server.stop():
        log.warning("cut off what was still in flight after %g s", settings.grace_s)
    log.info("stopped")
    return 1 if server.failed else 0


def _open(settings: Settings, stop: threading.Event) -> Server:
    artifact = open_artifact(settings.model_dir)
    runtime = Runtime(artifact, provider=settings.provider, intra_op_threads=settings.intra_op_threads)
    runtime.warm_up((1, settings.max_batch_images), artifact.map_shapes)
    log.info(
        "%s version %s from %s on %s", artifact.card.name, artifact.card.version, artifact.directory, runtime.provider
    )
    return Server(settings, artifact, runtime, provider=runtime.provider, stop=stop)
