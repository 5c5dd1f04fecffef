"""Signals that ask a run to stop: the first is noted, the second stops at once, and handlers are put back."""

import os
import signal
import threading

import pytest

from densekit import stopping
from densekit.stopping import Stopped, asked_to_stop, stop_if_asked, stopping_at_once, stopping_softly


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 128 + signal.SIGUSR1)]
)
def test_the_first_signal_is_noted_and_said(number, code):
    told = []
    with stopping_softly(told.append):
        stop_if_asked()
        send(number)
        assert asked_to_stop() == number
        assert len(told) == 1
        with pytest.raises(Stopped, match=r"stopped by .* in a test") as stopped:
            stop_if_asked(" in a test")
    assert stopped.value.exit_code == code
    assert asked_to_stop() is None


def test_the_second_signal_stops_at_once(monkeypatch):
    monkeypatch.setattr(stopping, "ONE_PRESS", -1)
    with pytest.raises(Stopped, match="at once"), stopping_softly(lambda line: None):
        send(signal.SIGTERM)
        send(signal.SIGINT)


def test_two_signals_of_one_press_are_one(monkeypatch):
    monkeypatch.setattr(stopping, "ONE_PRESS", 1e9)
    with stopping_softly(lambda line: None):
        send(signal.SIGINT)
        send(signal.SIGINT)
        assert asked_to_stop() == signal.SIGINT


def test_handlers_are_put_back():
    before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
    with stopping_softly(lambda line: None):
        assert all(signal.getsignal(number) != handler for number, handler in before.items())
    assert {number: signal.getsignal(number) for number in stopping.SIGNALS} == before


def test_another_thread_than_the_main_one_changes_nothing():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with stopping_softly(lambda line: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_nothing_is_lost_one_signal_ends_the_work(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match="stopped by") as stopped, stopping_at_once():
        send(number)
    assert stopped.value.exit_code == 128 + number
    assert signal.getsignal(number) is before


def test_within_work_that_ends_at_once_training_still_stops_softly():
    with stopping_at_once():
        with stopping_softly(lambda line: None):
            send(signal.SIGTERM)
            assert asked_to_stop() == signal.SIGTERM
        with pytest.raises(Stopped):
            send(signal.SIGTERM)
