"""One scan through the predictor: the right place in the patient for any orientation, bad scans refused in one line."""

import gzip
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from densekit.errors import CheckpointError, ConfigError, DataError, OutputError
from densekit.inference.device import choose_device
from densekit.inference.volume.predictor import VolumePredictor
from densekit.io import read_volume

from .conftest import AS_IT_IS

torch.set_num_threads(1)

LABELS = ["background", "liver", "left kidney", "right kidney"]


@pytest.fixture
def predictor(band_network, preprocessing):
    def make(network=None, *, spacing=None, channels=("CT",), labels=LABELS, **inference):
        settings = {"window": (8, 8, 8), "batch": 3, **inference}
        return VolumePredictor(
            network or band_network(), preprocessing(*channels, spacing=spacing), labels, settings, device="cpu"
        )

    return make


def world_centroids(path) -> dict[int, np.ndarray]:
    """Centre of each label in RAS mm, read by nibabel alone."""
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    return {
        int(label): nib.affines.apply_affine(image.affine, np.argwhere(data == label).mean(0))
        for label in np.unique(data)
        if label
    }


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LAI", "ASL", "PIR", "SRA", "IPL", "SAL"])
@pytest.mark.parametrize("rotate", [0.0, 0.35], ids=["straight", "oblique"])
def test_labels_are_where_they_were_for_any_orientation(scan, predictor, tmp_path, axes, rotate):
    path, expected = scan(axes=axes, rotate=rotate, spacing=(1.8, 2.1, 2.4))
    out = tmp_path / "out.nii.gz"
    predictor().predict(path).save(out)
    written, source = nib.load(out), nib.load(path)
    assert np.array_equal(np.asarray(written.dataobj), expected)
    assert np.array_equal(written.affine, source.affine)
    assert written.header.get_xyzt_units() == source.header.get_xyzt_units()


@pytest.mark.parametrize("axes", ["RAS", "LPI", "SPL"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (3.0, 1.5, 2.7)], ids=["finer", "mixed"])
@pytest.mark.parametrize("box", [1, 2])
def test_resampled_prediction_stays_within_half_a_voxel(scan, predictor, tmp_path, axes, spacing, box):
    # One box at a time: the blurred edge of an intensity of 300 would pass through the bands of the other labels.
    path, expected = scan(axes=axes, rotate=0.2, shape=(17, 15, 14), only=box)
    out = tmp_path / "out.nii.gz"
    prediction = predictor(spacing=spacing).predict(path)
    prediction.save(out)
    reference = tmp_path / "reference.nii.gz"
    nib.save(nib.Nifti1Image(expected, nib.load(path).affine), reference)
    ours, theirs = world_centroids(out), world_centroids(reference)
    assert set(ours) == set(theirs) == {1}
    assert np.linalg.norm(ours[1] - theirs[1]) < 0.5 * 2.0
    assert prediction.volumes_ml["liver"] == pytest.approx(expected.sum() * 8e-3, rel=0.35)


def test_cropped_border_comes_back_as_background(predictor, tmp_path):
    data = np.full((20, 18, 16), -1000, np.int16)
    data[3:9, 5:14, 2:6] = 0
    data[4:8, 6:12, 3:5] = 200
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(data, np.diag([1.0, 1, 1, 1])), path)
    prediction = predictor().predict(path)
    assert prediction.labels.shape == prediction.geometry.canonical_shape
    assert np.array_equal(prediction.geometry.restore(prediction.labels), np.where(data == 200, 2, 0))


def test_volumes_are_in_ml_at_the_scans_own_resolution(scan, predictor):
    path, expected = scan(spacing=(1.0, 2.0, 3.0))
    prediction = predictor().predict(path)
    assert prediction.volumes_ml["left kidney"] == pytest.approx((expected == 2).sum() * 6e-3)
    assert set(prediction.seconds) == {"read", "prepare", "predict", "measure"}


