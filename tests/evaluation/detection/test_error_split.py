"""Errors by kind, and what each costs, with answers worked out by hand."""

import hotcoco
import numpy as np
import pytest

from densekit.errors import ConfigError
from densekit.evaluation.detection import error_split, evaluate
from densekit.evaluation.detection.error_split import KINDS


def area(*steps):
    """Mean over 101 recalls of a precision that falls in steps: (up to recall, precision)."""
    values = [next((p for recall, p in steps if r <= recall + 1e-12), 0.0) for r in np.linspace(0, 1, 101)]
    return float(np.mean(values))


def test_each_kind_of_error_is_counted_once(one_of_each):
    split = error_split(*one_of_each)
    # The dog that is a cat elsewhere is missed as well: an error of both class and place covers no object.
    assert split.counts == {**dict.fromkeys(KINDS, 1), "missed": 2}


def test_each_fix_gains_what_it_must(one_of_each):
    split = error_split(*one_of_each)
    # Cats: 2 to find; in order of score hit, duplicate, localisation, classification, both, background. Dogs: 3, none.
    before = area((0.5, 1.0)) / 2
    assert pytest.approx(before) == split.AP50
    cats = {
        "duplicate": area((0.5, 1.0)),
        "both": area((0.5, 1.0)),
        "background": area((0.5, 1.0)),
        "localisation": area((0.5, 1.0), (1.0, 2 / 3)),
        "classification": area((0.5, 1.0)),
        "missed": area((0.5, 1.0)),
    }
    # The dog found as a cat becomes the first of three; with two dogs not asked for one is left, and nothing finds it.
    dogs = dict.fromkeys(KINDS, 0.0) | {"classification": area((1 / 3, 1.0))}
    for kind in KINDS:
        assert split.dAP[kind] == pytest.approx((cats[kind] + dogs[kind]) / 2 - before, abs=1e-12), kind
    assert split.worst == "classification"


def test_precision_is_gained_where_false_positives_go(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20]), (1, 0, [50, 0, 20, 20])], ["cat"])
    rows = found((1, 0, [100, 100, 20, 20], 0.9), (1, 0, [0, 0, 20, 20], 0.8), (1, 0, [0, 1, 20, 20], 0.7))
    rows += found((1, 0, [50, 0, 20, 20], 0.6))
    split = error_split(truth, rows)
    assert pytest.approx(area((1.0, 2 / 4))) == split.AP50
    assert split.dAP["background"] == pytest.approx(area((0.5, 1.0), (1.0, 2 / 3)) - split.AP50)
    assert split.dAP["duplicate"] == pytest.approx(area((1.0, 2 / 3)) - split.AP50)
    assert split.counts["background"] == split.counts["duplicate"] == 1
    assert split.worst == "background"


def test_missed_objects_are_not_asked_for_once_put_right(coco, found):
    truth = coco([1, 2], [(1, 0, [0, 0, 20, 20]), (2, 0, [0, 0, 20, 20])], ["cat"])
    split = error_split(truth, found((1, 0, [0, 0, 20, 20], 0.9)))
    assert split.counts["missed"] == 1
    assert pytest.approx(area((0.5, 1.0))) == split.AP50
    assert split.dAP["missed"] == pytest.approx(1 - split.AP50)


def test_of_several_errors_about_one_object_one_becomes_a_hit(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20])], ["cat"])
    rows = found(*((1, 0, [x, 0, 20, 20], score) for x, score in ((10, 0.5), (11, 0.9), (12, 0.7))))
    split = error_split(truth, rows)
    assert split.counts == {**dict.fromkeys(KINDS, 0), "localisation": 3}  # and the object is not missed besides
    assert split.dAP["localisation"] == pytest.approx(1)


def test_an_error_about_an_object_that_is_found_vanishes(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20])], ["cat"])
    rows = found((1, 0, [10, 0, 20, 20], 0.9), (1, 0, [0, 0, 20, 20], 0.5))
    split = error_split(truth, rows)
    assert (split.AP50, split.dAP["localisation"]) == (pytest.approx(0.5), pytest.approx(0.5))


