"""What a command makes of failures: a line on stderr for each, and one exit status for all.

A failure is reported where it happens and remembered, instead of ending the command, so that one bad file does not
stop the others.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from clients.errors import InvalidInput, LenetError

OK, REFUSED, USAGE, NO_SERVER = 0, 1, 2, 3
INTERRUPTED, PIPE_CLOSED = 130, 141  # what shells report of a program that SIGINT or SIGPIPE ended


@dataclass
class Failures:
    """Collects the failures of one command.

    Attributes:
        status: the worst so far, as an exit status.
        last: the text of the failure of the latest attempt; None if that went well.
    """

    status: int = OK
    last: str | None = None

    @contextmanager
    def reported(self, subject: str = "") -> Iterator[None]:
        """Guards one attempt; `subject` is the file that it is about."""
        self.last = None
        try:
            yield
        except (InvalidInput, OSError, ValueError) as error:
            self._add(f"{subject}: {reason(error)}" if subject else reason(error), REFUSED)
        except LenetError as error:
            self._add(reason(error), NO_SERVER)

    def _add(self, text: str, status: int) -> None:
        self.last = text
        self.status = max(self.status, complain(text, status))


def reason(error: Exception) -> str:
    """Says what went wrong, without the file's name: that is said anyway."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def complain(text: str, status: int) -> int:
    """Says on one line of stderr what went wrong, and gives the status back."""
    print("lenet:", " ".join(text.split()), file=sys.stderr)
    return status
