"""Images of coloured areas with index masks, and a config that learns them in seconds."""

import numpy as np
import pytest
from PIL import Image

from ...volume_runs import no_curves  # noqa: F401

COLOURS = {"sand": (220, 200, 120), "grass": (40, 180, 60), "sea": (40, 80, 220)}
CONFIG = """
from mmengine.config import read_base

with read_base():
    from densekit.configs._base_.segmentation import *

train_pipeline = [
    dict(type="densekit.RandomCrop", crop_size=(32, 32), cat_max_ratio=0.9),
    dict(type="mmseg.RandomFlip", prob=0.5),
]
test_pipeline = [dict(type="mmseg.Resize", scale=(64, 48), keep_ratio=True)]
model = dict(backbone="test_convnext", head=dict(type="SegformerHead", channels=16))
pretrained = False
batch_size, accumulate = 4, 1
num_workers = 0
max_epochs = 2
optimizer = dict(type="AdamW", lr=2e-3)
schedule = []
log_interval = 1
pictures = 0
{more}
"""


def draw(folder, name, seed):
    """One image of 64 x 48 pixels with its mask: sand left, grass right, a lake; two rows have no class (255)."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((48, 64), np.uint8)
    labels[:, int(rng.integers(20, 44)) :] = 1
    y, x = (int(v) for v in rng.integers(4, 20, 2))
    labels[y : y + 20, x : x + 24] = 2
    pixels = np.array(list(COLOURS.values()))[labels] + rng.integers(-12, 13, (48, 64, 3))
    labels[:2] = 255
    for kind, content in (("images", np.clip(pixels, 0, 255).astype(np.uint8)), ("masks", labels)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(content).save(folder / kind / f"{name}.png")


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """The cache of data sets, away from the user's."""
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture(scope="session")
def areas(tmp_path_factory):
    """8 training and 3 validation images with a class list."""
    root = tmp_path_factory.mktemp("areas")
    for split, number in (("train", 8), ("val", 3)):
        for n in range(number):
            draw(root / split, f"{split}{n}", 100 * (split == "val") + n)
    (root / "classes.csv").write_text("name,value\nsand,0\ngrass,1\nsea,2\n")
    return root


@pytest.fixture(scope="session")
def segmentation_config(tmp_path_factory, areas):
    """Function that writes a config file to a folder of its own; keyword arguments replace keys, ``more`` is added."""

    def write(more="", **keys):
        keys = {"classes": str(areas / "classes.csv"), **keys}
        lines = "\n".join([more, *(f"{key} = {value!r}" for key, value in keys.items())])
        path = tmp_path_factory.mktemp("config") / "tiny_segmentor.py"
        path.write_text(CONFIG.format(more=lines))
        return path

    return write