def test_structure_at_the_border_is_said_to_be_cut_off(predictor, tmp_path):
    data = np.zeros((9, 9, 9), np.int16)
    data[3:5, 3:5, 7:] = 100
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(data, np.eye(4)), path)
    prediction = predictor().predict(path)
    assert prediction.structures[0].touches_border == ("superior",)
    assert "liver (superior)" in prediction.notes[-1]


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 9, 9), (8, 8, 2)])
def test_scan_smaller_than_the_window_is_padded(scan, predictor, shape):
    path, expected = scan(shape=shape, spacing=(6.0, 6.0, 6.0))
    prediction = predictor().predict(path)
    assert np.array_equal(prediction.geometry.restore(prediction.labels), expected)


def test_one_scan_in_several_files(scan, predictor, band_network):
    ct, expected = scan("case_0000.nii.gz")
    pet, _ = scan("case_0001.nii.gz", dtype=np.float32)
    both = predictor(band_network(channel=1), channels=("CT", "PET"))
    prediction = both.predict([ct, pet])
    assert prediction.image.shape[0] == 2
    assert np.array_equal(prediction.geometry.restore(prediction.labels), expected)
    with pytest.raises(DataError, match=r"1 image channel given, the network expects 2 \(CT, PET\)"):
        both.predict(ct)
    for other in ({"spacing": (2.5, 2.0, 2.0)}, {"shape": (16, 15, 13)}):
        with pytest.raises(DataError, match=r"other\.nii\.gz: lies on another grid than case_0000"):
            both.predict([ct, scan("other.nii.gz", **other)[0]])


def nifti(data):
    return lambda path: nib.save(nib.Nifti1Image(data, np.eye(4)), path)


def truncated(path):
    nib.save(nib.Nifti1Image(np.random.default_rng(0).normal(size=(20, 20, 20)), np.eye(4)), path)
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nifti(np.where(np.arange(512).reshape(8, 8, 8) == 7, np.nan, 1.0)), "NaN"),
        (nifti(np.where(np.arange(512).reshape(8, 8, 8) == 7, np.inf, 1.0)), "infinite"),
        (nifti(np.full((8, 8, 8), 7, np.int16)), "every voxel is 7"),
        (nifti(np.zeros((8, 8), np.int16)), "2D"),
        (truncated, "truncated"),
        (lambda path: path.write_bytes(gzip.compress(b"nonsense")), "header"),
    ],
    ids=["nan", "inf", "constant", "2D", "truncated", "header"],
)
def test_bad_scan_is_refused_in_one_line_that_names_it(predictor, tmp_path, make, message):
    path = tmp_path / "scan.nii.gz"
    make(path)
    with pytest.raises(DataError, match=message) as error:
        predictor().predict(path)
    assert "scan.nii.gz" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_scan_is_refused(predictor, tmp_path):
    with pytest.raises(DataError, match="no such file"):
        predictor().predict(tmp_path / "nothing.nii.gz")


class NotANumber(nn.Module):
    def forward(self, x):
        return torch.full((x.shape[0], 4, *x.shape[2:]), torch.nan)


class WrongClasses(nn.Module):
    def forward(self, x):
        return torch.zeros(x.shape[0], 7, *x.shape[2:])


def test_scores_that_are_not_numbers_do_not_become_background(scan, predictor):
    with pytest.raises(DataError, match="NaN or infinite"):
        predictor(NotANumber()).predict(scan()[0])


def test_network_and_labels_that_do_not_belong_together(scan, predictor):
    with pytest.raises(CheckpointError, match="7 classes, but the label list has 4"):
        predictor(WrongClasses()).predict(scan()[0])


def test_batch_is_halved_when_memory_runs_out_and_it_is_said(scan, predictor, band_network):
    path, expected = scan()
    sizes = []

    class Small(band_network):
        def forward(self, x):
            sizes.append(len(x))
            if len(x) > 2:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
            return super().forward(x)

    prediction = predictor(Small(), batch=8).predict(path)
    assert np.array_equal(prediction.geometry.restore(prediction.labels), expected)
    assert "only 2 windows at a time" in " ".join(prediction.notes)
    assert sizes.count(8) == 1  # what fits is remembered


