"""Ctrl-C and the signals of job schedulers: a training stops where it can go on from, at the second one at once."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

SIGNALS = {
    getattr(signal, name): said
    for name, said in (("SIGINT", "Ctrl-C"), ("SIGTERM", "SIGTERM"), ("SIGUSR1", "SIGUSR1"))
    if hasattr(signal, name)
}
"""What asks a run to stop: a person, a scheduler that ends a job, and one that says so beforehand."""

ONE_PRESS = 1.0
"""Seconds within which signals count as one: a terminal and a launcher may both pass on the same Ctrl-C."""

_asked: int | None = None


class Stopped(KeyboardInterrupt):
    """A run ended by a signal.

    Args:
        number: Of the signal.
        where: How far the run is, in words.
        folder: The run's, if it can be continued from there.

    Attributes:
        exit_code: 128 + the signal's number, as a shell has it: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, number: int, where: str = "", folder: Path | None = None) -> None:
        super().__init__(f"stopped by {SIGNALS[number]}{where}")
        self.number, self.folder, self.exit_code = number, folder, 128 + number


def asked_to_stop() -> int | None:
    """The signal by which this process was asked to stop, if it was."""
    return _asked


def stop_if_asked(where: str = "") -> None:
    """To be called where nothing is lost by stopping.

    Args:
        where: Where that is, in words.

    Raises:
        Stopped: if the process was asked to.
    """
    if _asked is not None:
        raise Stopped(_asked, where)


@contextmanager
def _heard_by(hear: Callable[[int, object], None]) -> Iterator[None]:
    """Outside the main thread, where Python takes no signals, nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stopping_softly(tell: Callable[[str], None]) -> Iterator[None]:
    """Note the first signal for :func:`asked_to_stop`; the second one stops at once.

    Outside the main thread, where Python takes no signals, nothing changes.

    Args:
        tell: Told that the signal has been heard.

    Raises:
        Stopped: at the second signal.
    """
    global _asked
    heard = 0.0

    def hear(number: int, frame: object) -> None:
        global _asked
        nonlocal heard
        now = time.monotonic()
        if _asked is None:
            _asked, heard = number, now
            tell(f"{SIGNALS[number]}: stopping as soon as nothing is lost by it; once more stops at once")
        elif now - heard > ONE_PRESS:
            raise Stopped(number, " at once")

    try:
        with _heard_by(hear):
            yield
    finally:
        if heard:
            _asked = None


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Outside of :func:`stopping_softly`, where there is nothing yet to go on from, a signal ends the work in order.

    Outside the main thread nothing changes.

    Raises:
        Stopped: at the first signal.
    """

    def hear(number: int, frame: object) -> None:
        raise Stopped(number)

    with _heard_by(hear):
        yield


def leave_signals_to_parent() -> None:
    """For data processes: a terminal and a scheduler signal the whole group, and the step at hand needs its samples.

    Of SIGTERM only the parent's counts, with which torch ends them.
    """
    for number in SIGNALS.keys() - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
        pass
    os._exit(0)
