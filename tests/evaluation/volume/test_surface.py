"""Surfaces and their distances: exact, equal to MedPy, and to MONAI where the two agree."""

import numpy as np
import pytest
import torch
from medpy.metric import hd95 as medpy_hd95
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import binary_erosion

from densekit.evaluation.volume import surface
from densekit.evaluation.volume.surface import hausdorff95, normalized_surface_dice, surface_distances, surface_voxels

# MONAI warns about an argument that only MONAI itself passes.
pytestmark = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.76, 0.76), (0.5, 1.25, 2.0)]


def distances_of(prediction, reference, spacing=(1.0, 1.0, 1.0)):
    return surface_distances(surface_voxels(prediction), surface_voxels(reference), spacing)


def for_monai(mask):
    return torch.from_numpy(mask)[None, None]


def test_surface_is_the_mask_minus_its_erosion(blob):
    mask = blob(0)
    np.testing.assert_array_equal(surface_voxels(mask), mask ^ binary_erosion(mask))


def test_a_mask_has_surface_at_the_border_of_the_volume():
    full = np.ones((4, 5, 6), bool)
    assert surface_voxels(full).sum() == 4 * 5 * 6 - 2 * 3 * 4
    assert surface_voxels(np.ones((1, 5, 6), bool)).all()


@pytest.mark.parametrize("margin", [0, 1, 3])
def test_a_crop_around_both_masks_changes_nothing(margin):
    prediction, reference = np.zeros((2, 20, 24, 22), bool)
    prediction[0:5, 6:12, 7:15] = True  # touches the border of the volume in D
    reference[0:6, 8:13, 5:12] = True
    box = (slice(0, 6 + margin), slice(6 - margin, 13 + margin), slice(5 - margin, 15 + margin))
    whole, cropped = (
        distances_of(p, r, (2.5, 0.8, 0.8)) for p, r in ((prediction, reference), (prediction[box], reference[box]))
    )
    np.testing.assert_array_equal(whole[0], cropped[0])
    np.testing.assert_array_equal(whole[1], cropped[1])


@pytest.mark.parametrize("spacing", SPACINGS)
def test_search_tree_and_feature_transform_agree(blob, spacing):
    start, target = surface_voxels(blob(1)), surface_voxels(blob(2))
    points, size = np.argwhere(start), np.array(spacing)
    by_tree = (surface._nearest_by_tree(points, target, size) - points) * size
    by_transform = (surface._nearest_by_transform(points, target, size) - points) * size
    np.testing.assert_allclose(np.linalg.norm(by_tree, axis=1), np.linalg.norm(by_transform, axis=1), rtol=1e-12)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [None, *SPACINGS])
def test_hd95_equals_medpy(blob, seed, spacing):
    prediction, reference = blob(seed), blob(seed + 100)
    ours = hausdorff95(distances_of(prediction, reference, spacing or (1.0, 1.0, 1.0)))
    assert ours == pytest.approx(medpy_hd95(prediction, reference, voxelspacing=spacing), rel=1e-12)


def test_hd95_equals_medpy_for_masks_cut_off_by_the_border():
    prediction, reference = np.zeros((2, 6, 12, 12), bool)
    prediction[:, 4:, :] = True
    reference[2:, 2:9, 3:] = True
    assert hausdorff95(distances_of(prediction, reference)) == medpy_hd95(prediction, reference)
    inner = (slice(None), slice(2, None))  # the same border of the volume is a border of the crop
    assert hausdorff95(distances_of(prediction[inner], reference[inner])) == medpy_hd95(prediction, reference)


@pytest.mark.parametrize("spacing", [None, (3.0, 0.76, 0.76)])
def test_hd95_equals_medpy_for_small_masks_far_apart(spacing):
    prediction, reference = np.zeros((2, 20, 30, 40), bool)
    prediction[0:2, 0:3, 0:3] = True
    prediction[19, 29, 39] = True  # one stray voxel spans the whole box
    reference[1:4, 1:4, 2:5] = True
    ours = hausdorff95(distances_of(prediction, reference, spacing or (1.0, 1.0, 1.0)))
    assert ours == pytest.approx(medpy_hd95(prediction, reference, voxelspacing=spacing), rel=1e-12)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_surface_distances_equal_monai(blob, spacing):
    prediction, reference = blob(7), blob(8)
    to_reference, to_prediction = distances_of(prediction, reference, spacing)
    largest = compute_hausdorff_distance(
        for_monai(prediction), for_monai(reference), include_background=True, spacing=spacing
    )
    average = compute_average_surface_distance(
        for_monai(prediction), for_monai(reference), include_background=True, spacing=spacing
    )
    assert max(to_reference.max(), to_prediction.max()) == pytest.approx(largest.item(), rel=1e-6)
    assert to_reference.mean() == pytest.approx(average.item(), rel=1e-6)


def test_monai_takes_the_larger_directed_percentile_where_hd95_pools():
    prediction, reference = np.zeros((2, 3, 3, 60), bool)
    prediction[1, 1, :40] = True
    prediction[1, 1, 55] = True  # 1 far voxel of 41: beyond the 95th percentile of either set
    reference[1, 1, :36] = True
    distances = distances_of(prediction, reference)
    monai = compute_hausdorff_distance(
        for_monai(prediction), for_monai(reference), include_background=True, percentile=95
    ).item()
    assert monai == pytest.approx(max(np.percentile(d, 95) for d in distances), rel=1e-6)
    assert hausdorff95(distances) == pytest.approx(medpy_hd95(prediction, reference))
    assert hausdorff95(distances) < monai - 0.5


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.28])  # 2.28 = 3 x 0.76: a distance that occurs
def test_surface_dice_equals_monai(blob, spacing, tolerance):
    prediction, reference = blob(9), blob(10)
    monai = compute_surface_dice(
        for_monai(prediction), for_monai(reference), [tolerance], include_background=True, spacing=spacing
    )
    ours = normalized_surface_dice(distances_of(prediction, reference, spacing), tolerance)
    assert ours == pytest.approx(monai.item(), rel=1e-6)
    assert 0 < ours < 1


def test_surface_dice_counts_voxels_where_others_weigh_area():
    prediction, reference = np.zeros((2, 8, 9, 9), bool)
    prediction[2:6, 2:7, 2:7] = True
    reference[2:5, 2:7, 2:7] = True
    spacing = (3.0, 0.5, 0.5)
    by_area = compute_surface_dice(
        for_monai(prediction), for_monai(reference), [1.0], include_background=True, spacing=spacing, use_subvoxels=True
    )
    assert abs(normalized_surface_dice(distances_of(prediction, reference, spacing), 1.0) - by_area.item()) > 0.01


def test_a_distance_equal_to_the_tolerance_is_within_it():
    prediction, reference = np.zeros((2, 3, 3, 9), bool)
    prediction[1, 1, 1] = reference[1, 1, 4] = True
    distances = distances_of(prediction, reference, (1.0, 1.0, 0.1))  # 3 * 0.1 is more than 0.3 in double precision
    assert normalized_surface_dice(distances, 0.3) == 1.0
    assert normalized_surface_dice(distances, 0.29) == 0.0
