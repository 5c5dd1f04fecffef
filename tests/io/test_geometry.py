"""The way to the canonical grid and exactly back, for every axis order and kind of affine."""

import itertools
import json

import nibabel as nib
import numpy as np
import pytest

from densekit.io import Geometry

SHAPE = (3, 4, 5)
SPACING = (0.7, 0.9, 2.5)
ORIENTATIONS = [
    "".join(letters)
    for axes in itertools.permutations(["LR", "PA", "IS"])
    for letters in itertools.product(*axes)
]  # fmt: skip
KINDS = ["aligned", "oblique", "sheared"]


def test_there_are_48_orientations():
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_every_voxel_keeps_its_place_in_the_world_and_finds_back(orientation, kind, make_affine):
    geometry = Geometry(SHAPE, make_affine(orientation, kind))
    array = np.arange(2 * np.prod(SHAPE)).reshape(2, *SHAPE)
    canonical = geometry.to_canonical(array)

    assert geometry.orientation == orientation
    assert np.shares_memory(canonical, array)
    assert canonical.shape[1:] == geometry.canonical_shape
    back = geometry.restore(canonical)
    assert np.shares_memory(back, array)
    np.testing.assert_array_equal(back, array)

    # Each canonical voxel: its number says which file voxel it is; both affines must place it at the same point.
    found = np.array(np.unravel_index(canonical[0].ravel(), SHAPE))
    index = np.indices(geometry.canonical_shape).reshape(3, -1)
    np.testing.assert_allclose(
        nib.affines.apply_affine(geometry.canonical_affine, index.T),
        nib.affines.apply_affine(geometry.affine, found.T),
        atol=1e-9,
    )
    # d, h, w run to Superior, Posterior, Left.
    assert nib.aff2axcodes(geometry.canonical_affine) == ("S", "P", "L")
    np.testing.assert_allclose(
        geometry.canonical_spacing, np.linalg.norm(geometry.canonical_affine[:3, :3], axis=0), atol=1e-12
    )
    assert geometry.spacing == pytest.approx(SPACING)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "PSR"])
