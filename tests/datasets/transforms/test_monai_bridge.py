"""Any MONAI dictionary transform by its name, with an answer for whoever mistypes it."""

from __future__ import annotations

import monai.transforms
import pytest
import torch

from densekit.datasets.transforms import Pipeline
from densekit.errors import ConfigError
from densekit.registry import TRANSFORMS


def sample(shape=(6, 7, 8)) -> dict:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand((1, *shape), generator=generator)
    return {"inputs": image, "label": (image > 0.5).to(torch.uint8)}


def test_every_dictionary_transform_is_registered_once():
    offered = {
        part for name, part in vars(monai.transforms).items() if name.endswith("Dict") and isinstance(part, type)
    }
    registered = [part for part in TRANSFORMS.module_dict.values() if part.__module__.startswith("monai.")]
    missing = {part.__name__ for part in offered - set(registered)}
    assert len(offered) > 100
    assert len(registered) == len(set(registered))
    assert missing <= {"Mark", "RandMark", "RangePop", "RandRangePop", "RangePush", "RandRangePush"}  # profiler marks
    assert not [name for name in TRANSFORMS.module_dict if name.endswith("Dict")]


@pytest.mark.parametrize(
    "config",
    [
        {"type": "RandGaussianNoised", "keys": ("inputs",), "prob": 1.0, "std": 0.1},
        {"type": monai.transforms.RandGaussianNoised, "keys": ["inputs"], "prob": 1.0, "std": 0.1},
        {"type": "RandFlipd", "keys": ("inputs", "label"), "spatial_axis": 0, "prob": 1.0},
        {"type": "RandAffined", "keys": ("inputs", "label"), "mode": ("bilinear", "nearest"), "prob": 1.0},
        {"type": "CenterSpatialCropd", "keys": ("inputs", "label"), "roi_size": (4, 4, 4)},
    ],
)
def test_by_name_and_by_class(config):
    result = Pipeline([config])(sample())
    assert type(result["inputs"]) is torch.Tensor  # no MetaTensor
    assert result["inputs"].shape == result["label"].shape


def test_unknown_argument_names_the_transform_and_the_close_arguments():
    with pytest.raises(ConfigError, match=r"RandGaussianNoised takes no argument 'stdd'; did you mean 'std'"):
        Pipeline([{"type": "RandGaussianNoised", "keys": ("inputs",), "stdd": 0.1}])
    with pytest.raises(ConfigError, match=r"RandFlipd takes no argument 'spatial_axes'; did you mean 'spatial_axis'"):
        Pipeline([{"type": monai.transforms.RandFlipd, "keys": ("inputs",), "spatial_axes": 0}])


def test_unknown_name_and_missing_argument():
    with pytest.raises(ConfigError, match="did you mean 'RandGaussianNoised'"):
        Pipeline([{"type": "RandGausianNoised", "keys": ("inputs",)}])
    with pytest.raises(ConfigError, match=r"transform RandGaussianNoised: .*'keys'"):
        Pipeline([{"type": "RandGaussianNoised"}])
