"""One form for what checks of all kinds find."""

from densekit.structures.findings import Example, Finding


def test_a_finding_of_volumes_needs_no_more_than_before():
    assert Finding("error", "case1", "words") == Finding(severity="error", case="case1", message="words", count=1)
    assert Example("here").boxes == ()
