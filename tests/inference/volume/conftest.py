"""A network that segments by intensity bands: what it should find in a scan is known exactly."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from torch import nn

from densekit.datasets.volume.preprocessing import Preprocessing
from densekit.package.checkpoint import write_checkpoint
from densekit.registry import MODELS

torch.set_num_threads(1)

LABELS = ["background", "liver", "left kidney", "right kidney"]
AS_IT_IS = {"lower": -1e9, "upper": 1e9, "mean": 0.0, "std": 1.0}


class BandNetwork(nn.Module):
    """Class k where 100 k - 50 <= intensity < 100 k + 50 (the last class: all above). Logits are 0 or 8."""

    def __init__(self, classes: int = 4, channel: int = 0):
        super().__init__()
        self.channel = channel
        self.register_buffer("edges", torch.arange(classes - 1) * 100.0 + 50)

    def forward(self, x):
        label = torch.bucketize(x[:, self.channel].contiguous(), self.edges, right=True)
        return nn.functional.one_hot(label, len(self.edges) + 1).movedim(-1, 1).float() * 8


@pytest.fixture(autouse=True)
def registered():
    """The registry knows the band network during these tests only: others go over everything that is registered."""
    MODELS.register_module(module=BandNetwork)
    yield
    MODELS.module_dict.pop("BandNetwork")


def as_it_is(*channels: str, spacing=None) -> Preprocessing:
    """Preprocessing that leaves intensities as they are."""
    channels = channels or ("CT",)
    return Preprocessing(channels, spacing, "ct", (AS_IT_IS,) * len(channels))


@pytest.fixture
def preprocessing():
    return as_it_is


@pytest.fixture
def band_network():
    return BandNetwork


@pytest.fixture
def predicting(band_network):
    """The network of these tests, and its method that predicts."""
    return band_network, "forward"


@pytest.fixture
def checkpoint(tmp_path):
    """Write a checkpoint of the band network and return its path."""

    def write(name="best.pth", *, model="BandNetwork", spacing=None, channels=("CT",), **inference) -> Path:
        path = tmp_path / name
        network = MODELS.get(model)()
        write_checkpoint(
            path,
            task="volume",
            model_config={"type": model},
            preprocessing=as_it_is(*channels, spacing=spacing).to_dict(),
            labels=LABELS,
            inference={"window": [8, 8, 8], "overlap": 0.5, "batch": 2, **inference},
            state_dict=network.state_dict(),
            meta={},
        )
        return path

    return write


def head(points: np.ndarray) -> np.ndarray:
    """Labels at points (..., 3) in RAS mm: three boxes of different sizes, each off every axis of symmetry."""
    x, y, z = np.moveaxis(points, -1, 0)
    labels = np.zeros(points.shape[:-1], np.uint8)
    labels[(x > 2) & (x < 14) & (y > -4) & (y < 9) & (z > -9) & (z < 3)] = 1
    labels[(x > -12) & (x < -5) & (y > -10) & (y < -3) & (z > -6) & (z < 6)] = 2
    labels[(x > 5) & (x < 10) & (y > -11) & (y < -6) & (z > 5) & (z < 11)] = 3
    return labels


@pytest.fixture
def scan(tmp_path):
    """Write a NIfTI scan of the boxes (or of one, as label 1) on any grid. Returns its path, labels by file index."""

    def write(
        name="scan.nii.gz",
        *,
        axes="RAS",
        shape=(16, 15, 14),
        spacing=(2.0, 2.0, 2.0),
        rotate=0.0,
        dtype=np.int16,
        only=None,
    ):
        columns = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "S": (0, 0, 1), "I": (0, 0, -1)}
        c, s = np.cos(rotate), np.sin(rotate)
        turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
        linear = turn @ np.array([columns[letter] for letter in axes]).T @ np.diag(spacing)
        affine = np.eye(4)
        affine[:3, :3] = linear
        affine[:3, 3] = -linear @ ((np.array(shape) - 1) / 2)  # the centre of the grid is the origin of the world
        index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
        labels = head(index @ linear.T + affine[:3, 3])
        if only is not None:
            labels = (labels == only).astype(np.uint8)
        noise = np.random.default_rng(0).integers(-20, 20, shape)
        image = nib.Nifti1Image((labels * 100.0 + noise).astype(dtype), affine)
        image.set_sform(affine, code=1)
        image.set_qform(affine, code=1)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(image, path)
        return path, labels

    return write
