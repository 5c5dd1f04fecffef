"""Small COCO sets: made by hand, and at random with everything that real ones have."""

import contextlib
import copy
import io

import numpy as np
import pytest
from pycocotools import mask as mask_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZE = (200, 160)


def _coco(images, objects, classes=("cat", "dog"), size=SIZE):
    """COCO annotations. objects: (image id, label, [x, y, w, h][, more keys]); category ids are 10, 20, ..."""
    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": size[0], "height": size[1]} for i in images],
        "annotations": [
            {
                "id": n,
                "image_id": image,
                "category_id": 10 * (label + 1),
                "bbox": list(box),
                "area": box[2] * box[3],
                "iscrowd": 0,
                **(more[0] if more else {}),
            }
            for n, (image, label, box, *more) in enumerate(objects, start=1)
        ],
        "categories": [{"id": 10 * (n + 1), "name": name} for n, name in enumerate(classes)],
    }


def _found(*rows):
    """COCO results. rows: (image id, label, [x, y, w, h], score)."""
    return [
        {"image_id": image, "category_id": 10 * (label + 1), "bbox": list(box), "score": score}
        for image, label, box, score in rows
    ]


def _rle(mask):
    rle = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode()}


def _ellipse(rng, width, height):
    y, x = np.mgrid[:height, :width]
    middle, half = rng.random(2) * [width, height], 2 + rng.random(2) * [width / 3, height / 3]
    return ((x - middle[0]) / half[0]) ** 2 + ((y - middle[1]) / half[1]) ** 2 < 1


def _random_set(seed, masks=False):
    """Classes without objects, images without objects, crowds, tied scores and equal overlaps, areas on the limits."""
    rng = np.random.default_rng(seed)
    width, height = SIZE
    images = [int(i) for i in rng.permutation(50)[: rng.integers(2, 9)]]
    classes = int(rng.integers(2, 6))
    objects, rows = [], []
    for image in images:
        for _ in range(rng.integers(0, 8)):
            label = int(rng.integers(0, classes - 1))  # the last class has none
            sides = np.exp(rng.normal(3.2, 1.1, 2))
            corner = rng.random(2) * SIZE
            if rng.random() < 0.3:
                sides, corner = np.ceil(sides), np.round(corner)
            box = [*corner.tolist(), *sides.tolist()]
            area = float(sides.prod()) if rng.random() < 0.7 else float(rng.choice([1024, 9216]))
            more = {"area": area, "iscrowd": int(rng.random() < 0.15)}
            shape = _ellipse(rng, width, height) if masks else None
            if masks:
                more["segmentation"] = _rle(shape)
                if rng.random() < 0.3 and not more["iscrowd"]:
                    x, y, w, h = box
                    more["segmentation"] = [[x, y, x + w, y + 0.3, x + w, y + h, x - 1, y + h]]
            objects.append((image, label, box, more))
            for _ in range(rng.integers(0, 4)):
                other = label if rng.random() < 0.8 else int(rng.integers(0, classes))
                moved = np.array(box) + rng.normal(0, 0.15, 4) * sides.mean() * (rng.random() < 0.8)
                moved[2:] = np.abs(moved[2:])
                row = _found((image, other, moved.tolist(), float(np.round(rng.random(), 2))))[0]
                if masks:
                    del row["bbox"]
                    row["segmentation"] = _rle(np.roll(shape, tuple(rng.integers(-4, 5, 2)), (0, 1)))
                rows.append(row)
    names = [f"class {n}" for n in range(classes)]
    return _coco(images, objects, names), [rows[n] for n in rng.permutation(len(rows))]


def _reference(truth, rows, iou_type="bbox", max_dets=100):
    """The seven scores, and AP by class, by pycocotools."""
    caps = sorted({min(100, max_dets), max_dets})
    with contextlib.redirect_stdout(io.StringIO()):
        api = COCO()
        api.dataset = copy.deepcopy(truth)
        api.createIndex()
        run = COCOeval(api, api.loadRes(copy.deepcopy(rows)), iou_type)
        run.params.maxDets = caps
        run.evaluate()
        run.accumulate()
    precision, recall = run.eval["precision"][..., -1], run.eval["recall"][..., 0]

    def mean(values):
        return float(values[values > -1].mean()) if (values > -1).any() else float("nan")

    scores = {
        "AP": mean(precision[:, :, :, 0]),
        "AP50": mean(precision[0, :, :, 0]),
        "AP75": mean(precision[5, :, :, 0]),
    }
    scores |= {f"AP_{size}": mean(precision[:, :, :, n]) for n, size in enumerate(("small", "medium", "large"), 1)}
    scores["AR100"] = mean(recall[:, :, 0])
    return scores, [mean(precision[:, :, k, 0]) for k in range(precision.shape[2])]


@pytest.fixture
def coco():
    return _coco


@pytest.fixture
def found():
    return _found


@pytest.fixture
def rle():
    return _rle


@pytest.fixture
def random_set():
    return _random_set


@pytest.fixture
def reference():
    return _reference


@pytest.fixture
def one_of_each(coco, found):
    """One image in which every kind of error happens once, beside one hit."""
    truth = coco(
        [1],
        [
            (1, 0, [0, 0, 20, 20]),  # found, then found again
            (1, 0, [50, 0, 20, 20]),  # badly placed
            (1, 1, [100, 0, 20, 20]),  # a dog taken for a cat
            (1, 1, [150, 0, 20, 20]),  # a dog that is a cat elsewhere
            (1, 1, [0, 80, 20, 20]),  # a dog nobody finds
        ],
    )
    rows = found(
        (1, 0, [0, 0, 20, 20], 0.9),  # hit
        (1, 0, [0, 2, 20, 20], 0.8),  # duplicate: IoU 18 / 22
        (1, 0, [60, 0, 20, 20], 0.7),  # localisation: IoU 1 / 3
        (1, 0, [100, 0, 20, 20], 0.6),  # classification
        (1, 0, [160, 0, 20, 20], 0.5),  # both: IoU 1 / 3 with a dog
        (1, 0, [100, 120, 20, 20], 0.4),  # background
    )
    return truth, rows
