"""Phantoms: a BTCV download in layout, plausible in anatomy, the same for the same seed."""

import nibabel as nib
import numpy as np
import pytest

from densekit.datasets.volume.prepare import make_phantoms, read_source
from densekit.datasets.volume.prepare.encodings import BTCV_LABELS, SYNAPSE_ORGANS
from densekit.datasets.volume.prepare.phantom import ORIENTATIONS, make_phantom
from densekit.errors import ConfigError, OutputError

COARSE = {"in_plane": (4.0, 4.5), "slices": (6.0, 7.0)}
VALUE = {organ: BTCV_LABELS.index(organ) for organ in SYNAPSE_ORGANS}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    out = tmp_path_factory.mktemp("phantoms")
    return out, make_phantoms(out, train=7, val=1, test=2, unseen=2, seed=1, **COARSE)


def test_prepare_synapse_splits_them_as_asked(phantoms, tmp_path):
    out, images = phantoms
    assert len(images) == 12 and all(p.is_file() for p in images)
    source = read_source("synapse", out / "RawData", work=tmp_path)
    splits = [c.split for c in source.cases]
    assert (splits.count("train"), splits.count("val"), splits.count("test")) == (7, 1, 2)
    assert any("2 unlabelled challenge case(s) are not included: 0061, 0062" in note for note in source.notes)
    assert any("'raw' agrees with the labels" in note for note in source.notes)


def test_organs_lie_where_they_lie_in_a_patient(phantoms):
    seen = set()
    for image in phantoms[1][:10]:
        scan, label = nib.load(image), nib.load(str(image).replace("img", "label"))
        np.testing.assert_array_equal(scan.affine, label.affine)
        assert scan.get_data_dtype() == np.int16 and scan.shape == label.shape
        seen.add("".join(nib.aff2axcodes(scan.affine)))
        values = np.asanyarray(label.dataobj)
        assert set(np.unique(values)) == {0, *VALUE.values()}
        at = {o: (label.affine @ [*np.argwhere(values == v).mean(0), 1])[:3] for o, v in VALUE.items()}
        right, anterior, superior = range(3)
        assert at["liver"][right] > at["aorta"][right] + 30 and at["spleen"][right] < at["aorta"][right] - 50
        assert at["stomach"][right] < at["liver"][right] and at["gallbladder"][right] > at["pancreas"][right]
        assert at["right kidney"][right] - at["left kidney"][right] > 70
        assert at["stomach"][anterior] > at["left kidney"][anterior] + 30
        assert at["gallbladder"][anterior] > at["right kidney"][anterior] + 40
        assert at["liver"][superior] > at["right kidney"][superior] + 20
        assert at["spleen"][superior] > at["left kidney"][superior] + 20
    assert len(seen) >= 5 and seen <= set(ORIENTATIONS)


def test_attenuation_and_volumes_are_plausible(phantoms):
    hounsfield = {"liver": 110, "spleen": 124, "aorta": 158, "gallbladder": 12, "pancreas": 90}
    millilitres = {
        "liver": (500, 1900),
        "spleen": (70, 350),
        "left kidney": (60, 220),
        "right kidney": (60, 220),
        "gallbladder": (12, 80),
        "pancreas": (30, 130),
        "aorta": (50, 220),
        "stomach": (100, 600),
    }
    for image in phantoms[1][:10]:
        scan, label = nib.load(image), nib.load(str(image).replace("img", "label"))
        voxels, values = np.asanyarray(scan.dataobj), np.asanyarray(label.dataobj)
        assert voxels.min() >= -1024 and voxels[0].mean() < 0
        for organ, expected in hounsfield.items():
            assert abs(np.median(voxels[values == VALUE[organ]]) - expected) < 30, organ
        kidneys = np.isin(values, (2, 3))
        assert np.median(voxels[kidneys]) > np.median(voxels[values == VALUE["spleen"]]) + 20
        voxel = abs(np.linalg.det(scan.affine[:3, :3])) / 1000
        for organ, (low, high) in millilitres.items():
            assert low < (values == VALUE[organ]).sum() * voxel < high, organ


def test_a_case_depends_on_seed_and_id_only(phantoms, tmp_path):
    few = make_phantoms(tmp_path, train=1, val=0, test=1, unseen=0, seed=1, **COARSE)
    for path in few:
        (twin,) = (p for p in phantoms[1] if p.name == path.name)
        assert path.read_bytes() == twin.read_bytes()
    other, _, _ = make_phantom(5, 2, **COARSE)
    same, labels, geometry = make_phantom(5, 1, **COARSE)
    assert other.shape != same.shape or not np.array_equal(other, same)
    assert same.shape == labels.shape == geometry.canonical_shape


def test_the_grid_is_turned_against_the_patient_and_the_labels_with_it():
    tilts = []
    for case in range(1, 13):
        _, labels, geometry = make_phantom(case, 0, (5.0, 5.0), (8.0, 8.0))
        tilts.append(np.degrees(nib.affines.obliquity(geometry.affine)).max())
        affine = geometry.canonical_affine
        # The aorta runs along the patient, whatever the grid: its direction in world coordinates stays near vertical.
        points = np.argwhere(labels == VALUE["aorta"]) @ affine[:3, :3].T
        low, high = points[:, 2] < np.quantile(points[:, 2], 0.3), points[:, 2] > np.quantile(points[:, 2], 0.5)
        middle = high & (points[:, 2] < np.quantile(points[:, 2], 0.65))
        step = points[middle].mean(0) - points[low].mean(0)
        assert np.degrees(np.arccos(step[2] / np.linalg.norm(step))) < 9
    assert min(tilts) < 1e-6 and max(tilts) > 3


def test_settings_are_kept_and_other_data_are_not_touched(tmp_path):
    calls = []
    images = make_phantoms(
        tmp_path / "p", train=1, val=0, test=0, unseen=1, **COARSE, progress=lambda *call: calls.append(call)
    )
    assert calls == [("0005", 1, 2), ("0061", 2, 2)]
    before = images[0].stat().st_mtime_ns
    make_phantoms(tmp_path / "p", train=2, val=0, test=0, unseen=1, **COARSE)
    assert images[0].stat().st_mtime_ns == before
    with pytest.raises(OutputError, match=r"p: holds phantoms of other settings \(phantom.json\)"):
        make_phantoms(tmp_path / "p", train=1, seed=9, **COARSE)
    (tmp_path / "real" / "RawData" / "Training").mkdir(parents=True)
    with pytest.raises(
        OutputError, match=r"RawData: is there and not made by `densekit prepare phantom` \(holds Training/\)"
    ):
        make_phantoms(tmp_path / "real", train=1)


def test_impossible_counts_and_spacings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"train=16: expected 0 to 15"):
        make_phantoms(tmp_path, train=16)
    with pytest.raises(ConfigError, match=r"slices=\(5.0, 4.0\): expected a range from smallest to largest"):
        make_phantoms(tmp_path, slices=(5.0, 4.0))
