"""What is written is read by pycocotools and MMDetection with the same boxes, classes and background images."""

import json

import numpy as np
import pytest

from densekit.datasets.detection import prepare_detection
from densekit.errors import DataError
from densekit.ops import run_lengths


@pytest.fixture
def prepared(make, tmp_path):
    mask = np.zeros((48, 64), bool)
    mask[4:16, 4:14] = True
    root = make.two_splits(
        [
            (0, 0, [4, 4, 10, 12], {"segmentation": [[4, 4, 14, 4, 14, 16, 4, 16]], "id": 700}),
            (0, 1, [4, 4, 10, 12], {"segmentation": run_lengths.encode(mask[None])[0], "category_id": 2}),
            (1, 1, [30.5, 20.25, 9.5, 8], {"iscrowd": 1, "segmentation": run_lengths.encode(mask[None])[0]}),
        ],
        [(0, 1, [4, 4, 10, 12], {"segmentation": [[4, 4, 14, 4, 14, 16]]})],
        ("zebra", "ant"),
    )
    return prepare_detection(root, cache=tmp_path / "cache")


def test_the_file(prepared):
    content = json.loads(prepared.annotations["train"].read_text())
    assert content["categories"] == [{"id": 1, "name": "zebra"}, {"id": 2, "name": "ant"}]
    assert [annotation["id"] for annotation in content["annotations"]] == [1, 2, 3]
    assert content["images"][0] == {"id": 1, "file_name": "train2017/1.jpg", "width": 64, "height": 48}
    assert len(content["images"]) == 3
    assert content["annotations"][2]["bbox"] == [30.5, 20.25, 9.5, 8]
    assert prepared.has_masks


def test_an_unknown_split_is_refused(make, load):
    dataset, _ = load(make.two_splits([(0, 0, [1, 1, 5, 5])], []))
    with pytest.raises(DataError, match="has no split 'test'; it has train, val"):
        dataset.to_coco("test")


def test_pycocotools_reads_it(prepared):
    coco = pytest.importorskip("pycocotools.coco").COCO(prepared.annotations["train"])
    assert coco.getCatIds(catNms=["ant"]) == [2]
    masks = [coco.annToMask(annotation) for annotation in coco.loadAnns(coco.getAnnIds(imgIds=1))]
    assert masks[1].sum() == 120
    assert np.abs(masks[0].astype(int) - masks[1]).sum() <= 30  # a polygon covers half of the pixels on its edge


def test_mmdetection_reads_it(prepared):
    pytest.importorskip("mmdet")
    from mmdet.datasets import CocoDataset

    dataset = CocoDataset(
        ann_file=str(prepared.annotations["train"]),
        data_prefix={"img": str(prepared.root)},
        metainfo={"classes": prepared.classes},
        filter_cfg={"filter_empty_gt": False},
        pipeline=[],
    )
    assert len(dataset) == 3
    infos = [dataset.get_data_info(number) for number in range(3)]
    assert [[i["bbox_label"] for i in info["instances"]] for info in infos] == [[0, 1], [1], []]
    assert infos[0]["instances"][0]["bbox"] == [4, 4, 14, 16]
    assert infos[1]["instances"][0]["ignore_flag"] == 1
    assert all(prepared.root.joinpath(info["img_path"]).is_file() for info in infos)
