"""No server at all: ONNX Runtime in a loop, the most that one core of this machine, or all, have to give.

As many calls as there are callers are run together, which is what a batcher without any cost of its own would do.
Prints one JSON object; a run that gives other numbers than the file of digits ends it with an error.
"""

import argparse
import json
import time

import numpy as np
import psutil

from benchmarks.peers.network import Network

TOLERANCE = 1e-4
WARM_UP_RUNS = 20


def measure(network: Network, digits: str, callers: int, images: int, seconds: float) -> dict[str, float]:
    """Runs for so long; gives what a measurement of a server would."""
    with np.load(digits) as file:
        order = np.arange(callers * images) % len(file["images"])
        asked, answers = file["images"][order], file["answers"][order]
    for _ in range(WARM_UP_RUNS):
        network.run(asked)
    durations = []
    cpu_before, began = time.process_time(), time.perf_counter()
    while time.perf_counter() < began + seconds:
        start = time.perf_counter()
        found = network.run(asked)
        durations.append(time.perf_counter() - start)
        assert np.abs(found - answers).max() <= TOLERANCE
    took, cpu_s = time.perf_counter() - began, time.process_time() - cpu_before
    calls = callers * len(durations)
    p50, p99 = np.percentile(durations, [50, 99]) * 1000
    return {
        "requests_per_s": calls / took,
        "images_per_s": calls * images / took,
        "p50_ms": float(p50),
        "p99_ms": float(p99),
        "server_cpu_s": cpu_s / (calls * images) * 1000,
        "load_cpu_s": 0.0,
        "rss_mb": psutil.Process().memory_info().rss / 1e6,
    }


def main() -> None:
    """Measures what the command line says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--digits", required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--callers", type=int, required=True)
    parser.add_argument("--images", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    print(
        json.dumps(
            measure(Network(given.model, given.threads), given.digits, given.callers, given.images, given.seconds)
        )
    )


if __name__ == "__main__":
    main()
