"""`lenet-serve`: reads the settings, and serves in this process or in several."""

import logging
import signal
import sys

import cyclopts

from serving.settings import Settings
from serving.signals import Told

app = cyclopts.App(
    name="lenet-serve",
    help="Serve a LeNet5 over gRPC. Exit status: 0 after a clean stop, 1 if it cannot serve, 2 for wrong usage.",
    config=cyclopts.config.Env("LENET_", command=False),
)


@app.default
def serve(settings: Settings = Settings()) -> int:
    """Serves until SIGTERM or SIGINT, and returns the exit status."""
    start_log(settings)
    told = Told(signal.SIGTERM, signal.SIGINT)
    if settings.workers == 1:
        from serving import server  # which takes long to import, and which a supervisor can do without

        return server.serve(settings, told, announce)
    from serving import workers

    return workers.supervise(settings, told, announce)


def announce(address: str) -> None:
    """Says that calls are answered; whoever started this process reads the port from this line."""
    print(f"lenet-serve: ready on {address}", flush=True)


def start_log(settings: Settings) -> None:
    """Logs to standard error from now on."""
    process = "" if settings.workers == 1 else "%(process)d "
    form = f"%(asctime)s {process}%(levelname)s %(message)s"
    logging.basicConfig(level=settings.log_level.upper(), stream=sys.stderr, format=form)


def main() -> None:
    """The command `lenet-serve`."""
    app()


if __name__ == "__main__":
    main()
