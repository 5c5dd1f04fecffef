"""The epochs of a training on images."""

import random

from densekit.datasets.shared.epochs import SeededDataset


class Drawing(list):
    def __getitem__(self, index):
        return (super().__getitem__(index), random.random())


def test_an_item_depends_on_seed_and_number_alone():
    data = SeededDataset(Drawing("abc"), seed=1)
    first = [data[n] for n in range(6)]
    assert [data[n] for n in reversed(range(6))] == first[::-1]
    assert first[0] != first[3]
    assert SeededDataset(Drawing("abc"), seed=2)[0] != first[0]


def test_the_last_epochs_see_other_items():
    data = SeededDataset(Drawing("abc"), seed=1, repeat=2, final=(Drawing("ABC"), 2))
    assert "".join(data[n][0] for n in range(18)) == "abcabcabcabcABCABC"
