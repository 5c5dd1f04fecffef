"""Lines of a log about long work."""

from itertools import pairwise

import pytest

from densekit import progress
from densekit.progress import Counter, Lines


@pytest.fixture
def told():
    """Function that goes through work of some steps of equal length, and gives the lines with their seconds."""

    def run(steps, seconds):
        now, lines = 0.0, []
        tell = Lines(lambda line: lines.append((now, line)), clock=lambda: now)
        for done in range(1, steps + 1):
            now += seconds
            tell(done, steps, f"window {done} of {steps}")
        return lines

    return run


def test_results_are_handed_on_with_a_line_now_and_then(monkeypatch, caplog):
    caplog.set_level("INFO", logger="densekit")
    assert list(progress.told(iter("abc"), 3, "letters read")) == ["a", "b", "c"]
    assert not caplog.messages
    monkeypatch.setattr(progress, "FIRST", 0)
    assert list(progress.told(iter("abc"), 3, "letters read")) == ["a", "b", "c"]
    assert [message.partition(" (")[0] for message in caplog.messages] == ["1 of 3 letters read"]


def test_short_work_is_done_without_a_word(told):
    assert told(90, 0.1) == []


def test_a_line_says_what_is_done_and_when_all_will_be(told):
    assert told(4, 12.0)[0] == (12.0, "window 1 of 4 (25%), about 36 s left")


def test_lines_are_half_a_minute_and_a_tenth_apart_or_five_minutes(told):
    minutes = told(120, 1.0)  # a tenth is 12 s
    assert [at for at, _ in minutes] == [10, 40, 70, 100]
    hour = told(3600, 1.0)  # a tenth is 6 minutes
    assert [at for at, _ in hour] == [10, *range(310, 3600, 300)]
    quarter = [at for at, _ in told(900, 1.0)]  # a tenth is 90 s
    assert len(quarter) == 10
    assert all(90 <= later - at <= 91 for at, later in pairwise(quarter))


def test_the_end_is_told_by_who_does_the_work(told):
    assert told(1, 100.0) == []


def test_items_are_counted_in_a_log_not_listed(monkeypatch, caplog, capsys):
    monkeypatch.setattr(progress, "FIRST", 0)
    caplog.set_level("INFO", logger="densekit")
    count = Counter("cases")
    for done, item in enumerate("abc"):
        count(item, done, 3)
    count.close()
    assert [record.message.partition(" (")[0] for record in caplog.records] == ["1 of 3 cases done, now b"]
    assert capsys.readouterr().err == ""


def test_items_are_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    count = Counter("cases")
    count("a", 0, 3)
    count("b", 1, 3)
    count.close()
    assert "0/3" in capsys.readouterr().err
