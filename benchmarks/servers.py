"""The servers that are compared: what runs, in which environment, and how it is asked.

Every row is one entry here. A peer has the settings that did best on 2 cores; its own file says what was tried.
"""

from dataclasses import dataclass

from benchmarks.dialects import DIGITS, OPEN_INFERENCE, Dialect, raw_http

IN_PROCESS = ("in-process", "in-process-2")
"""The keys of the rows that are no servers."""


@dataclass(frozen=True)
class Client:
    """A Python program that asks."""

    name: str
    command: str
    """What `python -m` runs."""
    environment: str | None = None


@dataclass(frozen=True)
class Server:
    """A server of the comparison."""

    key: str
    """What `--only` calls it."""
    name: str
    command: str
    """What `python -m` runs; {port}, {model} (the file) and {model_dir} are filled in."""
    dialect: Dialect
    environment: str | None = None
    """The name of its folder and of its list of versions; None is our own environment."""
    clients: tuple[Client, ...] = ()
    """The programs that ask it as its users would."""
    has_network: bool = True
    """False for one that answers something fixed."""
    variables: tuple[tuple[str, str], ...] = ()
    """Its environment variables."""


LENET = (
    Client("AsyncClient", "benchmarks.callers.lenet"),
    Client("AsyncClient, batching off", "benchmarks.callers.lenet --no-batching"),
)
STUB = (Client("grpc.aio stub", "benchmarks.callers.stub"),)
HTTP = (Client("aiohttp", "benchmarks.callers.http", "aiohttp"),)
TRITON = (Client("tritonclient", "benchmarks.callers.triton", "mlserver"),)

ALONE = "benchmarks.peers.in_process --model {model} --digits {digits}"
LENET_SERVE = "serving.command --port {port} --model-dir {model_dir}"
RAW = raw_http("/inference")
MOSEC = raw_http("/inference", has_http2=True)


def _peer(name: str, flags: str = "") -> str:
    return f"benchmarks.peers.{name} --port {{port}} --model {{model}} {flags}"


SERVERS = (
    Server("ours", "**LeNet Lens**, one worker", LENET_SERVE, DIGITS, None, LENET),
    Server("ours-2", "**LeNet Lens**, two workers", LENET_SERVE + " --workers 2", DIGITS, None, LENET),
    Server("ordinary", "LeNet Lens without its lane", LENET_SERVE + " --no-lane", DIGITS),
    Server("echo", "echo in the same lane, no model", _peer("echo"), DIGITS, has_network=False),
    Server("aio", "grpc.aio + uvloop, one worker", _peer("aio"), DIGITS, None, STUB),
    Server("aio-2", "grpc.aio + uvloop, two workers", _peer("aio", "--workers 2"), DIGITS, None, STUB),
    Server(IN_PROCESS[0], "ONNX Runtime in process, one thread", ALONE, DIGITS),
    Server(IN_PROCESS[1], "ONNX Runtime in process, two threads", ALONE + " --threads 2", DIGITS),
    Server("mosec", "Mosec, batches", _peer("mosec"), MOSEC, "mosec", HTTP),
    Server("mosec-1", "Mosec, no batches", _peer("mosec", "--no-batch"), MOSEC, "mosec", HTTP),
    Server("fastapi", "FastAPI + uvicorn, two workers", _peer("fastapi", "--workers 2"), RAW, "fastapi", HTTP),
    Server("litserve", "LitServe", _peer("litserve", "--no-batch"), RAW, "litserve", HTTP),
    Server("bentoml", "BentoML", _peer("bentoml"), RAW, "bentoml", HTTP),
    Server("mlserver", "MLServer, gRPC", _peer("mlserver", "--no-batch"), OPEN_INFERENCE, "mlserver", TRITON),
    Server("ray", "Ray Serve, gRPC", _peer("ray"), DIGITS, "ray", STUB),
)
