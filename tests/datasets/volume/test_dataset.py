"""Patches: which voxels they hold, how they are drawn, and that nothing but seed and index decides."""

from __future__ import annotations

import logging
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from densekit.datasets.transforms import nnunet_augmentation
from densekit.datasets.volume import sampler as sampler_module
from densekit.datasets.volume.dataset import VolumeDataset, VolumePatchDataset
from densekit.datasets.volume.sampler import VolumePatchSampler
from densekit.datasets.volume.store import open_store, write_store
from densekit.errors import ConfigError, DataError
from densekit.io import write_label
from densekit.registry import DATA_SAMPLERS, DATASETS

from .conftest import LABELS, grid, scan

PATCH = (6, 8, 10)


@pytest.fixture
def root(make_source, tmp_path):
    """Three prepared cases of about 14 x 18 x 24 voxels, each voxel as in the raw scan."""
    return write_store(make_source(cases=3, spacing=(3.0, 1.0, 1.0)), tmp_path / "store").path


def equal(one: dict, other: dict) -> bool:
    ours, theirs = one["data_samples"], other["data_samples"]
    return (
        torch.equal(one["inputs"], other["inputs"])
        and torch.equal(ours["label"], theirs["label"])
        and ours["case_id"] == theirs["case_id"]
        and torch.equal(ours["spacing"], theirs["spacing"])
    )


def full_pipeline() -> list[dict]:
    return nnunet_augmentation(PATCH, mirror_pairs=[("left kidney", "right kidney")], labels=LABELS)


# --- what a sample is


def test_a_sample_is_a_window_of_the_prepared_case_normalised(root):
    dataset = VolumePatchDataset(root, "train", PATCH, foreground_ratio=0, seed=3)
    store = open_store(root)
    for index in range(12):
        sample = dataset[index]
        image, label = sample["inputs"], sample["data_samples"]["label"]
        assert (image.dtype, label.dtype) == (torch.float32, torch.uint8)
        assert (image.shape, label.shape) == ((1, *PATCH), PATCH)
        case = store.case(sample["data_samples"]["case_id"])
        assert sample["data_samples"]["spacing"].tolist() == [3.0, 1.0, 1.0]
        whole = store.preprocessing.normalize(torch.from_numpy(np.array(case.image)), case.statistics)
        windows = whole[0].unfold(0, 6, 1).unfold(1, 8, 1).unfold(2, 10, 1)
        found = (windows == image[0]).flatten(3).all(dim=3).nonzero()
        assert len(found) == 1
        d, h, w = found[0].tolist()
        expected = np.array(case.label)[d : d + 6, h : h + 8, w : w + 10]
        np.testing.assert_array_equal(label, expected)


def test_default_collate_makes_a_batch(root):
    batch = next(iter(DataLoader(VolumePatchDataset(root, "train", PATCH), batch_size=2)))
    assert batch["inputs"].shape == (2, 1, *PATCH)
    assert batch["data_samples"]["label"].shape == (2, *PATCH)
    assert len(batch["data_samples"]["case_id"]) == 2
    assert batch["data_samples"]["spacing"].shape == (2, 3)


def test_parts_are_registered_and_describe_themselves(root):
    dataset = DATASETS.build({"type": "VolumePatchDataset", "root": root, "split": "train+val", "patch_size": PATCH})
    assert len(dataset.cases) == 3
    assert dataset.metainfo["classes"] == LABELS
    sampler = DATA_SAMPLERS.build({"type": "VolumePatchSampler"}, default_args={"dataset": dataset, "seed": 1})
    assert len(sampler) == len(dataset) == 500
    assert len(DATASETS.build({"type": "VolumeDataset", "root": root, "split": "val"})) == 1


# --- where patches lie


