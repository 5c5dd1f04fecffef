"""Folds: by patient, an even share of every tag, the same for the same seed."""

import random

import pytest

from densekit.datasets.shared.folds import make_folds
from densekit.errors import ConfigError


def data_set(patients=30, seed=0):
    """Patients of 1 to 3 cases; every tenth patient has a rare tag, a third another one, all have a common one."""
    rng = random.Random(seed)
    of, tags = {}, {}
    for patient in range(patients):
        for scan in range(rng.randint(1, 3)):
            case = f"c{patient:02d}-{scan}"
            of[case] = f"p{patient:02d}"
            tags[case] = {"common", *(["rare"] if patient % 10 == 0 else []), *(["third"] if patient % 3 == 0 else [])}
    return of, tags


def test_every_case_validates_once_and_no_patient_is_on_both_sides():
    patients, tags = data_set()
    folds = make_folds(patients, tags, 5, seed=1)
    assert len(folds) == 5
    assert sorted(case for fold in folds for case in fold["val"]) == sorted(patients)
    for fold in folds:
        assert sorted(fold["train"] + fold["val"]) == sorted(patients)
        assert not {patients[c] for c in fold["train"]} & {patients[c] for c in fold["val"]}


@pytest.mark.parametrize("seed", range(5))
def test_each_fold_has_its_share_of_tags_and_cases(seed):
    patients, tags = data_set(seed=seed)
    folds = make_folds(patients, tags, 3, seed=seed)
    for tag, share in (("rare", 1), ("third", 10 / 3), ("common", 10)):
        for fold in folds:
            having = {patients[case] for case in fold["val"] if tag in tags[case]}
            assert abs(len(having) - share) < 1.01, tag
    sizes = [len(fold["val"]) for fold in folds]
    assert max(sizes) - min(sizes) <= 3  # patients have up to three cases


def test_the_seed_decides_and_the_order_does_not():
    patients, tags = data_set()
    folds = make_folds(patients, tags, 4, seed=2)
    turned = dict(reversed(patients.items()))
    assert make_folds(turned, tags, 4, seed=2) == folds
    assert make_folds(patients, tags, 4, seed=3) != folds


def test_without_tags_folds_are_of_equal_size():
    folds = make_folds({f"c{n}": f"c{n}" for n in range(11)}, {}, 4, seed=0)
    assert sorted(len(fold["val"]) for fold in folds) == [2, 3, 3, 3]


@pytest.mark.parametrize(
    ("number", "message"),
    [(1, "folds=1: expected a whole number of at least 2"), (4, "folds=4: there are 3 patients to train")],
)
def test_numbers_that_cannot_be(number, message):
    with pytest.raises(ConfigError, match=message):
        make_folds({"a1": "a", "a2": "a", "b": "b", "c": "c"}, {}, number, seed=0)
