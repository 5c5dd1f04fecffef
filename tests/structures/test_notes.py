"""Notes that change what a result means are told apart by their beginning, and counted where there are many."""

from densekit.structures.notes import CAUTION, SUSPICIOUS, few_of_each, weighs


def test_the_beginning_says_whether_a_note_weighs():
    assert [weighs(note) for note in (f"{SUSPICIOUS}a", f"{CAUTION}b", f"c {CAUTION}", "d")] == [
        True,
        True,
        False,
        False,
    ]


def test_five_cases_of_a_kind_are_told_and_the_others_counted():
    spacing = [(f"case{n}", f"{CAUTION}voxels of {n}.5 mm") for n in range(17)]
    lines = few_of_each([*spacing, ("last", f"{CAUTION}no orientation")])
    assert lines == [
        *(f"case{n}: caution: voxels of {n}.5 mm" for n in range(5)),
        "and 12 more like this: see the report",
        "last: caution: no orientation",
    ]
    assert few_of_each(spacing[:5]) == lines[:5]