def test_the_last_third_of_each_batch_is_centred_on_a_class_drawn_evenly(root):
    dataset = VolumePatchDataset(root, "train", (3, 3, 3), batch_size=4, length=1200, seed=1)
    assert dataset.foreground_per_batch == 2
    centres = []
    for index in range(600):
        label = dataset[index]["data_samples"]["label"]
        if index % 4 >= 2:
            centres.append(label[1, 1, 1].item())
    counts = np.bincount(centres, minlength=4)
    assert counts[0] == 0  # no labelled voxel touches the border here, so none was shifted
    assert counts[1:].min() > 70  # 300 in all, 100 of each class
    store = open_store(root)
    share = np.mean([np.mean(np.array(store.case(i).label) == 2) for i in ("case0", "case1")])
    assert share < 0.1  # far from what uniform voxels would give


@pytest.mark.parametrize(
    ("batch_size", "ratio", "forced"),
    [(2, 1 / 3, 1), (3, 1 / 3, 1), (4, 1 / 3, 2), (6, 1 / 3, 2), (1, 1 / 3, 1), (2, 0, 0), (5, 1, 5), (3, 0.33, 1)],
)
def test_share_of_foreground_is_rounded_up(root, batch_size, ratio, forced):
    dataset = VolumePatchDataset(root, "train", PATCH, foreground_ratio=ratio, batch_size=batch_size, length=batch_size)
    assert dataset.foreground_per_batch == forced


def test_other_patches_reach_every_corner(root):
    dataset = VolumePatchDataset(root, "train", PATCH, foreground_ratio=0, length=800, batch_size=1)
    starts = {case.id: [] for case in dataset.cases}
    for index in range(800):
        case, start = dataset._draw(np.random.default_rng(index), 0)
        starts[case.id].append(start)
    for case in dataset.cases:
        room = [n - size for n, size in zip(case.shape, PATCH, strict=True)]
        assert np.min(starts[case.id], axis=0).tolist() == [0, 0, 0]
        assert np.max(starts[case.id], axis=0).tolist() == room
        assert len(starts[case.id]) > 320  # cases are drawn evenly


def test_foreground_patches_stay_inside_the_volume(root):
    dataset = VolumePatchDataset(root, "train", (12, 16, 20), foreground_ratio=1)
    for index in range(40):
        case, start = dataset._draw(np.random.default_rng(index), 1)
        assert all(0 <= s <= n - size for s, n, size in zip(start, case.shape, dataset.patch_size, strict=True))


def test_a_volume_smaller_than_the_patch_is_padded_with_its_minimum(root):
    dataset = VolumePatchDataset(root, "val", (20, 8, 31))
    case = dataset.cases[0]
    d, w = case.shape[0], case.shape[2]
    before_d, before_w = (20 - d) // 2, (31 - w) // 2  # as the sliding window pads
    lowest = dataset.store.preprocessing.normalize(torch.full((1, 1, 1, 1), case.minimum[0]), []).item()
    for index in range(4):
        sample = dataset[index]
        image, label = sample["inputs"][0], sample["data_samples"]["label"]
        outside = torch.ones((20, 8, 31), dtype=torch.bool)
        outside[before_d : before_d + d, :, before_w : before_w + w] = False
        assert (image[outside] == lowest).all()
        assert (label[outside] == 0).all()
        assert label[~outside].any() or index % 2 == 0
        assert image[~outside].std() > 0


def test_a_case_without_labelled_voxels_gives_patches_too(make_source, tmp_path):
    source = make_source(cases=2)
    empty = np.zeros((15, 20, 24), np.uint8)
    write_label(source.cases[1].label, empty, grid(empty.shape, (3, 1, 1)), like=None, names=None)
    dataset = VolumePatchDataset(write_store(source, tmp_path / "store").path, "train", PATCH, foreground_ratio=1)
    assert {dataset[index]["data_samples"]["case_id"] for index in range(20)} == {"case0", "case1"}


# --- margin and pipeline


