"""Volumes are told from images at a glance."""

import pytest

from densekit.datasets.volume.recognize import holds_volumes
from densekit.errors import DataError
from densekit.tasks import check, find_task


def put(root, *names, text="{}"):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    "name", ["a.mha", "scans/a.NRRD", "imagesTr/case_0000.nii.gz", "Training/img/a.nii", "cases/a/case.json"]
)
def test_a_folder_of_volumes(tmp_path, name):
    put(tmp_path, "readme.txt", name)
    assert holds_volumes(tmp_path)
    assert find_task("volume", "").recognizes(tmp_path)


@pytest.mark.parametrize(
    "name", ["a/b/c/d.nii.gz", "train/a.jpg", "train/.hidden.nii.gz", "cases/a.jpg", "train/folder.mha/a.jpg"]
)
def test_a_folder_of_something_else(tmp_path, name):
    put(tmp_path, name)
    assert not holds_volumes(tmp_path)


@pytest.mark.parametrize(
    ("content", "ours"),
    [
        ('{"format": 2}', True),
        ('{"format": 1}', True),
        ('{"format": "coco"}', False),
        ('{"labels": {}}', False),
        ("[2]", False),
        ("no JSON", False),
    ],
)
def test_a_description_is_ours_by_its_format(tmp_path, content, ours):
    put(tmp_path, "dataset.json", text=content)
    assert holds_volumes(tmp_path) == ours


def test_one_file(tmp_path):
    put(tmp_path, "a.nii.gz", "labels.json")
    assert holds_volumes(tmp_path / "a.nii.gz") and not holds_volumes(tmp_path / "labels.json")


def test_a_large_folder_is_not_read_to_its_end(tmp_path, monkeypatch):
    put(tmp_path, *(f"train/{n}.jpg" for n in range(20)))
    monkeypatch.setattr("densekit.datasets.volume.recognize._LOOKED_AT", 5)
    asked = []
    monkeypatch.setattr("densekit.datasets.volume.recognize.volume_suffix", asked.append)
    assert not holds_volumes(tmp_path)
    assert len(asked) == 1 + 5


@pytest.mark.parametrize("task", [None, "volume", "detection"])
def test_a_path_that_is_not_there(tmp_path, task):
    with pytest.raises(DataError) as caught:
        check(tmp_path / "none", task=task)
    assert str(caught.value) == f"{tmp_path / 'none'}: no such file or folder; check the path"
