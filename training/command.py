"""How this package's commands end: one place for their exit statuses and for what stderr shows.

0 done, 1 an error in one line, 2 wrong usage, 130 interrupted, 141 nobody reads stdout any more.
"""

import logging
import os
import sys
from typing import NoReturn

from cyclopts import App, CycloptsError

from training.errors import TrainingError


def run(app: App, *, interrupted: str = "nothing was written") -> NoReturn:
    """Runs the command on this process's arguments and exits with its status; says what an interruption leaves."""
    logging.basicConfig(format="%(message)s")
    name = app.name[0]
    app.suppress_keyboard_interrupt = False  # cyclopts would end without a word
    try:
        app(exit_on_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError:
        sys.exit(2)
    except TrainingError as error:
        sys.exit(f"{name}: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes when it exits
        sys.exit(141)  # what shells report of a program that SIGPIPE ended
    except KeyboardInterrupt:
        print(f"{name}: interrupted, {interrupted}", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)