def test_axes_run_the_way_they_are_called(orientation, make_affine):
    geometry = Geometry((8, 8, 8), make_affine(orientation))
    world = nib.affines.apply_affine(geometry.canonical_affine, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    up, back, left = world[1:] - world[0]
    assert up[2] > 0 and back[1] < 0 and left[0] < 0


def test_canonical_array_is_the_nibabel_reorientation(make_affine):
    array = np.random.default_rng(0).integers(0, 99, SHAPE)
    affine = make_affine("PSR", "oblique")
    geometry = Geometry(SHAPE, affine)
    wanted = nib.orientations.ornt_transform(
        nib.orientations.io_orientation(affine), nib.orientations.axcodes2ornt(("L", "P", "S"))
    )
    lps = nib.orientations.apply_orientation(array, wanted)
    np.testing.assert_array_equal(geometry.to_canonical(array), lps.transpose(2, 1, 0))


def test_voxel_volume_is_that_of_the_sheared_voxel(make_affine):
    assert Geometry(SHAPE, make_affine("LPS")).voxel_ml == pytest.approx(0.7 * 0.9 * 2.5 / 1000)
    sheared = Geometry(SHAPE, make_affine("LPS", "sheared"))
    assert sheared.voxel_ml == pytest.approx(0.7 * 0.9 * 2.5 * np.cos(np.deg2rad(8)) / 1000)
    assert sheared.skew_degrees == pytest.approx(8)
    assert Geometry(SHAPE, make_affine("LPS", "oblique")).skew_degrees == pytest.approx(0, abs=1e-4)


def test_array_of_another_shape_is_refused(make_affine):
    geometry = Geometry(SHAPE, make_affine("PSR"))
    with pytest.raises(ValueError, match=r"\(5, 4, 3\) does not end in \(i, j, k\) = \(3, 4, 5\)"):
        geometry.to_canonical(np.zeros((5, 4, 3)))
    with pytest.raises(ValueError, match=r"does not end in \(D, H, W\) = \(4, 3, 5\)"):
        geometry.restore(np.zeros(SHAPE))


class TestDifference:
    @pytest.fixture(autouse=True)
    def _here(self, make_affine):
        self.here = Geometry(SHAPE, make_affine("LPS"))

    def test_same_voxels_in_another_axis_order_are_no_difference(self):
        array = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE)
        image = nib.Nifti1Image(array, self.here.affine)
        ras = nib.as_closest_canonical(image)
        other = Geometry(ras.shape, ras.affine)
        assert other != self.here
        assert self.here.difference(other) is None
        np.testing.assert_array_equal(
            other.to_canonical(np.asarray(ras.dataobj)), self.here.to_canonical(np.asarray(image.dataobj))
        )

    def test_shape(self):
        assert self.here.difference(Geometry((3, 4, 6), self.here.affine)) == (
            "5 x 4 x 3 against 6 x 4 x 3 voxels (D x H x W)"
        )

    def test_shift(self):
        moved = self.here.affine.copy()
        moved[0, 3] += 0.5
        assert self.here.difference(Geometry(SHAPE, moved)) == "shifted by 0.5 mm"
        assert self.here.difference(Geometry(SHAPE, moved), tolerance_mm=0.6) is None

    def test_spacing(self):
        other = Geometry(SHAPE, self.here.affine @ np.diag((2, 1, 1, 1)))
        text = self.here.difference(other)
        assert text == "voxels of 2.5 x 0.9 x 0.7 mm against 2.5 x 0.9 x 1.4 mm (D x H x W), corners up to 1.4 mm apart"

    def test_orientation(self, make_affine):
        other = Geometry(SHAPE, make_affine("LPS", "oblique"))
        assert "axes point in different directions (LPS against LPS), corners up to" in self.here.difference(other)

    def test_rounding_to_float32_is_no_difference(self, make_affine):
        affine = make_affine("PSR", "oblique", origin=(-312.123456789, 512.987654321, -1034.5678912))
        other = Geometry((512, 512, 400), affine.astype(np.float32))
        assert Geometry((512, 512, 400), affine).difference(other) is None


def test_json_round_trip_is_exact(make_affine):
    geometry = Geometry(SHAPE, make_affine("PSR", "oblique") / np.array([3.0, 3.0, 3.0, 1.0])[:, None])
    again = Geometry.from_dict(json.loads(json.dumps(geometry.to_dict())))
    assert again == geometry and hash(again) == hash(geometry)
    assert Geometry(SHAPE, make_affine("PSR")) != geometry


def test_value_object_cannot_be_changed(make_affine):
    affine = make_affine("LPS")
    geometry = Geometry(SHAPE, affine)
    affine[0, 0] = 99
    assert geometry.affine[0, 0] == -0.7
    with pytest.raises(ValueError, match="read-only"):
        geometry.affine[0, 0] = 1


@pytest.mark.parametrize(
    ("shape", "change", "message"),
    [
        ((3, 0, 5), lambda a: a, "3 x 0 x 5 voxels, expected three axes of at least one voxel"),
        ((3, 4), lambda a: a, "3 x 4 voxels"),
        (SHAPE, lambda a: a * np.nan, "NaN or infinite"),
        (SHAPE, lambda a: a + [[np.inf, 0, 0, 0], [0] * 4, [0] * 4, [0] * 4], "NaN or infinite"),
        (SHAPE, lambda a: a @ np.diag((1, 0, 1, 1)), "zero spacing: voxels of 0.7 x 0 x 2.5 mm"),
        (SHAPE, lambda a: a[:, [0, 0, 2, 3]], "singular or nearly so: its axes are 90 degrees off right angles"),
        (SHAPE, lambda a: a[:3], "4x4"),
    ],
)
def test_impossible_grids_are_refused(shape, change, message, make_affine):
    with pytest.raises(ValueError, match=message):
        Geometry(shape, change(make_affine("LPS")))
