"""A detector that finds red, green and blue rectangles: what it should find in an image is known exactly."""

import pytest
import torch
from torch import nn

from densekit.package.checkpoint import write_checkpoint
from densekit.registry import MODELS

torch.set_num_threads(1)

NAMES = ["red", "green", "blue"]
RESIZE = [{"type": "Resize", "scale": [96, 96], "keep_ratio": True}]


class ColourDetector(nn.Module):
    """One box around all pixels of each colour; its score is the brightest of them, 255 being 1."""

    def __init__(self, num_classes: int = 3, masks: bool = False, test_cfg: dict | None = None):
        super().__init__()
        self.masks, self.test_cfg = masks, test_cfg
        self.weight = nn.Parameter(torch.ones(num_classes))

    def test_step(self, data):
        from mmdet.structures import DetDataSample
        from mmengine.structures import InstanceData

        sample: DetDataSample = data["data_samples"][0]
        pixels = data["inputs"][0].flip(0).int()  # red, green, blue
        height, width = sample.ori_shape
        rows = []
        for label, channel in enumerate(pixels):
            rest = pixels[[c for c in range(3) if c != label]].amax(0)
            y, x = torch.nonzero(channel - rest > 20, as_tuple=True)
            if len(x):
                scale = torch.tensor([*sample.scale_factor, *sample.scale_factor])
                box = torch.stack([x.min(), y.min(), x.max() + 1, y.max() + 1]) / scale
                rows.append((label, float(channel[y, x].max()) / 255, box))
        found = InstanceData()
        found.bboxes = torch.stack([row[2] for row in rows]) if rows else torch.zeros(0, 4)
        found.labels = torch.tensor([row[0] for row in rows], dtype=torch.long)
        found.scores = torch.tensor([row[1] for row in rows]) * self.weight.detach()[0]
        if self.masks:
            found.masks = torch.zeros(len(rows), height, width, dtype=torch.bool)
            for mask, (_, _, box) in zip(found.masks, rows, strict=True):
                x1, y1, x2, y2 = box.round().int().tolist()
                mask[y1:y2, x1:x2] = True
        sample.pred_instances = found
        return [sample]


@pytest.fixture(autouse=True)
def detector_registered():
    """The registry knows the detector during these tests only."""
    MODELS.register_module(module=ColourDetector)
    yield
    MODELS.module_dict.pop("ColourDetector")


@pytest.fixture
def detector():
    return ColourDetector


@pytest.fixture
def predicting(detector):
    """The detector of these tests, and its method that predicts."""
    return detector, "test_step"


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint of the detector and return its path."""

    def write(name="best.pth", *, labels=None, pipeline=None, inference=None, state=None, task="detection", **model):
        path = tmp_path / name
        kind = model.pop("type", "ColourDetector")
        network = MODELS.get(kind)(**model)
        write_checkpoint(
            path,
            task=task,
            model_config={"type": f"densekit.{kind}", **model},
            preprocessing={
                "pipeline": RESIZE if pipeline is None else pipeline,
                "masks": model.get("masks", False),
                "fingerprint": "0",
            },
            labels=NAMES if labels is None else labels,
            inference={"score_threshold": 0.3} if inference is None else inference,
            state_dict=network.state_dict() if state is None else state,
            meta={},
        )
        return path

    return write


@pytest.fixture
def images(image_file, tmp_path):
    """Three images a, b, c in one folder: c has no green rectangle."""
    for name in "abc":
        image_file(f"images/{name}.png", green=None if name == "c" else (56, 24, 88, 56), blue=(0, 48, 16, 64))
    return tmp_path / "images"