def test_an_error_about_an_object_that_is_found_is_no_second_hit(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20]), (1, 0, [50, 0, 20, 20])], ["cat"])
    rows = found((1, 0, [0, 0, 20, 20], 0.9), (1, 0, [10, 0, 20, 20], 0.8), (1, 0, [100, 100, 20, 20], 0.7))
    rows += found((1, 0, [50, 0, 20, 20], 0.6))
    split = error_split(truth, rows)
    assert split.dAP["localisation"] == pytest.approx(area((0.5, 1.0), (1.0, 2 / 3)) - area((0.5, 1.0), (1.0, 2 / 4)))


def test_limits_are_those_of_the_paper(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 100, 10])], ["cat", "dog"])

    def kind(label, width):
        counts = error_split(truth, found((1, label, [0, 0, width, 10], 0.9))).counts
        return [name for name in KINDS[:-1] if counts[name]]

    assert (kind(0, 50), kind(0, 49), kind(0, 10), kind(0, 9)) == (
        [],
        ["localisation"],
        ["localisation"],
        ["background"],
    )
    assert (kind(1, 50), kind(1, 49), kind(1, 10), kind(1, 9)) == (
        ["classification"],
        ["both"],
        ["both"],
        ["background"],
    )


def test_detections_on_crowds_are_no_errors(coco, found):
    truth = coco([1], [(1, 0, [0, 0, 20, 20]), (1, 0, [50, 50, 100, 100], {"iscrowd": 1})])
    rows = found((1, 0, [60, 60, 20, 20], 0.9), (1, 0, [90, 90, 20, 20], 0.8))
    split = error_split(truth, rows)
    assert split.counts == {**dict.fromkeys(KINDS, 0), "missed": 1}
    # No error is about a crowd: one of another class on it, and one beside it, are where no object is.
    rows = found((1, 1, [60, 60, 20, 20], 0.9), (1, 0, [44, 60, 8, 20], 0.8), (1, 0, [0, 0, 20, 20], 0.7))
    assert error_split(truth, rows).counts == {**dict.fromkeys(KINDS, 0), "background": 2}


def test_a_detector_that_finds_nothing_misses_everything(coco):
    split = error_split(coco([1], [(1, 0, [0, 0, 20, 20])]), [])
    assert (split.AP50, split.counts["missed"], split.dAP["missed"], split.worst) == (0, 1, 1, "missed")


def test_a_perfect_detector_has_nothing_to_gain(coco, found):
    split = error_split(coco([1], [(1, 0, [0, 0, 20, 20])]), found((1, 0, [0, 0, 20, 20], 0.9)))
    assert split.AP50 == 1 and split.worst is None and not any(split.counts.values())


@pytest.mark.parametrize("masks", [False, True], ids=["boxes", "masks"])
@pytest.mark.parametrize("seed", range(6))
def test_AP50_and_counts_agree_with_the_scores(random_set, seed, masks):
    truth, rows = random_set(seed, masks)
    iou_type = "segm" if masks else "bbox"
    split = error_split(truth, rows, iou_type=iou_type, max_dets=2)
    assert pytest.approx(evaluate(truth, rows, iou_type=iou_type, max_dets=2).AP50, abs=1e-9) == split.AP50
    assert sum(split.counts[kind] for kind in KINDS[:-1]) <= len(rows)


@pytest.mark.parametrize("seed", range(4))
def test_counts_are_those_of_another_implementation(random_set, seed):
    truth, rows = random_set(seed)
    for annotation in truth["annotations"]:
        annotation["iscrowd"] = 0  # the other one takes crowds for objects
    reference = hotcoco.COCO(truth)
    run = hotcoco.COCOeval(reference, reference.load_res(rows), "bbox")
    run.evaluate()
    other = run.tide_errors()
    split = error_split(truth, rows)
    names = dict(zip(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), KINDS, strict=True))
    assert {names[key]: count for key, count in other["counts"].items()} == split.counts
    for key in ("Both", "Dupe", "Bkg"):
        assert other["delta_ap"][key] == pytest.approx(split.dAP[names[key]], abs=1e-9)


def test_unknown_options_are_refused(one_of_each):
    with pytest.raises(ConfigError, match="iou_type='box'"):
        error_split(*one_of_each, iou_type="box")
