"""The servers that are compared: what runs, in which environment, and how it is asked.

Every row is one entry here. A peer has the settings that did best on 2 cores; its own file says what was tried.
"""

from dataclasses import dataclass

from benchmarks.dialects import DIGITS, OPEN_INFERENCE, Dialect, raw_http

OURS = "ours"


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
    has_network: bool = True
    """False for one that answers something fixed."""
    variables: tuple[tuple[str, str], ...] = ()
    """Its environment variables."""


RAW = raw_http("/inference")
PEER = "benchmarks.peers.{name} --port {{port}} --model {{model}}"


def _peer(name: str, flags: str = "") -> str:
    return f"{PEER.format(name=name)} {flags}"


SERVERS = (
    Server(OURS, "**LeNet Lens**, one worker", "serving.server --port {port} --model-dir {model_dir}", DIGITS),
    # Server(
    #     "ours-2", "LeNet Lens, two workers",
    #     "serving.server --workers 2 --port {port} --model-dir {model_dir}", DIGITS,
    # ),
    Server("echo", "echo in the same lane, no model", _peer("echo"), DIGITS, has_network=False),
    Server(
        "ordinary",
        "LeNet Lens without its lane",
        "serving.server --no-lane --port {port} --model-dir {model_dir}",
        DIGITS,
    ),
    Server("aio", "grpc.aio + uvloop", _peer("aio"), DIGITS),
    Server(
        "in-process",
        "ONNX Runtime in process, no server",
        "benchmarks.peers.in_process --model {model} --digits {digits}",
        DIGITS,
    ),
    Server("mosec", "Mosec, batches", _peer("mosec"), RAW, "mosec"),
    Server("mosec-1", "Mosec, no batches", _peer("mosec", "--no-batch"), RAW, "mosec"),
    Server("fastapi", "FastAPI + uvicorn", _peer("fastapi"), RAW, "fastapi"),
    Server("litserve", "LitServe", _peer("litserve", "--no-batch"), RAW, "litserve"),
    Server("bentoml", "BentoML", _peer("bentoml"), RAW, "bentoml"),
    Server("mlserver", "MLServer, gRPC", _peer("mlserver", "--no-batch"), OPEN_INFERENCE, "mlserver"),
    Server("ray", "Ray Serve, gRPC", _peer("ray"), DIGITS, "ray"),
)
