"""`lenet-serve`: opens the model, warms it up, serves it, and drains when it is told to stop.

The order of a stop: health says NOT_SERVING while calls are still taken, so that callers can go elsewhere; then new
calls are refused while those in flight are answered; then what is idle (Watch, streams) is closed; exit status 0.
"""

import logging
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import cyclopts
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
from serving.settings import Settings

log = logging.getLogger("lenet-serve")

# Threads for calls that do no work: health, reflection, DescribeModel.
LIGHT_CALLS = 16
REFUSAL_S = 0.25
SIGNAL_POLL_S = 0.1
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
        self.port = self._server.add_insecure_port(_address(settings.host, settings.port))

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
            ("grpc.so_reuseport", 0),
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


app = cyclopts.App(
    name="lenet-serve",
    help="Serve a LeNet5 over gRPC. Exit status: 0 after a clean stop, 1 if it cannot serve, 2 for wrong usage.",
    config=cyclopts.config.Env("LENET_", command=False),
)


@app.default
def serve(settings: Settings = Settings()) -> int:
    """Serves until SIGTERM or SIGINT, and returns the exit status."""
    logging.basicConfig(
        level=settings.log_level.upper(), stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    warnings.filterwarnings("ignore", module="PIL")  # a caller's odd metadata is no news to the operator
    stop = threading.Event()
    # A handler may run in the middle of `stop.wait`, so it must not want the lock of `stop`.
    signals: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: signals.append(number))
    try:
        server = _open(settings, stop)
    except (ArtifactError, RuntimeUnusable, RuntimeError) as error:
        print(f"lenet-serve: error: {error}", file=sys.stderr)
        return 1
    server.start()
    # Whoever started this process reads the port from this line.
    print(f"lenet-serve: ready on {_address(settings.host, server.port)}", flush=True)
    # Not one long wait: if the kernel hands the signal to a thread of gRPC or ONNX Runtime, Python runs its handler
    # when the main thread next wakes.
    while not (signals or stop.wait(SIGNAL_POLL_S)):
        pass
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)  # who asks twice does not want to wait
    log.info("stopping")
    if not server.stop():
        log.warning("cut off what was still in flight after %g s", settings.grace_s)
    log.info("stopped")
    return 1 if server.failed else 0


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def _open(settings: Settings, stop: threading.Event) -> Server:
    artifact = open_artifact(settings.model_dir)
    runtime = Runtime(artifact, provider=settings.provider, intra_op_threads=settings.intra_op_threads)
    runtime.warm_up((1, settings.max_batch_images), artifact.map_shapes)
    log.info(
        "%s version %s from %s on %s", artifact.card.name, artifact.card.version, artifact.directory, runtime.provider
    )
    return Server(settings, artifact, runtime, provider=runtime.provider, stop=stop)


def main() -> None:
    """The command `lenet-serve`."""
    app()


if __name__ == "__main__":
    main()
