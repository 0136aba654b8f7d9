"""The server's settings: each field is a flag, an environment variable and a line of `--help`, from this definition.

`max_request_bytes` becomes `--max-request-bytes` and `LENET_MAX_REQUEST_BYTES`; a flag wins over the environment.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter
from cyclopts.validators import Number

Provider = Literal["auto", "cpu", "cuda"]
Workers = Annotated[int, Parameter(validator=Number(gte=1))] | Literal["auto"]
LogLevel = Literal["debug", "info", "warning", "error"]
Count = Annotated[int, Parameter(validator=Number(gte=1))]
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65535))]
Seconds = Annotated[float, Parameter(validator=Number(gte=0, lte=3600))]
# A reply needs room for the probabilities of one image, a request for its pixels.
Bytes = Annotated[int, Parameter(validator=Number(gte=4096, lte=2**31 - 1))]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an operator may choose."""

    model_dir: Path = Path("models/lenet5")
    """Model directory: one that holds versions (the highest whole number is served), or one version."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 for every interface."""

    port: Port = 50051
    """Port to listen on; 0 takes a free one, which the ready line names."""

    provider: Provider = "auto"
    """Where the model runs: auto takes CUDA if it works, else the CPU; cuda exits if CUDA cannot be used."""

    workers: Workers = 1
    """Server processes on the port, each with limits of its own; auto takes one for each core that may be used."""

    intra_op_threads: Count = 1
    """Threads of ONNX Runtime for one run of the model."""

    lane: bool = True
    """Answer Classify in the fast lane; without it, by grpcio's ordinary and slower handler."""

    max_batch_images: Count = 32
    """Images of waiting calls that the lane answers in one run of the model; larger calls run alone."""

    max_waiting: Count = 1024
    """Classify calls in the fast lane that may be unanswered at one time; more are refused with UNAVAILABLE."""

    pool_threads: Count = 2
    """Threads for pictures, feature maps, large calls and streams."""

    max_pool_waiting: Count = 64
    """Calls that may wait for a thread of the pool; more are refused with UNAVAILABLE."""

    max_streams: Count = 16
    """ClassifyStream calls that may be open at one time; more are refused with UNAVAILABLE."""

    max_images: Count = 1024
    """Images in one request."""

    max_request_bytes: Bytes = 4 * 2**20
    """Bytes of one request message; a larger one is refused with RESOURCE_EXHAUSTED."""

    max_reply_bytes: Bytes = 4 * 2**20
    """Bytes of one reply message; feature maps that would not fit are refused before the model runs."""

    max_image_pixels: Count = 16_000_000
    """Pixels of one encoded image."""

    reflection: bool = True
    """Let tools such as grpcurl discover the contract from the server."""

    drain_delay_s: Seconds = 0.5
    """Time after SIGTERM in which health says NOT_SERVING while new calls are still answered."""

    grace_s: Seconds = 10.0
    """Time after that in which calls in flight may finish before they are cut off."""

    log_level: LogLevel = "info"
    """The least severe message that is logged to standard error."""


def address(host: str, port: int) -> str:
    """Host and port in one, with brackets for an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"
