"""Scores of one case: Dice, units, and what each convention says about empty masks."""

import math

import numpy as np
import pytest
import torch
from medpy.metric import hd95 as medpy_hd95
from monai.metrics import DiceMetric, compute_hausdorff_distance, compute_surface_dice

from densekit.errors import ConfigError, DataError
from densekit.evaluation.volume import confusion_counts, score_case

# MONAI warns about an argument that only MONAI itself passes.
pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")

LABELS = ("background", "liver", "spleen")
# (Dice, HD95) by convention of empty masks: prediction alone, reference alone, neither.
EMPTY = {
    "transunet": {"spurious": (1, 0), "missed": (0, 0), "absent": (0, 0)},
    "nnformer": {"spurious": (0, 0), "missed": (0, 0), "absent": (1, 0)},
    "strict": {"spurious": (0, None), "missed": (0, None), "absent": (None, None)},
}


def one_hot(labels, classes):
    return torch.nn.functional.one_hot(torch.from_numpy(labels).long(), classes).permute(3, 0, 1, 2)[None]


def score_liver(prediction, reference, **options):
    options = {"case_id": "x", "labels": LABELS[:2], "spacing": (2.0, 1.0, 0.5)} | options
    return score_case(np.asarray(prediction), np.asarray(reference), **options)[0]


def test_confusion_counts_every_pair():
    reference = np.array([[[0, 1, 2]], [[2, 2, 1]]], np.uint8)
    prediction = np.array([[[0, 2, 2]], [[1, 2, 1]]], np.uint8)
    np.testing.assert_array_equal(confusion_counts(prediction, reference, 3), [[1, 0, 0], [0, 1, 1], [0, 1, 2]])


@pytest.mark.parametrize("convention", EMPTY)
@pytest.mark.parametrize("situation", ["spurious", "missed", "absent"])
def test_empty_masks_follow_the_named_convention(convention, situation):
    empty, some = np.zeros((3, 4, 5), np.uint8), np.zeros((3, 4, 5), np.uint8)
    some[1, 1:3, 1:3] = 1
    prediction, reference = {"spurious": (some, empty), "missed": (empty, some), "absent": (empty, empty)}[situation]
    score = score_liver(prediction, reference, convention=convention)
    dice, hd95 = EMPTY[convention][situation]
    assert (score.situation, score.dice, score.hd95_voxel, score.hd95_mm) == (situation, dice, hd95, hd95)
    assert score.surface_dice == (None if situation == "absent" else 0)


@pytest.mark.parametrize("convention", EMPTY)
def test_conventions_agree_where_both_masks_have_voxels(convention):
    prediction, reference = np.zeros((2, 3, 4, 6), np.uint8)
    prediction[1, 1, 1:5] = 1
    reference[1, 1, 1:3] = 1
    score = score_liver(prediction, reference, convention=convention)
    assert score.situation == "both"
    assert score.dice == 2 * 2 / (4 + 2)
    # Distances of the six surface voxels: 0 0 1 2 | 0 0; rank 0.95 * 5 = 4.75 lies between 1 and 2.
    assert score.hd95_voxel == pytest.approx(1.75)
    assert score.hd95_mm == pytest.approx(1.75 * 0.5)
    assert score.surface_dice == 1.0
    assert score_liver(prediction, reference, tolerance_mm=0.5).surface_dice == 5 / 6


def test_volumes_are_in_voxels_and_ml():
    prediction, reference = np.zeros((2, 3, 4, 6), np.uint8)
    prediction[1] = 1
    reference[1:] = 1
    score = score_liver(prediction, reference, spacing=(5.0, 10.0, 2.0))
    assert (score.prediction_voxels, score.reference_voxels) == (24, 48)
    assert (score.prediction_ml, score.reference_ml) == pytest.approx((2.4, 4.8))
    assert score.spacing_mm == (5.0, 10.0, 2.0)


def test_every_class_of_a_label_map_equals_medpy_and_monai(blob):
    prediction, reference = (blob(s) + 2 * (blob(s + 1) & ~blob(s)).astype(np.uint8) for s in (20, 40))
    spacing = (3.0, 0.8, 0.8)
    scores = score_case(prediction, reference, case_id="x", labels=LABELS, spacing=spacing, tolerance_mm=2.0)
    dice = DiceMetric(include_background=False)(one_hot(prediction, 3), one_hot(reference, 3))[0]
    surface = compute_surface_dice(one_hot(prediction, 3), one_hot(reference, 3), [2.0, 2.0], spacing=spacing)[0]
    for value, score in enumerate(scores, start=1):
        masks = prediction == value, reference == value
        assert score.structure == LABELS[value]
        assert score.dice == pytest.approx(dice[value - 1].item(), rel=1e-6)
        assert score.surface_dice == pytest.approx(surface[value - 1].item(), rel=1e-6)
        assert score.hd95_voxel == pytest.approx(medpy_hd95(*masks), rel=1e-12)
        assert score.hd95_mm == pytest.approx(medpy_hd95(*masks, voxelspacing=spacing), rel=1e-12)


