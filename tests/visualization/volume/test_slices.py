import numpy as np
import pytest

from densekit.visualization.shared.palette import label_color
from densekit.visualization.volume.slices import (
    CT_WINDOW,
    center_of_mass,
    choose_axial,
    display_window,
    label_counts,
    render_slice,
)

SHAPE = (10, 20, 30)
SPACING = (5.0, 1.0, 2.0)
GREY = 128


def draw(plane, index, labels, image=None, scale=4.0):
    image = np.full(SHAPE, 50, np.int16) if image is None else image
    return render_slice(image, labels, plane, index, spacing=SPACING, pixels_per_mm=scale, window=(0, 100))


def colored(picture: np.ndarray) -> tuple[float, float]:
    """Where on the screen the coloured pixels lie, as fractions (down, right) of its size."""
    rows, columns = np.nonzero(np.ptp(picture.astype(int), axis=2) > 0)
    return rows.mean() / picture.shape[0], columns.mean() / picture.shape[1]


@pytest.mark.parametrize(("plane", "size_mm"), [("axial", (20, 60)), ("coronal", (50, 60)), ("sagittal", (50, 20))])
def test_anisotropic_voxels_are_shown_in_physical_proportions(plane, size_mm):
    picture = draw(plane, 3, None, scale=4.0)
    assert picture.shape == (size_mm[0] * 4, size_mm[1] * 4, 3)


def test_axial_slice_has_anterior_on_top_and_the_patients_right_on_the_left():
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 1:4, 2:6] = 1  # low h: anterior; low w: the patient's right
    down, right = colored(draw("axial", 4, labels))
    assert down < 0.25 and right < 0.25


def test_coronal_slice_has_superior_on_top_and_the_patients_right_on_the_left():
    labels = np.zeros(SHAPE, np.uint8)
    labels[8, 7, 2:6] = 1  # high d: superior
    down, right = colored(draw("coronal", 7, labels))
    assert down < 0.25 and right < 0.25


def test_sagittal_slice_has_superior_on_top_and_anterior_on_the_left():
    labels = np.zeros(SHAPE, np.uint8)
    labels[8, 1:4, 5] = 1
    down, right = colored(draw("sagittal", 5, labels))
    assert down < 0.25 and right < 0.25


@pytest.mark.parametrize(("plane", "index"), [("axial", 7), ("coronal", 12), ("sagittal", 21)])
def test_image_and_labels_lie_on_each_other(plane, index):
    labels = np.zeros(SHAPE, np.uint8)
    labels[6:9, 11:16, 20:24] = 1
    image = np.where(labels > 0, 100, 0).astype(np.int16)
    bright = draw(plane, index, None, image)[..., 0] > 127
    inside = np.ptp(draw(plane, index, labels, np.full(SHAPE, 50, np.int16)).astype(int), axis=2) > 0
    assert np.count_nonzero(bright != inside) <= 0.1 * np.count_nonzero(inside)  # the image is interpolated


def test_outline_has_the_label_color_and_the_inside_lets_the_image_through():
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 5:15, 10:20] = 3
    picture = draw("axial", 4, labels)
    color = np.array(label_color(3))
    # Voxel (h, w) covers the pixels 4h..4h+3 and 8w..8w+7.
    assert (picture[4 * 5, 8 * 14] == color).all()
    assert (picture[4 * 14 + 3, 8 * 14] == color).all()
    middle = picture[4 * 10, 8 * 15].astype(int)
    assert not (middle == color).all() and np.ptp(middle) > 0
    assert np.abs(middle - GREY).max() < np.abs(color - GREY).max() / 2
    assert (picture[4 * 4 + 3, 8 * 14] == GREY).all()
    assert (picture[4 * 5, 8 * 9 + 7] == GREY).all()


def test_touching_structures_each_keep_an_outline():
    labels = np.zeros(SHAPE, np.uint8)
    labels[4, 5:15, 5:10] = 1
    labels[4, 5:15, 10:15] = 2
    picture = draw("axial", 4, labels)
    assert (picture[40, 79] == label_color(1)).all()
    assert (picture[40, 80] == label_color(2)).all()


def test_ct_gets_a_soft_tissue_window():
    image = np.full((4, 4, 4), 40, np.int16)
    image[0] = -1000
    assert display_window(image) == CT_WINDOW


def test_other_images_are_windowed_by_percentiles_and_nan_does_not_matter():
    image = np.arange(1000, dtype=np.float32).reshape(10, 10, 10)
    low, high = display_window(image)
    assert 0 < low < 10 and 990 < high < 999
    image[0, 0, 0] = np.nan
    assert np.isfinite(display_window(image)).all()
    assert draw("axial", 0, None, np.full(SHAPE, np.nan, np.float32)).max() == 0


def test_constant_and_nearly_constant_images_have_a_window():
    image = np.zeros((10, 10, 10))
    low, high = display_window(image)
    assert high > low
    image[0, 0, 0] = 7.0
    assert display_window(image) == (0.0, 7.0)


def test_axial_slices_show_every_structure_and_are_spread():
    labels = np.zeros((40, 4, 4), np.uint8)
    labels[4:36, 0, 0] = 1
    labels[9, 1, 1] = 2
    labels[30, 2, 2] = 3
    chosen = choose_axial(label_counts(labels), 4)
    assert chosen == sorted(chosen) and len(chosen) == 4
    assert {9, 30} <= set(chosen)
    assert all(4 + 8 * i <= index < 12 + 8 * i for i, index in enumerate(chosen))


def test_few_or_no_labelled_slices():
    labels = np.zeros((40, 4, 4), np.uint8)
    assert choose_axial(label_counts(labels), 4) == [5, 15, 25, 35]
    labels[7] = labels[20] = 1
    assert choose_axial(label_counts(labels), 4) == [7, 20]
    assert choose_axial(np.zeros((1, 1), int), 4) == [0]


def test_center_of_mass():
    labels = np.zeros((9, 11, 13), np.uint8)
    assert center_of_mass(labels) == (4, 5, 6)
    labels[2:5, 3:6, 8:11] = 2
    assert center_of_mass(labels) == (3, 4, 9)