class Spy:
    """Asks for a margin and cuts it off again; keeps what it was given."""

    def __init__(self, margin):
        self.margin = margin

    def draw_margin(self):
        return self.margin

    def __call__(self, sample):
        self.seen = sample["inputs"]
        d, h, w = (slice(m, m + n) for m, n in zip(self.margin, PATCH, strict=True))
        return {**sample, "inputs": sample["inputs"][:, d, h, w], "label": sample["label"][:, d, h, w]}


@pytest.mark.parametrize("margin", [None, (1, 2, 0)])
def test_margin_is_real_context_around_the_same_patch(root, margin):
    spy = Spy((1, 2, 0))
    wide = VolumePatchDataset(root, "train", PATCH, [spy], margin=margin)
    plain = VolumePatchDataset(root, "train", PATCH)
    context = []
    for index in range(6):
        assert equal(wide[index], plain[index])
        assert spy.seen.shape == (1, 8, 12, 10)
        context.append(spy.seen[:, 0].std() > 0)
    assert any(context)  # not the padding of a patch at the border


def test_monai_transforms_with_a_margin_and_a_crop(root):
    crop = {"type": "CenterSpatialCropd", "keys": ("inputs", "label"), "roi_size": PATCH}
    rotate = {"type": "RandRotated", "keys": ("inputs", "label"), "range_x": 0.5, "prob": 1.0}
    rotate["mode"] = ("bilinear", "nearest")
    dataset = VolumePatchDataset(root, "train", PATCH, [rotate, crop], margin=3)
    sample = dataset[1]
    assert sample["inputs"].shape == (1, *PATCH)
    assert sample["data_samples"]["label"].dtype in (torch.uint8, torch.int64)
    assert set(sample["data_samples"]["label"].unique().tolist()) <= {0, 1, 2, 3}
    without = VolumePatchDataset(root, "train", PATCH, [rotate], margin=3)
    with pytest.raises(ConfigError, match=r"returns inputs of \(12, 14, 16\), expected .*CenterSpatialCropd"):
        without[0]


# --- nothing but seed and index decides


def test_samples_do_not_depend_on_what_was_read_before(root):
    first = VolumePatchDataset(root, "train", PATCH, full_pipeline(), seed=5)
    in_order = [first[index] for index in range(24)]
    restarted = VolumePatchDataset(root, "train", PATCH, full_pipeline(), seed=5)
    for index in reversed(range(9, 24)):
        assert equal(restarted[index], in_order[index])
    other = VolumePatchDataset(root, "train", PATCH, full_pipeline(), seed=6)
    assert not any(equal(other[index], in_order[index]) for index in range(24))
    assert len({sample["inputs"].sum().item() for sample in in_order}) == 24


