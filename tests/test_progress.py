"""Lines of a log about long work."""

from itertools import pairwise

import pytest

from densekit.progress import Lines


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
