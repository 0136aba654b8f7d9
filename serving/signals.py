"""How a process hears that it should stop."""

import multiprocessing
import signal

POLL_S = 0.1
"""How often to ask. If the kernel hands a signal to a thread of gRPC or ONNX Runtime, Python runs its handler when the
main thread next wakes, so the main thread never waits long."""


class Told:
    """Knows whether a signal, or the end of the process that started this one, asks it to stop."""

    def __init__(self, *numbers: signal.Signals, hasty: bool = True) -> None:
        """Listens to these signals from now on; `hasty` if a second one may end the process in the middle of a stop."""
        self._numbers, self._hasty = numbers, hasty
        # A list, because a handler may interrupt anything and so must not want a lock.
        self._received: list[int] = []
        for number in numbers:
            signal.signal(number, lambda number, _: self._received.append(number))
        self._parent = multiprocessing.parent_process()

    def to_stop(self) -> bool:
        """True from the first signal on."""
        return bool(self._received) or (self._parent is not None and not self._parent.is_alive())

    def twice(self) -> bool:
        """True from the second signal on: who asks twice does not want to wait."""
        return len(self._received) > 1

    def stopping(self) -> None:
        """From now on the next signal ends a hasty process."""
        for number in self._numbers if self._hasty else ():
            signal.signal(number, signal.SIG_DFL)
