"""Samples from columns: those of MMDetection's CocoDataset to the bit, in its order, in every process."""

import contextlib
import io
import json
import pickle

import numpy as np
import pytest
from mmdet.datasets import CocoDataset
from PIL import Image

from densekit.datasets.detection import columns
from densekit.datasets.detection.columns import write_columns
from densekit.datasets.detection.loading import with_loading
from densekit.datasets.detection.training import ColumnDataset, Others, coco_dataset
from densekit.datasets.shared.epochs import SeededDataset
from densekit.datasets.shared.image_folds import read_image_table
from densekit.errors import DataError

CLASSES = ("cat", "dog", "cow")


@pytest.fixture
def annotations(tmp_path):
    """Everything that CocoDataset leaves out or treats apart, image ids in no order, with columns."""
    rng = np.random.default_rng(0)
    images = [
        {"id": int(i), "file_name": f"sub/{i}.jpg", "width": int(w), "height": int(h)}
        for i, w, h in zip(rng.permutation(40)[:12], rng.integers(20, 90, 12), rng.integers(20, 90, 12), strict=True)
    ]
    rows = []
    for image in images[1:]:
        for _ in range(rng.integers(1, 9)):
            box = [*(rng.random(2) * 80 - 15).round(2).tolist(), *(rng.random(2) * 40).round(2).tolist()]
            row = {"bbox": box, "area": box[2] * box[3], "iscrowd": int(rng.random() < 0.2)}
            if rng.random() < 0.6:
                row["segmentation"] = [(rng.random(8) * 60).round(2).tolist()]
            elif rng.random() < 0.5:
                row["segmentation"] = {"size": [image["height"], image["width"]], "counts": "abc"}
            rows.append({**row, "image_id": image["id"], "category_id": int(rng.integers(1, 4))})
    special = [
        {"bbox": [4, 4, 0.9, 20], "area": 18},  # thinner than a pixel
        {"bbox": [4, 4, 1, 20], "area": 20},
        {"bbox": [900, 4, 10, 20], "area": 200},  # outside
        {"bbox": [4, 4, 10, 20], "area": 0},
        {"bbox": [4, 4, 10, 20], "area": 200, "ignore": 1},
        {"bbox": [0.1, 0.2, 0.3 + 3, 0.7 + 3], "area": 12.21},
    ]
    rows += [{"iscrowd": 0, **row, "image_id": images[3]["id"], "category_id": 2} for row in special]
    rows = [{"id": n, **rows[k]} for n, k in enumerate(rng.permutation(len(rows)), start=1)]
    categories = [{"id": n, "name": name} for n, name in enumerate(CLASSES, start=1)]
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    write_columns(path)
    return path


def both(path, **options):
    options = {"metainfo": {"classes": CLASSES}, **options}
    with contextlib.redirect_stdout(io.StringIO()):
        stock = CocoDataset(ann_file=str(path), data_prefix={"img": "data"}, pipeline=[], **options)
    ours = ColumnDataset(ann_file=str(path), data_prefix={"img": "data"}, pipeline=[], serialize_data=False, **options)
    return ours, stock


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"filter_cfg": {"filter_empty_gt": False}},
        {"filter_cfg": {"filter_empty_gt": True, "min_size": 32}},
        {"filter_cfg": {"filter_empty_gt": True, "min_size": 32}, "test_mode": True},
        {"metainfo": {"classes": ("cow", "cat")}, "filter_cfg": {"filter_empty_gt": True}},
        {"indices": 5},
        {"indices": [7, 2, 4]},
    ],
    ids=["all", "with background", "filtered", "test", "two classes", "the first", "some"],
)
def test_samples_are_those_of_mmdetection(annotations, options):
    ours, stock = both(annotations, **options)
    assert len(ours) == len(stock) > 2
    for index in [*range(len(stock)), -1]:
        one, other = ours.get_data_info(index), stock.get_data_info(index)
        assert one == other
        for mine, theirs in zip(one["instances"], other["instances"], strict=True):
            assert [v.hex() for v in mine["bbox"]] == [float(v).hex() for v in theirs["bbox"]]
            assert {key: type(value) for key, value in mine.items()} == {key: type(v) for key, v in theirs.items()}
        assert ours.get_cat_ids(index) == stock.get_cat_ids(index)
    assert sum(len(ours[i]["instances"]) for i in range(len(ours))) > 3


def test_samples_of_a_json_without_columns_are_the_same(annotations):
    ours, _ = both(annotations)
    samples = [ours.get_data_info(index) for index in range(len(ours))]
    columns.columns_path(annotations).unlink()
    assert [both(annotations)[0].get_data_info(index) for index in range(len(ours))] == samples


def test_no_process_reads_the_json(annotations, monkeypatch):
    monkeypatch.setattr(columns, "load_json", lambda path: pytest.fail("the JSON is read"))
    dataset = coco_dataset(annotations, "data", CLASSES, [])
    sent = pickle.dumps(dataset)
    assert len(sent) < 5000  # the columns stay in their file
    there = pickle.loads(sent)
    assert [there.get_data_info(i) for i in range(12)] == [dataset.get_data_info(i) for i in range(12)]


def test_a_sample_is_ones_own_to_change(annotations):
    dataset = coco_dataset(annotations, "data", CLASSES, [])
    index = next(i for i in range(12) if dataset.get_data_info(i)["instances"])
    dataset.get_data_info(index)["instances"].clear()
    assert dataset.get_data_info(index)["instances"]


