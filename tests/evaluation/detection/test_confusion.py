"""Which class is taken for which."""

import numpy as np
import pytest

from densekit.evaluation.detection import confusion_matrix


def test_rows_are_what_it_is_columns_what_it_was_taken_for(one_of_each):
    confusion = confusion_matrix(*one_of_each, threshold=0.1)
    assert confusion.names == ("cat", "dog", "background")
    # Cats: one found, one not (badly placed); dogs: one taken for a cat, two not found. Where there is nothing: the
    # duplicate, the badly placed, the one of both errors, the background.
    assert confusion.counts.tolist() == [[1, 0, 1], [1, 0, 2], [4, 0, 0]]
    assert confusion.pairs() == [("dog", "cat", 1, pytest.approx(1 / 3))]
    assert confusion.shares()[1].tolist() == pytest.approx([1 / 3, 0, 2 / 3])


def test_threshold_leaves_out_weaker_detections(one_of_each):
    assert confusion_matrix(*one_of_each, threshold=0.7).counts.tolist() == [[1, 0, 1], [0, 0, 3], [2, 0, 0]]
    assert confusion_matrix(*one_of_each, threshold=0.95).counts.tolist() == [[0, 0, 2], [0, 0, 3], [0, 0, 0]]


def test_threshold_is_chosen_where_F1_is_best(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20]), (1, 1, [50, 0, 20, 20])])
    rows = found((1, 0, [0, 0, 20, 20], 0.9), (1, 1, [50, 0, 20, 20], 0.6), (1, 0, [100, 100, 20, 20], 0.5))
    confusion = confusion_matrix(truth, rows)
    assert confusion.threshold == 0.6
    assert confusion.counts.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_own_class_goes_first_even_with_a_lower_score(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20])])
    rows = found((1, 1, [0, 0, 20, 20], 0.9), (1, 0, [0, 2, 20, 20], 0.5))
    assert confusion_matrix(truth, rows, threshold=0).counts.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_an_object_is_taken_for_one_class_only(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20])], ("cat", "dog", "cow"))
    rows = found((1, 1, [0, 0, 20, 20], 0.5), (1, 2, [0, 2, 20, 20], 0.9))
    counts = confusion_matrix(truth, rows, threshold=0).counts
    assert counts.tolist() == [[0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]


def test_crowds_do_not_count(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 100, 100], {"iscrowd": 1})])
    rows = found((1, 0, [10, 10, 20, 20], 0.9), (1, 1, [10, 10, 20, 20], 0.8))
    assert confusion_matrix(truth, rows, threshold=0).counts.tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("seed", range(5))
def test_every_object_is_in_one_row(random_set, seed):
    truth, rows = random_set(seed)
    confusion = confusion_matrix(truth, rows, threshold=0.2)
    objects = np.zeros(len(truth["categories"]))
    ids = sorted(category["id"] for category in truth["categories"])
    for annotation in truth["annotations"]:
        objects[ids.index(annotation["category_id"])] += not annotation["iscrowd"]
    assert confusion.counts[:-1].sum(axis=1).tolist() == objects.tolist()


def test_no_detections(coco):
    confusion = confusion_matrix(coco([1], [(1, 0, [0, 0, 20, 20])]), [])
    assert (confusion.threshold, confusion.counts.tolist()) == (0, [[0, 0, 1], [0, 0, 0], [0, 0, 0]])
    assert confusion.pairs() == []
