"""Progress of long work: bars on a terminal, and lines in a log that are neither silent nor many."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

logger = logging.getLogger("densekit")

T = TypeVar("T")


FIRST, SHORTEST, LONGEST = 10.0, 30.0, 300.0
"""Seconds until the first line about some work; at least between two lines; and at most."""

SHARE = 0.1
"""Of the work between two lines, unless that takes longer than ``LONGEST``."""


class Lines:
    """Now and then a line about one piece of work: how far it is, and when it will be done.

    Work of less than ten seconds is done without a word.

    Args:
        tell: Takes a line.
        clock: Gives seconds.
    """

    def __init__(self, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self.tell, self.clock = tell, clock
        self.started = clock()
        self._told, self._share = None, 0.0

    def __call__(self, done: float, total: float, words: str) -> None:
        """To be called after each small part of the work.

        Args:
            done: Of ``total``, in any unit.
            total: All of it.
            words: What is done of what, "window 3 of 80".
        """
        now, share = self.clock(), done / total
        if self._told is None:
            due = now - self.started >= FIRST
        else:
            since = now - self._told
            due = since >= LONGEST or (since >= SHORTEST and share - self._share >= SHARE)
        if due and 0 < share < 1:
            self._told, self._share = now, share
            left = (now - self.started) * (1 - share) / share
            self.tell(f"{words} ({share:.0%}), about {_duration(left)} left")


def told(results: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Hand on results as they are made, with a line now and then.

    Args:
        results: Made one by one.
        total: How many there will be.
        what: What is done with them, "headers read".
    """
    lines = Lines(logger.info)
    for done, result in enumerate(results, start=1):
        lines(done, total, f"{done} of {total} {what}")
        yield result


class Counter:
    """How many of some items are done, to be called before each: a bar on a terminal, now and then a line in a log.

    Args:
        unit: What they are, "images".
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._lines, self._bar = Lines(logger.info), None

    def __call__(self, item: str, done: int, total: int) -> None:
        """``done`` of ``total`` items are done, ``item`` is next."""
        if not sys.stderr.isatty():
            self._lines(done, total, f"{done} of {total} {self.unit} done, now {item}")
            return
        self._bar = self._bar or tqdm(total=total, unit=f" {self.unit}", dynamic_ncols=True, leave=False)
        self._bar.set_postfix_str(item, refresh=False)
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()


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
        self._lines = Lines(logger.info)

    def windows(self, done: int, total: int) -> None:
        """Called with (windows done, windows in all) of the case."""
        if self._bar is not None:
            self._bar.total = total
            self._bar.update(done - self._bar.n)
        else:
            self._lines(done, total, f"{self._title}: window {done} of {total}")

    def end(self, message: str, *, predicted: bool = True, failed: bool = False) -> None:
        """The case is done; ``message`` says how. ``predicted`` is False if that took no time."""
        del failed  # every message is shown
        self.close()
        self.predicted += predicted
        logger.info("%s: %s%s", self._title, message, self._wait())

    def _wait(self) -> str:
        """How long the rest will take, once something is known of it."""
        left = self.total - self.number
        if not left or not self.predicted:
            return ""
        each = (time.monotonic() - self.started) / self.predicted
        return f" ({left} to go, about {_duration(left * each)})"

    def close(self) -> None:
        """Take the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ManyProgress(BatchProgress):
    """For cases of a fraction of a second: one bar over all of them on a terminal, now and then a line in a log.

    Failures are always told.

    Args:
        total: Number of cases.
        seconds: Between two lines.
    """

    def __init__(self, total: int, *, seconds: float = 10.0):
        super().__init__(total)
        self.seconds = seconds
        self._told = self.started
        self._lines = Lines(logger.info)

    def begin(self, case_id: str) -> None:
        """A case starts."""
        self.number += 1
        self._title = f"[{self.number}/{self.total}] {case_id}"
        self._lines = Lines(logger.info)
        if self.interactive and self._bar is None:
            self._bar = tqdm(total=self.total, unit=" files", file=sys.stderr, dynamic_ncols=True, leave=False)

    def windows(self, done: int, total: int) -> None:
        """Called with (frames done, frames in all) of a video; 0 in all if that is not known."""
        message = f"frame {done}" + f" of {total}" * bool(total)
        if self._bar is not None:
            self._bar.set_postfix_str(message)
        elif self._is_due():
            logger.info("%s: %s", self._title, message)

    def tiles(self, done: int, total: int) -> None:
        """Called with (tiles done, tiles in all) of a large image."""
        message = f"tile {done} of {total}"
        if self._bar is not None:
            self._bar.set_postfix_str(message)
        else:
            self._lines(done, total, f"{self._title}: {message}")

    def end(self, message: str, *, predicted: bool = True, failed: bool = False) -> None:
        """The case is done; ``message`` says how, ``failed`` that it has no result."""
        self.predicted += predicted
        last = self.number == self.total
        if self._bar is not None:
            if failed:
                self._bar.clear()
                logger.info("%s: %s", self._title, message)
            self._bar.set_postfix_str("", refresh=False)
            self._bar.update()
        elif failed or last or self._is_due():
            logger.info("%s: %s%s", self._title, message, self._wait())

    def _is_due(self) -> bool:
        now = time.monotonic()
        due = now - self._told >= self.seconds
        if due:
            self._told = now
        return due


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