def test_samplers_see_sizes_without_the_objects(annotations):
    dataset = SeededDataset(coco_dataset(annotations, "data", CLASSES, []), seed=0, repeat=2)
    for index in (3, 15):
        whole = dataset.dataset.get_data_info(3)
        assert dataset.get_data_info(index) == {
            k: whole[k] for k in ("img_path", "img_id", "seg_map_path", "height", "width")
        }


def test_counts_and_shapes_are_those_of_the_samples(annotations):
    dataset = coco_dataset(annotations, "data", CLASSES, [])
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    counts, shapes = dataset.data_list.counts_and_shapes()
    assert counts == [sum(not one["ignore_flag"] for one in info["instances"]) for info in infos]
    assert shapes == [(info["height"], info["width"]) for info in infos]


# --- transforms that mix several images -------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def shades(tmp_path_factory):
    """Twelve images of 32 x 32, number n of the shade 10 n, each with one object of 16 x 16 and its outline."""
    folder = tmp_path_factory.mktemp("shades")
    images, rows = [], []
    for n in range(12):
        Image.fromarray(np.full((32, 32, 3), 10 * n, np.uint8)).save(folder / f"{n}.png")
        images.append({"id": n, "file_name": f"{n}.png", "width": 32, "height": 32})
        square = [8, 8, 24, 8, 24, 24, 8, 24]
        rows.append({"id": n + 1, "image_id": n, "category_id": 1, "bbox": [8, 8, 16, 16], "area": 256, "iscrowd": 0})
        rows[-1]["segmentation"] = [square]
    path = folder / "train.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "cat"}]}))
    write_columns(path)

    def build(*transforms, masks=False, seed=0):
        pipeline = with_loading(transforms, masks=masks, ranges={})
        return SeededDataset(coco_dataset(path, folder, ["cat"], pipeline), seed)

    return build


MOSAIC = {"type": "Mosaic", "img_scale": (32, 32), "pad_val": 255}
CACHED = {"type": "CachedMosaic", "img_scale": (32, 32), "pad_val": 255, "max_cached_images": 4}
MIXUP = {"img_scale": (32, 32), "ratio_range": (1.0, 1.0), "flip_ratio": 0.0, "pad_val": 255}


def shades_of(sample):
    return set(sample["inputs"].unique().tolist()) - {255}


@pytest.mark.parametrize("mosaic", [MOSAIC, CACHED], ids=["plain", "cached"])
def test_a_mosaic_is_of_several_images_of_the_data_set(shades, mosaic):
    data = shades(mosaic)
    seen = [shades_of(data[n]) for n in range(24)]
    assert max(map(len, seen)) == 4
    assert set.union(*seen) == {10 * n for n in range(12)}


@pytest.mark.parametrize(
    "transforms",
    [[MOSAIC, {"type": "MixUp", **MIXUP}], [CACHED, {"type": "CachedMixUp", **MIXUP, "prob": 1.0}]],
    ids=["plain", "cached"],
)
def test_what_is_mixed_in_depends_on_seed_and_number_alone(shades, transforms):
    data, again = shades(*transforms), shades(*transforms)
    first = [data[n]["inputs"] for n in range(8)]
    assert all((data[n]["inputs"] == first[n]).all() for n in (5, 2, 7))  # whatever was read before
    assert (again[3]["inputs"] == first[3]).all()  # in a new process
    other = shades(*transforms, seed=1)
    assert any(other[n]["inputs"].shape != first[n].shape or (other[n]["inputs"] != first[n]).any() for n in range(8))


def test_copy_paste_brings_objects_of_another_image_with_their_masks(shades):
    data = shades({"type": "CopyPaste", "max_num_pasted": 2}, masks=True)
    samples = [data[n] for n in range(24)]
    pasted = [sample for sample in samples if len(shades_of(sample)) == 2]
    assert pasted
    for sample in samples:
        assert len(sample["data_samples"].gt_instances.masks) == len(sample["data_samples"].gt_instances.bboxes)


def test_the_others_are_as_they_are_in_front_of_the_first_mosaic(shades):
    data = shades({"type": "Resize", "scale": (64, 64)}, {**MOSAIC, "img_scale": (64, 64)})
    assert data[0]["inputs"].shape == (3, 128, 128)
    assert max(len(shades_of(data[n])) for n in range(6)) >= 3


def test_an_image_that_is_dropped_is_replaced_by_the_next():
    others = Others(3, lambda index: {"img_id": index} if index == 2 else None)
    assert [others[n]["img_id"] for n in (0, 1, 2, 3)] == [2, 2, 2, 2]
    with pytest.raises(DataError, match="no image of the data set is left"):
        Others(3, lambda index: None)[0]


def test_a_sample_carries_the_row_of_its_image(make, tmp_path):
    make.image("a.jpg")
    make.image("b.jpg")
    path = make.coco("train.json", ["a.jpg", "b.jpg"], [(0, 0, [4, 4, 10, 12])])
    table = tmp_path / "table.csv"
    table.write_text("image,age,sex\na,50,F\n")
    data = coco_dataset(
        path,
        make.root,
        ["cat"],
        with_loading([], masks=False, ranges={}),
        table=read_image_table(table, ["a.jpg", "b.jpg"]),
    )
    assert data.metainfo["meta"] == {"age": None, "sex": ["F"]}
    rows = [pickle.loads(pickle.dumps(data))[n]["data_samples"].metainfo["meta"] for n in range(2)]
    assert rows[0].tolist() == [50, 0] and rows[1].isnan().all()
    bare = coco_dataset(path, make.root, ["cat"], with_loading([], masks=False, ranges={}))
    assert "meta" not in bare[0]["data_samples"].metainfo and "meta" not in bare.metainfo
