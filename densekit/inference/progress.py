"""Progress of a batch of scans: a bar per scan on a terminal, plain lines in a log."""

from __future__ import annotations

import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger("densekit")


class BatchProgress:
    """Shows which case is predicted, how far its windows are, and when all will be done.

    Args:
        total: Number of cases.
    """

    def __init__(self, total: int):
        self.total = total
        self.interactive = sys.stderr.isatty()
        self.started = time.monotonic()
        self.predicted = 0
        self.number = 0
        self._bar: tqdm | None = None

    def begin(self, case_id: str) -> None:
        """A case starts."""
        self.number += 1
        self._title = f"[{self.number}/{self.total}] {case_id}"
        if self.interactive:
            self._bar = tqdm(desc=self._title, unit=" windows", file=sys.stderr, dynamic_ncols=True, leave=False)

    def windows(self, done: int, total: int) -> None:
        """Called with (windows done, windows in all) of the case."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)

    def end(self, message: str, *, predicted: bool = True) -> None:
        """The case is done; ``message`` says how. ``predicted`` is False if that took no time."""
        self.close()
        self.predicted += predicted
        left = self.total - self.number
        wait = ""
        if left and self.predicted:
            each = (time.monotonic() - self.started) / self.predicted
            wait = f" ({left} to go, about {_duration(left * each)})"
        logger.info("%s: %s%s", self._title, message, wait)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
