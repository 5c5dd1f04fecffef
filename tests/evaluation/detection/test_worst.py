"""The images with most errors, and what is said of them."""

import pytest

from densekit.errors import ConfigError
from densekit.evaluation.detection import worst_images


def test_what_is_wrong_is_said_by_kind(one_of_each):
    (image,) = worst_images(*one_of_each, threshold=0.1)
    assert (image.image_id, image.file) == (1, "1.png")
    assert image.unfound.tolist() == [False, True, True, True, True]
    assert image.false.tolist() == [False, True, True, True, True, True]  # the best first
    assert image.cost == pytest.approx(4 + 0.8 + 0.7 + 0.6 + 0.5 + 0.4)
    assert set(image.wrong) == {
        "missed: 2 dog",
        "badly placed: cat 0.70 (IoU 0.33)",
        "wrong class: dog taken for cat 0.60",
        "wrong class and badly placed: cat 0.50",
        "found twice: cat 0.80",
        "nothing there: cat 0.40",
    }
    assert image.wrong[0] == "missed: 2 dog"  # most errors first
    assert len(image.objects) == 5 and len(image.detections) == 6


def test_images_are_ranked_by_missed_objects_and_confident_errors(coco, found):
    truth = coco([1, 2, 3, 4], [(1, 0, [0, 0, 20, 20]), (3, 0, [0, 0, 20, 20]), (3, 0, [50, 0, 20, 20])])
    rows = found(
        (1, 0, [0, 0, 20, 20], 0.9),  # image 1 is right
        (2, 0, [0, 0, 20, 20], 0.6),  # image 2 has one error
        (3, 0, [0, 0, 20, 20], 0.9),  # image 3 misses one
        (4, 0, [0, 0, 20, 20], 0.7),
        (4, 0, [50, 0, 20, 20], 0.2),  # below the threshold
        (4, 0, [100, 0, 20, 20], 0.6),
    )
    worst = worst_images(truth, rows, threshold=0.5)
    assert [(image.image_id, round(image.cost, 6)) for image in worst] == [(4, 1.3), (3, 1.0), (2, 0.6)]
    assert [image.image_id for image in worst_images(truth, rows, threshold=0.5, number=1)] == [4]


def test_an_object_found_only_below_the_threshold_is_missed(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20])])
    (image,) = worst_images(truth, found((1, 0, [0, 0, 20, 20], 0.3)), threshold=0.5)
    assert image.wrong == ("missed: cat",) and len(image.detections) == 0


def test_many_errors_of_a_kind_are_counted(coco, found):
    names = [f"kind {n}" for n in range(8)]
    truth = coco([1], [(1, n % 8, [20 * n, 0, 10, 10]) for n in range(9)], names)
    rows = found(*((1, n % 2, [20 * n, 100, 10, 10], 0.9) for n in range(5)))
    (image,) = worst_images(truth, rows, threshold=0)
    assert image.wrong == (
        "missed: 2 kind 0, kind 1, kind 2, kind 3, kind 4, kind 5 and 2 more",
        "nothing there: 3 kind 0, 2 kind 1",
    )


def test_without_errors_there_is_nothing_to_show(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20]), (1, 0, [50, 50, 60, 60], {"iscrowd": 1})])
    assert worst_images(truth, found((1, 0, [0, 0, 20, 20], 0.9))) == []


def test_no_images_cannot_be_asked_for(one_of_each):
    with pytest.raises(ConfigError, match="number=0"):
        worst_images(*one_of_each, number=0)
