"""What a run found: for each server and kind of load the samples of all rounds, or the reason why there are none."""

import json
from collections import defaultdict
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.digits import WrongAnswer
from benchmarks.measuring import Sample

Samples = dict[str, dict[str, list[Sample]]]


@dataclass
class Results:
    """Samples and reasons by the key of the server, then by the name of the load."""

    samples: Samples = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    reasons: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, server: str, load: str, sample: Sample) -> None:
        """Keeps a sample."""
        self.samples[server][load].append(sample)

    def fail(self, server: str, load: str, reason: Exception) -> None:
        """Keeps the first reason why a server has no further samples."""
        self.reasons[server].setdefault(load, f"{type(reason).__name__}: {reason}".split("\n")[0][:300])

    def of(self, server: str, load: str) -> list[Sample]:
        """Gives the samples of a server under a load, one for each round; none if it failed in any of them."""
        return [] if self.reason(server, load) else self.samples[server][load]

    def reason(self, server: str, load: str) -> str | None:
        """Gives the reason why there are none."""
        return self.reasons[server].get(load)

    def is_bad(self, server: str, *, must_run: bool) -> bool:
        """True if a server gave a wrong answer; or, if it must run, if it lacks any sample."""
        reasons = self.reasons[server].values()
        return any(must_run or reason.startswith(WrongAnswer.__name__) for reason in reasons)

    def save(self, path: Path, about: dict[str, str]) -> None:
        """Writes everything, rounded to four digits, as JSON."""
        samples = {
            server: {load: [_rounded(sample) for sample in rounds] for load, rounds in loads.items()}
            for server, loads in self.samples.items()
        }
        reasons = {server: loads for server, loads in self.reasons.items() if loads}
        path.write_text(json.dumps({"about": about, "samples": samples, "reasons": reasons}, indent=1) + "\n")


def _rounded(sample: Sample) -> dict[str, float]:
    return {name: float(f"{value:.4g}") for name, value in asdict(sample).items()}
