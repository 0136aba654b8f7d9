"""Asks a server whether it is ready to serve, by the standard protocol that container platforms ask by too.

Apart from the client, because it needs a package that the client does not: grpcio-health-checking.
"""

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from clients.calls import grpc_timeout
from clients.errors import failures_of

__all__ = ["check"]


def check(target: str, *, timeout_s: float) -> str:
    """Gives the server's own word on its state: SERVING, NOT_SERVING or UNKNOWN. Tries once.

    Raises:
        LenetError: the server could not be asked.
    """
    with failures_of(target), grpc.insecure_channel(target) as channel:
        ask = health_pb2_grpc.HealthStub(channel).Check
        reply = ask(health_pb2.HealthCheckRequest(), timeout=grpc_timeout(timeout_s))
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))
