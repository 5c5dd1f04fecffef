"""Images of coloured boxes in COCO's layout, and a config that learns them in seconds."""

import json

import numpy as np
import pytest
from PIL import Image

from ...volume_runs import no_curves  # noqa: F401

CLASSES = {"sun": (250, 220, 40), "grass": (40, 180, 60), "sea": (40, 80, 220)}
CONFIG = """
from mmengine.config import read_base

with read_base():
    from {base} import *

from mmdet.datasets.transforms import RandomFlip, Resize
from mmdet.models import FPN, ResNet, RetinaHead

train_pipeline = [dict(type=Resize, scale=(96, 64), keep_ratio=True), dict(type=RandomFlip, prob=0.5)]
test_pipeline = [dict(type=Resize, scale=(96, 64), keep_ratio=True)]
model = dict(
    backbone=dict(type=ResNet, depth=18, base_channels=8),
    neck=dict(type=FPN, out_channels=16),
    head=dict(type=RetinaHead, stacked_convs=1, feat_channels=16),
)
pretrained = False
batch_size = 4
num_workers = 0
max_epochs = 2
lr_batch = None
optimizer = dict(type="AdamW", lr=1e-3)
schedule = []
log_interval = 1
pictures = 0
{more}
"""


def draw(folder, name, seed, objects):
    """One image of 96 x 64 pixels; returns its boxes as (label, [x, y, w, h])."""
    rng = np.random.default_rng(seed)
    image = rng.integers(90, 130, (64, 96, 3), dtype=np.uint8)
    found = []
    for number in range(objects):
        label = int(rng.integers(len(CLASSES)))
        x, y = int(rng.integers(0, 20)) + 32 * number, int(rng.integers(0, 30))
        w, h = (int(v) for v in rng.integers(16, 28, 2))
        w = min(w, 96 - x)
        image[y : y + h, x : x + w] = list(CLASSES.values())[label]
        found.append((label, [x, y, w, h]))
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(folder / name)
    return found


def make_data(root, *, train=13, val=5, outlines=False, ids=(7, 3, 9)):
    """COCO layout; category ids are not in the order of the labels, annotation ids begin at 0, every fifth image is
    empty."""
    start = 0
    for split, number in (("train", train), ("val", val)):
        images, annotations = [], []
        for n in range(number):
            name = f"{split}{n}.png"
            for label, (x, y, w, h) in draw(root / f"{split}2017", name, start + n, 0 if n % 5 == 4 else 1 + n % 3):
                entry = {"id": len(annotations), "image_id": n, "category_id": ids[label], "bbox": [x, y, w, h]}
                entry |= {"area": w * h, "iscrowd": 0}
                if outlines:
                    entry["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
                annotations.append(entry)
            images.append({"id": n, "file_name": name, "width": 96, "height": 64})
        categories = [{"id": i, "name": name} for i, name in zip(ids, CLASSES, strict=True)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        path = root / "annotations" / f"instances_{split}2017.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
        start += 1000
    return root


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """The cache of checked data sets, away from the user's."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def boxes(tmp_path_factory):
    """13 training and 5 validation images with boxes of 3 classes."""
    return make_data(tmp_path_factory.mktemp("boxes"))


@pytest.fixture(scope="session")
def outlines(tmp_path_factory):
    """As ``boxes``, with outlines."""
    return make_data(tmp_path_factory.mktemp("outlines"), train=6, val=3, outlines=True)


@pytest.fixture(scope="session")
def detection_config(tmp_path_factory):
    """Function that writes a config file to a folder of its own; keyword arguments replace keys, ``more`` is added."""

    def write(more="", **keys):
        folder = tmp_path_factory.mktemp("config")
        lines = "\n".join([more, *(f"{key} = {value!r}" for key, value in keys.items())])
        path = folder / "tiny_detector.py"
        path.write_text(CONFIG.format(base="densekit.configs._base_.detection", more=lines))
        return path

    return write
