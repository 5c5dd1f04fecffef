"""Which classes of a confusion matrix are drawn."""

import numpy as np

from densekit.visualization.shared.confusion import condense, draw_confusion


def confusion(size, *entries):
    counts = np.zeros((size, size), dtype=int)
    for row, column, count in entries:
        counts[row, column] = count
    return [*(f"c{n}" for n in range(size - 1)), "background"], counts


def test_classes_that_do_not_occur_are_not_drawn():
    given = confusion(51, (3, 3, 7), (3, 9, 2), (50, 9, 1), (9, 50, 4))
    names, counts, drawn = condense(*given, background=True)
    assert (names, drawn) == (["c3", "c9", "background"], 2)
    assert counts.tolist() == [[7, 2, 0], [0, 0, 4], [0, 1, 0]]


def test_what_is_no_class_is_drawn_whatever_there_is():
    given = confusion(5, (1, 1, 7))
    assert condense(*given, background=True)[0] == ["c1", "background"]
    names, counts, drawn = condense(*given)
    assert (names, counts.tolist(), drawn) == (["c1"], [[7]], 1)


def test_of_many_classes_the_most_mistaken_are_drawn_and_nothing_is_lost():
    everywhere = [(n, n, 5) for n in range(40)]
    names, given = confusion(41, *everywhere, (39, 38, 9), (0, 1, 3), (7, 40, 2), (40, 8, 6))
    for background, rest in ((True, 16), (False, 17)):
        shown, counts, drawn = condense(names, given, background=background)
        assert drawn == 24 and "c39" in shown and "c38" in shown
        assert counts.sum() == given.sum()
        assert counts[shown.index("c39"), shown.index("c38")] == 9
        assert f"{rest} other classes" in shown


def test_counts_or_shares_of_the_row_are_drawn():
    names, counts = confusion(4, (0, 0, 30), (0, 1, 10), (1, 1, 5))
    pictures = [draw_confusion(names, counts, percent=percent)[0] for percent in (False, True)]
    assert pictures[0].size == pictures[1].size
    assert np.asarray(pictures[0]).std() > 1 and pictures[0].tobytes() != pictures[1].tobytes()