def test_memory_that_does_not_hold_one_window_is_not_hidden(scan, predictor, band_network):
    class Never(band_network):
        def forward(self, x):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        predictor(Never(), batch=4).predict(scan()[0])


def test_other_runtime_errors_are_not_taken_for_lack_of_memory(scan, predictor, band_network):
    class Broken(band_network):
        def forward(self, x):
            raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        predictor(Broken(), batch=4).predict(scan()[0])


def test_prediction_never_replaces_its_scan(scan, predictor):
    path, _ = scan()
    before = path.read_bytes()
    with pytest.raises(OutputError, match="is what was predicted itself"):
        predictor().predict(path).save(path)
    assert path.read_bytes() == before


def test_from_checkpoint_with_replaced_settings(checkpoint, scan):
    path, expected = scan()
    predictor = VolumePredictor.from_checkpoint(checkpoint(), device="cpu", overlap=0.25, batch=4)
    assert predictor.settings.overlap == 0.25
    assert predictor.settings.batch == 4
    prediction = predictor.predict(path)
    assert prediction.names == tuple(LABELS)
    assert np.array_equal(prediction.geometry.restore(prediction.labels), expected)
    with pytest.raises(ConfigError, match=r"overlap=1\.5"):
        VolumePredictor.from_checkpoint(checkpoint(), device="cpu", overlap=1.5)


def test_settings_are_checked_before_any_work(predictor, checkpoint):
    with pytest.raises(ConfigError, match="did you mean 'overlap'"):
        predictor(overlp=0.5)
    with pytest.raises(ConfigError, match=r"mirror_swaps=\[\(2, 3\)\]"):
        predictor(mirror_axes=(0, 2))
    with pytest.raises(ConfigError, match=r"mirror_swaps=\[\(2, 3\)\]"):
        VolumePredictor.from_checkpoint(checkpoint(mirror_axes=[0, 2]), device="cpu")


def test_a_scan_in_memory_is_predicted_as_its_file_is(scan, predictor, tmp_path):
    path, expected = scan(axes="LPI")
    volume = read_volume(path)
    from_file = predictor().predict(path)
    in_memory = predictor().predict_array(volume.array, volume.geometry, notes=("as given",))
    assert np.array_equal(in_memory.labels, from_file.labels)
    assert in_memory.volumes_ml == from_file.volumes_ml
    assert in_memory.notes == ("as given", *from_file.notes)
    assert set(in_memory.seconds) == {"prepare", "predict", "measure"}
    in_memory.save(tmp_path / "out.nii.gz")
    written = nib.load(tmp_path / "out.nii.gz")
    assert np.array_equal(np.asarray(written.dataobj), expected)
    np.testing.assert_allclose(written.affine, nib.load(path).affine, atol=1e-6)


def test_a_channel_that_a_scan_lacks_is_zero_for_the_network(scan, preprocessing, band_network):
    seen = []

    class Recorder(band_network):
        def forward(self, x):
            seen.append(x.clone())
            return super().forward(x)

    normalised = replace(preprocessing("CT", "PET"), intensity=({**AS_IT_IS, "mean": 40.0},) * 2)
    predictor = VolumePredictor(Recorder(), normalised, LABELS, {"window": (8, 8, 8)}, device="cpu")
    volume = read_volume(scan(shape=(8, 8, 8))[0])
    array = np.concatenate([volume.array, np.zeros_like(volume.array)])
    prepared = normalised.spatial(array, volume.geometry.canonical_spacing)
    predictor.label_map(prepared, [], name="scan", present=(True, False))
    predictor.label_map(prepared, [], name="scan")
    assert not seen[0][:, 1].any() and seen[0][:, 0].any()
    assert (seen[1][:, 1] == -40).all()


def test_device_that_is_not_there_is_refused(monkeypatch):
    assert choose_device("cpu").type == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="no CUDA device"):
        choose_device("cuda")
    with pytest.raises(ConfigError, match="expected auto, cpu, cuda"):
        choose_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="0 to 1"):
        choose_device("cuda:2")