@pytest.mark.parametrize("swapped", [False, True])
def test_surface_scores_see_every_voxel_of_both_masks(swapped):
    prediction, reference = np.zeros((2, 12, 14, 16), np.uint8)
    prediction[2:5, 3:7, 2:9] = prediction[10, 12, 14] = 1  # a part far outside the box of the other mask
    reference[3:7, 5:9, 4:6] = 1
    if swapped:
        prediction, reference = reference, prediction
    score = score_liver(prediction, reference)
    assert score.hd95_voxel == pytest.approx(medpy_hd95(prediction, reference), rel=1e-12)
    assert score.hd95_mm == pytest.approx(medpy_hd95(prediction, reference, voxelspacing=(2, 1, 0.5)), rel=1e-12)
    monai = compute_surface_dice(one_hot(prediction, 2), one_hot(reference, 2), [1.0], spacing=[2.0, 1.0, 0.5])
    assert score.surface_dice == pytest.approx(monai.item(), rel=1e-6)


@pytest.mark.filterwarnings("ignore:.*is all 0:UserWarning")
def test_monai_and_medpy_on_empty_masks():
    empty, some = np.zeros((2, 3, 4, 5), np.uint8)
    some[1, 1, 1] = 1
    pairs = {"spurious": (some, empty), "missed": (empty, some), "absent": (empty, empty)}
    for situation, pair in pairs.items():
        hot = [one_hot(mask, 2) for mask in pair]
        dice = DiceMetric(include_background=False)(*hot).item()
        counted = DiceMetric(include_background=False, ignore_empty=False)(*hot).item()
        surface = compute_surface_dice(*hot, [1.0]).item()
        ours = score_liver(*pair)
        assert math.isnan(compute_hausdorff_distance(*hot, percentile=95).item())
        with pytest.raises(RuntimeError):
            medpy_hd95(*pair)
        assert ours.hd95_voxel is None
        assert (None if math.isnan(surface) else surface) == ours.surface_dice
        # MONAI's mean leaves out every structure without a reference, the spurious too.
        assert math.isnan(dice) == (situation != "missed")
        if situation == "absent":
            assert (ours.dice, score_liver(*pair, convention="nnformer").dice) == (None, counted)
        else:
            assert ours.dice == counted == 0


def test_without_surface_distances_nothing_stands_in_for_them():
    some = np.zeros((3, 4, 5), np.uint8)
    some[1, 1, 1] = 1
    for prediction, reference in ((some, some), (some, some * 0), (some * 0, some)):
        score = score_liver(prediction, reference, convention="transunet", surface=False)
        assert (score.hd95_voxel, score.hd95_mm, score.surface_dice, score.tolerance_mm) == (None,) * 4
        assert score.dice is not None


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint16", "uint64", ">i2"])
def test_any_integer_type_gives_the_same_scores(dtype):
    prediction, reference = np.zeros((2, 3, 4, 6), np.uint8)
    prediction[1, 1, 1:5] = 1
    reference[1, 1, 1:3] = 1
    assert score_liver(prediction.astype(dtype), reference.astype(dtype)) == score_liver(prediction, reference)


def test_structures_outside_the_mean_are_scored_and_marked():
    labels = np.zeros((2, 2, 2), np.uint8)
    scores = score_case(labels, labels, case_id="x", labels=LABELS, scored=["spleen"], spacing=(1, 1, 1))
    assert [(score.structure, score.scored) for score in scores] == [("liver", False), ("spleen", True)]


ZEROS = np.zeros((2, 3, 4), np.uint8)


@pytest.mark.parametrize(
    ("prediction", "reference", "spacing", "message"),
    [
        (ZEROS[:1], ZEROS, (1, 1, 1), r"case x: prediction has shape \(1, 3, 4\) and reference \(2, 3, 4\).*one grid"),
        (ZEROS[0], ZEROS[0], (1, 1, 1), r"case x: .*three axes"),
        (ZEROS[:0], ZEROS[:0], (1, 1, 1), r"case x: .*none empty"),
        (ZEROS.astype(float), ZEROS, (1, 1, 1), "prediction has type float64; expected integer"),
        (ZEROS, ZEROS + 7, (1, 1, 1), r"reference has label value 7, but the class list ends at 2 \(spleen\)"),
        (ZEROS.astype(int) - 1, ZEROS, (1, 1, 1), "prediction has label value -1"),
        (ZEROS, ZEROS, (1, 0, 1), r"case x: spacing \(1.0, 0.0, 1.0\)"),
        (ZEROS, ZEROS, (1, 1), r"case x: spacing \(1.0, 1.0\)"),
    ],
)
def test_data_that_cannot_be_scored_is_refused(prediction, reference, spacing, message):
    with pytest.raises(DataError, match=message):
        score_case(prediction, reference, case_id="x", labels=LABELS, spacing=spacing)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convention": "nnformr"}, "did you mean 'nnformer'"),
        ({"scored": ["spleeen"]}, "did you mean 'spleen'"),
        ({"scored": ["background"]}, "'background' is not a structure"),
        ({"scored": []}, "at least one"),
        ({"labels": ["background"]}, "at least one structure"),
        ({"labels": ["background", "liver", "liver"]}, "each name once"),
        ({"tolerance_mm": -1.0}, "tolerance_mm=-1.0"),
        ({"tolerance_mm": math.nan}, "tolerance_mm=nan"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(options, message):
    options = {"case_id": "x", "labels": LABELS, "spacing": (1, 1, 1)} | options
    with pytest.raises(ConfigError, match=message):
        score_case(ZEROS, ZEROS, **options)
