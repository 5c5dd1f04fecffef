"""A segmentor that tells red, green, blue and dark pixels apart: what it should say of an image is known exactly."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from densekit.models.assemblies.class_maps import PredictsClassMaps
from densekit.ops.class_scores import DenseScores
from densekit.package.checkpoint import write_checkpoint
from densekit.registry import MODELS

torch.set_num_threads(1)

NAMES = ["dark", "red", "green", "blue"]


class ColourSegmentor(PredictsClassMaps, nn.Module):
    """The score of a colour is its mean over two by two pixels; that of darkness is the same everywhere."""

    def __init__(self, num_classes: int = 4, channels: int = 3, test_cfg: dict | None = None):
        from mmseg.models.data_preprocessor import SegDataPreProcessor

        super().__init__()
        self.num_classes, self.channels, self.test_cfg = num_classes, channels, test_cfg or {}
        self.data_preprocessor = SegDataPreProcessor(bgr_to_rgb=channels == 3)
        self.weight = nn.Parameter(torch.ones(1))
        self.seen = []

    def scores(self, inputs):
        self.seen.append(tuple(inputs.shape))
        colours = F.avg_pool2d(inputs, 2, ceil_mode=True)[:, :3] * self.weight
        return DenseScores(torch.cat([torch.full_like(colours[:, :1], 115), colours], 1))


@pytest.fixture(autouse=True)
def segmentor_registered():
    """The registry knows the segmentor during these tests only."""
    MODELS.register_module(module=ColourSegmentor)
    yield
    MODELS.module_dict.pop("ColourSegmentor")


@pytest.fixture
def predicting():
    """The segmentor of these tests, and its method that predicts."""
    return ColourSegmentor, "scores"


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint of the segmentor and return its path."""

    def write(name="best.pth", *, labels=None, inference=None, state=None, task="segmentation", **model):
        path = tmp_path / name
        kind = model.pop("type", "ColourSegmentor")
        preprocessing = {
            "pipeline": model.pop("pipeline", []),
            "channels": model.get("channels", 3),
            "ranges": model.pop("ranges", {}),
            "colours": model.pop("colours", None),
            "fingerprint": "0",
        }
        network = MODELS.get(kind)(**model)
        write_checkpoint(
            path,
            task=task,
            model_config={"type": f"densekit.{kind}", **model},
            preprocessing=preprocessing,
            labels=NAMES if labels is None else labels,
            inference=inference or {},
            state_dict=network.state_dict() if state is None else state,
            meta={},
        )
        return path

    return write


def truth(width=64, height=48):
    """Labels of what :func:`pixels` shows: a red and a blue rectangle on a dark ground."""
    labels = np.zeros((height, width), np.uint8)
    labels[8:24, 8:40] = 1
    labels[30:, 44:] = 3
    return labels


def pixels(labels):
    """An image in RGB of which the segmentor says these labels."""
    return np.array([(10, 10, 10), (220, 10, 10), (10, 220, 10), (10, 10, 220)], np.uint8)[labels]


@pytest.fixture
def images(tmp_path):
    """Three images a, b, c in one folder: c is all dark."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in "abc":
        Image.fromarray(pixels(truth() * (name != "c"))).save(folder / f"{name}.png")
    return folder
