"""Columns beside the JSON: the same objects, and the JSON where they are not its own."""

import json
import os

import numpy as np
import pytest

from densekit.datasets.detection import columns, prepare_detection
from densekit.datasets.detection.columns import are_current, columns_path, open_coco, write_columns
from densekit.structures.coco import from_coco, to_coco


@pytest.fixture
def annotations(make, tmp_path):
    """The JSON of a split with an outline, run lengths, a crowd, a background image and ids in no order."""
    mask = {"size": [48, 64], "counts": [100, 20, 48 * 64 - 120]}
    images = [{"id": i, "file_name": f"{i}é.jpg", "width": 64, "height": 48} for i in (30, 10, 20)]
    for image in images:
        make.image(image["file_name"])
    objects = [
        (19, 1, [0.1, 0.2, 30.7, 20.3], {"segmentation": [[0.1, 0.2, 30.8, 4, 14, 1 / 3 + 20]]}),
        (29, 0, [4, 4, 10, 12], {"iscrowd": 1, "segmentation": mask}),
        (19, 0, [4, 4, 10, 12], {"area": 77.25}),
    ]
    make.coco("instances_train.json", images, objects)
    return prepare_detection(make.root, cache=tmp_path / "cache", seed=None).annotations["train"]


@pytest.fixture
def parsed(monkeypatch):
    """Count how often a JSON is read in place of its columns."""
    calls, load = [], columns.load_json
    monkeypatch.setattr(columns, "load_json", lambda path: calls.append(path) or load(path))
    return calls


def same(one, other):
    for name in ("image_index", "labels", "xywh", "crowd", "ignore", "areas", "origin"):
        left, right = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        assert left.dtype == right.dtype and left.tobytes() == right.tobytes(), name
    assert list(one.masks) == list(other.masks)
    assert list(one.images.ids) == list(other.images.ids) and list(one.images.files) == list(other.images.files)
    assert one.images.sizes.tolist() == other.images.sizes.tolist()
    assert (one.names, one.category_ids, one.where) == (other.names, other.category_ids, other.where)


def test_columns_are_those_of_the_json(annotations, parsed):
    content = json.loads(annotations.read_text())
    mapped = open_coco(annotations)
    assert parsed == []
    same(mapped, from_coco(content, str(annotations)))
    assert isinstance(mapped.xywh.base.base, np.memmap) or isinstance(mapped.xywh.base, np.memmap)
    again = to_coco(mapped, content["info"]["description"])
    by_id = sorted(again["annotations"], key=lambda a: a["id"])
    assert {**again, "annotations": by_id} == content


def rewritten(annotations):
    content = json.loads(annotations.read_text())
    content["annotations"][0]["bbox"] = [1, 2, 3, 4]
    annotations.write_text(json.dumps(content))


def touched(annotations):
    os.utime(annotations, (1, 1))


def cut(annotations):
    path = columns_path(annotations)
    path.write_bytes(path.read_bytes()[:-5])


def emptied(annotations):
    columns_path(annotations).write_bytes(b"")


def overwritten(annotations):
    columns_path(annotations).write_bytes(b"\x07" + bytes(7) + b"not js!" + bytes(99))


def another_version(annotations):
    path = columns_path(annotations)
    path.write_bytes(path.read_bytes().replace(b'"version":"1"', b'"version":"0"'))


def pointing_nowhere(annotations):
    path = columns_path(annotations)
    indices = open_coco(annotations).image_index
    assert path.read_bytes().count(indices.tobytes()) == 1
    path.write_bytes(path.read_bytes().replace(indices.tobytes(), (indices + 3).tobytes()))


def gone(annotations):
    columns_path(annotations).unlink()


@pytest.mark.parametrize(
    "change", [rewritten, touched, cut, emptied, overwritten, another_version, pointing_nowhere, gone]
)
def test_other_columns_are_not_used_and_are_made_anew(annotations, make, tmp_path, parsed, change):
    change(annotations)
    assert not are_current(annotations)
    same(open_coco(annotations), from_coco(json.loads(annotations.read_text()), str(annotations)))
    assert len(parsed) == 1
    if change is not rewritten:  # that is another data set: nobody but us writes there
        prepared = prepare_detection(make.root, cache=tmp_path / "cache", seed=None)
        assert are_current(prepared.annotations["train"])


def test_columns_of_a_json_that_was_not_written_with_them(annotations, parsed):
    gone(annotations)
    write_columns(annotations)
    del parsed[:]
    same(open_coco(annotations), from_coco(json.loads(annotations.read_text()), str(annotations)))
    assert parsed == []


def test_a_split_without_objects(make, tmp_path):
    make.image("a.jpg")
    make.image("b.jpg")
    make.coco("instances_train.json", ["a.jpg"], [(0, 0, [4, 4, 10, 12])])
    make.coco("instances_val.json", ["b.jpg"], [])
    prepared = prepare_detection(make.root, cache=tmp_path / "cache")
    found = open_coco(prepared.annotations["val"])
    assert are_current(prepared.annotations["val"]) and len(found) == 0 and len(found.images) == 1


def test_a_file_without_columns_beside_it_is_read_and_left_alone(make):
    path = make.coco("some.json", ["a.jpg"], [(0, 0, [4, 4, 10, 12])])
    assert len(open_coco(path)) == 1 and open_coco(path, masks=False).masks is None
    assert [file.name for file in path.parent.iterdir()] == ["some.json"]
