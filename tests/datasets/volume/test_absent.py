"""What a case may lack: label map, classes, meta-information, channels; and what is then in a sample."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

from densekit.datasets.transforms import nnunet_augmentation
from densekit.datasets.volume.dataset import VolumeDataset, VolumePatchDataset
from densekit.datasets.volume.store import open_store, write_store
from densekit.errors import ConfigError, DataError
from densekit.io import write_image
from densekit.ops.unlabelled import UNLABELLED

from .conftest import LABELS, grid

PATCH = (6, 8, 10)
BOTH = ("label", "classes")


@pytest.fixture
def make_partial(make_source, tmp_path):
    """Three training cases: case0 has all, case1 no label map, case2 no class and no meta-information."""

    def make(**changes):
        source = make_source(cases=3)
        known = [
            {"classes": {"grade": "high", "side": "left"}, "meta": {"age": 50.0, "sex": "F"}},
            {"classes": {"grade": "low"}, "meta": {"sex": "M"}, "label": None},
            {},
        ]
        cases = [replace(c, split="train", **k) for c, k in zip(source.cases, known, strict=True)]
        return replace(source, cases=tuple(cases), **changes)

    return make


def samples(dataset, number=12):
    found = {}
    for index in range(number):
        sample = dataset[index]
        found.setdefault(sample["data_samples"]["case_id"], sample)
    return found


def test_a_sample_has_what_is_known_and_marks_what_is_not(make_partial, tmp_path):
    root = write_store(make_partial(), tmp_path / "out").path
    pipeline = nnunet_augmentation(PATCH, mirror_pairs=[("left kidney", "right kidney")], labels=LABELS)
    patches = VolumePatchDataset(root, "train", PATCH, pipeline, targets=BOTH, foreground_ratio=1)
    found = samples(patches)
    assert sorted(found) == ["case0", "case1", "case2"]
    assert patches.metainfo["patient_classes"] == {"grade": ["high", "low"], "side": ["left"]}
    assert patches.metainfo["meta"] == {"age": None, "sex": ["F", "M"]}
    of = {case_id: sample["data_samples"] for case_id, sample in found.items()}
    assert [of[c]["classes"].tolist() for c in sorted(of)] == [[0, 0], [1, -1], [-1, -1]]
    meta = [of[c]["meta"] for c in sorted(of)]
    torch.testing.assert_close(meta[0], torch.tensor([50.0, 0.0]))
    torch.testing.assert_close(meta[1], torch.tensor([float("nan"), 1.0]), equal_nan=True)
    assert meta[2].isnan().all()
    assert (of["case1"]["label"] == UNLABELLED).all() and of["case1"]["label"].dtype == torch.uint8
    assert of["case0"]["label"].max() < len(LABELS) > of["case2"]["label"].max()
    batch = default_collate(list(found.values()))
    assert batch["data_samples"]["classes"].shape == (3, 2) and batch["data_samples"]["label"].shape == (3, *PATCH)
    whole = VolumeDataset(root, "train", targets=BOTH)
    assert (whole[1]["data_samples"]["label"] == UNLABELLED).all()
    assert whole[1]["data_samples"]["label"].shape == whole.cases[1].shape_before


def test_nothing_is_added_to_samples_of_a_data_set_that_lacks_nothing(make_source, tmp_path):
    root = write_store(make_source(cases=3), tmp_path / "out").path
    for dataset in (VolumePatchDataset(root, "train", PATCH), VolumeDataset(root, "train")):
        assert set(dataset[0]["data_samples"]) == {"label", "case_id", "spacing"}
        assert set(dataset.metainfo) == {"classes", "scored", "dataset"}


def test_cases_without_a_target_are_left_out_and_those_without_a_label_counted(make_partial, tmp_path, caplog):
    root = write_store(make_partial(), tmp_path / "out").path
    with caplog.at_level(logging.WARNING, logger="densekit"):
        assert [c.id for c in VolumeDataset(root, "train").cases] == ["case0", "case2"]
        assert "1 of 3 cases of split train have no label map, left out" in caplog.text
        caplog.clear()
        assert len(VolumeDataset(root, "train", targets=BOTH)) == 3
        assert "1 of 3 cases of split train have no label map; they add nothing to the segmentation loss" in caplog.text
        caplog.clear()
        assert [c.id for c in VolumeDataset(root, "train", targets=("classes",)).cases] == ["case0", "case1"]
        assert "1 of 3 cases of split train have no class, left out" in caplog.text
    with pytest.raises(ConfigError, match="targets has 'clases'; did you mean 'classes'"):
        VolumeDataset(root, "train", targets=("clases",))


def test_intensities_are_of_labelled_cases(make_partial, tmp_path):
    store = write_store(make_partial(), tmp_path / "out")
    without = make_partial()
    without = replace(without, cases=(without.cases[0], without.cases[2]))
    assert store.preprocessing == write_store(without, tmp_path / "other").preprocessing


def test_a_changed_table_does_not_make_cases_anew(make_partial, tmp_path):
    source, out = make_partial(), tmp_path / "out"
    write_store(source, out)
    seconds = []
    changed = replace(source.cases[0], meta={"age": 51.0}, patient="somebody")
    source = replace(source, cases=(changed, *source.cases[1:]))
    store = write_store(source, out, progress=lambda case, done, total, took: seconds.append(took))
    assert seconds == [0, 0, 0]
    assert (store.case("case0").meta, store.case("case0").patient) == ({"age": 51.0}, "somebody")
    assert store.case("case1").patient == "case1"


# --- channels


@pytest.fixture
def make_channels(make_source, tmp_path):
    """Two cases of CT and PET, of which case1 lacks the PET."""

    def make(normalization="ct", optional=("PET",)):
        source = make_source(cases=2)
        pet = tmp_path / "raw" / "pet.nii.gz"
        values = np.random.default_rng(0).integers(5, 900, (14, 20, 24)).astype(np.int16)
        write_image(pet, values, grid(values.shape, (3, 1, 1)))
        cases = [replace(c, images=(c.images[0], p)) for c, p in zip(source.cases, (pet, None), strict=True)]
        return replace(
            source,
            channels=("CT", "PET"),
            cases=tuple(cases),
            optional_channels=optional,
            normalization=normalization,
        )

    return make


@pytest.mark.parametrize("normalization", ["ct", "zscore"])
def test_a_channel_that_is_lacking_is_zero_and_said(make_channels, tmp_path, normalization):
    store = write_store(make_channels(normalization), tmp_path / "out")
    assert [store.case(c).channels_present for c in ("case0", "case1")] == [(True, True), (True, False)]
    augmentation = nnunet_augmentation(PATCH, mirror_axes=())  # adds noise to what it is given
    for dataset in (
        VolumePatchDataset(store.path, "train", PATCH, augmentation),
        VolumePatchDataset(store.path, "train", (20, 8, 31)),  # beyond the volume as well
    ):
        found = samples(dataset)
        assert found["case1"]["data_samples"]["channels_present"].tolist() == [True, False]
        assert found["case0"]["data_samples"]["channels_present"].tolist() == [True, True]
        assert (found["case1"]["inputs"][1] == 0).all()
        assert found["case1"]["inputs"][0].std() > 0 and found["case0"]["inputs"][1].std() > 0
        assert found["case1"]["inputs"].dtype == torch.float32


def test_intensities_of_a_channel_are_of_the_cases_that_have_it(make_channels, tmp_path):
    source = make_channels()
    both = write_store(source, tmp_path / "out").fingerprint["intensities"]["channels"]
    alone = write_store(replace(source, cases=source.cases[:1]), tmp_path / "other").fingerprint["intensities"][
        "channels"
    ]
    assert both["PET"] == alone["PET"] and both["PET"]["min"] >= 5
    assert both["CT"]["voxels"] > alone["CT"]["voxels"]


def test_a_channel_may_only_lack_where_that_is_declared(make_channels, tmp_path):
    with pytest.raises(DataError, match="case case1: no channel PET, which is not declared to be one that may lack"):
        write_store(make_channels(optional=()), tmp_path / "out")
    source = make_channels(optional=("CT", "PET"))
    empty = replace(source.cases[1], images=(None, None))
    with pytest.raises(DataError, match="case case1: no image; leave it out"):
        write_store(replace(source, cases=(source.cases[0], empty)), tmp_path / "out")


def test_the_first_channel_may_lack_too(make_channels, tmp_path):
    source = make_channels(optional=("CT", "PET"))
    turned = replace(source.cases[1], images=source.cases[1].images[::-1])
    store = write_store(replace(source, cases=(source.cases[0], turned)), tmp_path / "out")
    assert not store.case("case1").image[0].any() and store.case("case1").image[1].any()


def test_the_files_of_a_scan_say_which_channel_it_lacks(make_channels, tmp_path):
    store = write_store(make_channels(), tmp_path / "out")
    names = [[path and path.name for path in store.case(c).image_files()] for c in ("case0", "case1")]
    assert names == [["img0.nii.gz", "pet.nii.gz"], ["img1.nii.gz", None]]


# --- splits and folds of one store


def test_folds_share_one_store_and_its_samples(make_source, tmp_path):
    source = make_source(cases=4)
    source = replace(source, cases=tuple(replace(c, patient=f"p{n // 2}") for n, c in enumerate(source.cases[:3])))
    source = replace(source, cases=(*source.cases[:2], replace(source.cases[2], split="val")))
    store = write_store(source, tmp_path / "out", folds=2)
    assert store.splits["train"] == ["case0", "case1"]
    folds = [open_store(store.path, fold) for fold in range(2)]
    assert sorted(fold.ids("val") for fold in folds) == [["case0", "case1"], ["case2"]]
    for number, fold in enumerate(folds):
        assert (fold.fold, fold.folds) == (number, 2)
        assert [c.id for c in VolumeDataset(store.path, "val", number).cases] == fold.ids("val")
        patches = VolumePatchDataset(store.path, "train", PATCH, fold=number)
        assert [c.id for c in patches.cases] == fold.ids("train")
    with pytest.raises(ConfigError, match="fold=7: the data set has 2 folds, 0 to 1"):
        open_store(store.path, 7)
    with pytest.raises(DataError, match=r"patient 'p0' is in train \(case0\) and val \(case1\)"):
        write_store(replace(source, cases=(source.cases[0], replace(source.cases[1], split="val"))), tmp_path / "no")


def test_a_file_of_splits_that_was_edited_is_read_and_kept_when_another_is_written(make_source, tmp_path, caplog):
    source = make_source(cases=3)
    path = write_store(source, tmp_path / "out").path
    mine = '{"splits": {"train": ["case2"], "val": ["case0"], "mine": ["case0", "case1"]}}'
    (path / "splits.json").write_text(mine)
    assert open_store(path).splits == {"train": ["case2"], "val": ["case0"], "mine": ["case0", "case1"]}
    assert len(VolumeDataset(path, "mine")) == 2
    assert "written anew" not in caplog.text
    with caplog.at_level(logging.WARNING, logger="densekit"):
        write_store(source, path)
    assert "splits.json: written anew with other splits; what it was is in splits.previous.json" in caplog.text
    assert (path / "splits.previous.json").read_text() == mine
    assert open_store(path).splits["train"] == ["case0", "case1"]
    (path / "splits.json").write_text('{"splits": {"train": ["case2", "case2", "case7"]}}')
    with pytest.raises(DataError, match=r"splits.json: split train has case 'case2' 2 times; keep one \(and 1 more"):
        open_store(path)
