"""The errors that end a command with one line, without a traceback.

    TrainingError
    |-- DataError      MNIST is missing, incomplete or damaged
    |-- RunError       a training run can't be written, read
    |-- ExportError    a trained network may not become an artifact
    `-- ReportError    a report can't be made or written

Each text says what was found, what was expected and what to do.
"""

from pathlib import Path


class TrainingError(Exception):
    """Base of this package's errors; its text is all that a user needs."""


class DataError(TrainingError):
    """Data that can't be used."""

    def __init__(self, where: Path | str, found: str, expected: str, advice: str) -> None:
        super().__init__(f"{where}: found {found}; expected {expected}; {advice}")


class RunError(TrainingError):
    """A training run that can't be written, read."""


class ExportError(TrainingError):
    """A trained network that may not become an artifact."""


class ReportError(TrainingError):
    """A report that can't be made or written."""