def test_worker_processes_give_the_samples_of_none_and_a_restart_continues(root):
    dataset = VolumePatchDataset(root, "train", PATCH, full_pipeline(), batch_size=2, length=8)

    def epochs(workers: int, first: int, last: int) -> list[dict]:
        sampler = VolumePatchSampler(dataset)
        loader = DataLoader(dataset, batch_size=2, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
        batches = []
        for epoch in range(first, last):
            sampler.set_epoch(epoch)
            batches += list(loader)
        return batches

    alone = epochs(0, 0, 2)
    assert len(alone) == 8
    for one, other in zip(alone, epochs(2, 0, 2), strict=True):
        assert equal(one, other)
    for one, other in zip(alone[4:], epochs(2, 1, 2), strict=True):
        assert equal(one, other)


def test_a_data_set_travels_to_another_process_without_its_volumes(root):
    dataset = VolumePatchDataset(root, "train", PATCH, full_pipeline())
    expected = dataset[7]
    packed = pickle.dumps(dataset)
    assert len(packed) < 20_000
    assert equal(pickle.loads(packed)[7], expected)


def test_ranks_share_an_epoch(monkeypatch):
    def indices(rank: int, world: int, epoch: int) -> list[int]:
        monkeypatch.setattr(sampler_module, "get_dist_info", lambda: (rank, world))
        sampler = VolumePatchSampler(range(6))
        sampler.set_epoch(epoch)
        assert len(sampler) == 6 // world
        return list(sampler)

    assert indices(0, 1, 0) == [0, 1, 2, 3, 4, 5]
    assert indices(0, 1, 2) == [12, 13, 14, 15, 16, 17]
    assert indices(0, 2, 1) == [6, 8, 10]
    assert indices(1, 2, 1) == [7, 9, 11]
    with pytest.raises(ConfigError, match="6 samples per epoch for 4 processes"):
        indices(0, 4, 0)


# --- whole volumes


def test_whole_volumes_for_validation(root):
    dataset = VolumeDataset(root, "train+val")
    assert len(dataset) == 3
    sample = dataset[2]
    case = open_store(root).case("case2")
    assert sample["data_samples"]["case_id"] == "case2"
    assert sample["inputs"].dtype == torch.int16
    np.testing.assert_array_equal(sample["inputs"], case.image)
    reference = sample["data_samples"]["label"]
    np.testing.assert_array_equal(reference, scan(2, (16, 20, 24))[1])  # the border that preparing cropped included
    assert reference.shape == case.shape_before != case.shape


def test_references_are_there_when_the_label_files_are_gone(root):
    dataset = VolumeDataset(root, "train+val")
    before = dataset[1]["data_samples"]["label"]
    Path(dataset.cases[1].sources["label"]).unlink()
    np.testing.assert_array_equal(VolumeDataset(root, "train+val")[1]["data_samples"]["label"], before)
    (dataset.cases[1].folder / "reference.npz").write_bytes(b"cut short")
    with pytest.raises(DataError, match=r"reference\.npz: cannot be read .*run `densekit prepare` again"):
        dataset[1]


def test_cases_without_label_are_left_out_and_said(make_source, tmp_path, caplog):
    source = make_source(cases=3)
    cases = (source.cases[0], *(replace(case, label=None, split="test") for case in source.cases[1:]))
    root = write_store(replace(source, cases=cases), tmp_path / "store").path
    with pytest.raises(DataError, match="split 'test' has 2 cases, none of them with a label"):
        VolumeDataset(root, "test")
    with caplog.at_level(logging.WARNING, logger="densekit"):
        assert len(VolumeDataset(root, "train+test")) == 1
    assert "2 of 3 cases of split train+test have no label map, left out" in caplog.text


# --- what is refused


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patch_size": (8, 8)}, "patch_size is .* expected three positive whole numbers"),
        ({"patch_size": (8, 8, 8.5)}, "expected three positive whole numbers"),
        ({"margin": -1}, "expected voxels per side"),
        ({"foreground_ratio": 33}, "expected a share between 0 and 1"),
        ({"length": 5, "batch_size": 2}, "expected length to be a multiple of batch_size"),
        ({"seed": -1}, "expected a whole number from 0 on"),
        ({"split": "trian"}, "no split 'trian'; did you mean 'train'"),
        ({"pipeline": [{"type": "RandFlipdd"}]}, "did you mean 'RandFlipd'"),
    ],
)
def test_bad_arguments(root, changes, message):
    arguments = {"root": root, "split": "train", "patch_size": PATCH, **changes}
    with pytest.raises(ConfigError, match=message):
        VolumePatchDataset(**arguments)


def test_a_missing_data_set_says_what_to_do(tmp_path):
    for part in (lambda: VolumePatchDataset(tmp_path / "no", "train", PATCH), lambda: VolumeDataset(tmp_path, "val")):
        with pytest.raises(DataError, match="densekit prepare KIND RAW"):
            part()


def test_importing_data_sets_does_not_import_monai():
    code = "import sys, densekit.datasets; sys.exit(int('monai' in sys.modules or 'SimpleITK' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
