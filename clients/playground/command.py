"""`lenet playground`: serves the page until Ctrl-C or SIGTERM, and then exits with status 0."""

import signal
import socket
import sys
from typing import Annotated

import uvicorn
from cyclopts import Parameter
from cyclopts.validators import Number

from clients.calls import DEFAULT_TARGET, DEFAULT_TIMEOUT_S
from clients.outcome import OK, REFUSED, complain, reason
from clients.playground.app import make_app

__all__ = ["playground"]

_GRACE_S = 3  # for requests in flight: each is a drawing that has been drawn over by then


def playground(
    *,
    host: Annotated[str, Parameter(env_var="LENET_PLAYGROUND_HOST")] = "127.0.0.1",
    port: Annotated[int, Parameter(env_var="LENET_PLAYGROUND_PORT", validator=Number(gte=0, lte=65535))] = 8080,
    server: Annotated[str, Parameter(env_var="LENET_SERVER")] = DEFAULT_TARGET,
    allow_name: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    timeout_s: Annotated[float, Parameter(validator=Number(gt=0))] = DEFAULT_TIMEOUT_S,
) -> int:
    """Serves a page on which to draw a digit and watch the network think.

    Parameters
    ----------
    host
        Address to listen on; 0.0.0.0 for every interface, for example to draw on a phone.
    port
        Port to listen on; 0 takes a free one, which the ready line names.
    server
        The gRPC server's address, host:port. It may come and go while the page is open.
    allow_name
        A name by which the page may be opened, besides addresses and localhost; may be repeated.
    timeout_s
        How long each call to the server may take, in seconds.
    """
    try:
        listener = _listen(host, port)
    except OSError as error:
        return complain(f"cannot listen on {_address(host, port)}: {reason(error)}", REFUSED)
    app = make_app(server, timeout_s=timeout_s, names=frozenset(name.lower() for name in allow_name))
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=_GRACE_S
    )
    web = uvicorn.Server(config)
    # uvicorn's own handlers come later than the ready line, and at the end it raises the signal again for these.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, web.handle_exit)
    # Whoever started this process reads the address from this line; what connects from now on is answered.
    print(f"lenet playground: ready on http://{_address(host, listener.getsockname()[1])}", flush=True)
    web.run(sockets=[listener])
    return OK


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=128)
    # Connections inherit it. Without it the body of a reply waits 40 ms for the browser to confirm the head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    from clients.cli import main  # which catches what ends a program early

    sys.exit(main(["playground", *sys.argv[1:]]))
