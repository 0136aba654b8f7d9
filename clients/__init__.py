"""Asks a served LeNet5: needs gRPC, the contract and numpy, nothing of the server."""

from clients.client import AsyncClient, Client
from clients.errors import DeadlineExceeded, InvalidInput, LenetError, ServerError, Unavailable
from clients.messages import Classification, Evaluation, Layer, Limits, ModelDescription

__all__ = [
    "AsyncClient",
    "Classification",
    "Client",
    "DeadlineExceeded",
    "Evaluation",
    "InvalidInput",
    "Layer",
    "LenetError",
    "Limits",
    "ModelDescription",
    "ServerError",
    "Unavailable",
]
