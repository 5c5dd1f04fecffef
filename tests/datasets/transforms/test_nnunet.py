"""The augmentation table of the recipe, as configs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from densekit.datasets.transforms import Pipeline, nnunet_augmentation
from densekit.errors import ConfigError

LABELS = ["background", "left kidney", "right kidney"]
PAIRS = [("left kidney", "right kidney")]


def by_type(pipeline: list[dict], kind: str) -> list[dict]:
    return [transform for transform in pipeline if transform["type"] == kind]


def test_table_of_the_recipe():
    pipeline = nnunet_augmentation((64, 128, 128), mirror_pairs=PAIRS, labels=LABELS)
    assert json.loads(json.dumps(pipeline)) == pipeline
    spatial = pipeline[0]
    assert (spatial["type"], spatial["degrees"], spatial["scale"]) == ("RandRotateScale", [30.0] * 3, [0.7, 1.4])
    assert (spatial["rotate_prob"], spatial["scale_prob"]) == (0.2, 0.2)
    assert [transform["prob"] for transform in pipeline[1:]] == [0.1, 0.1, 0.15, 0.15, 0.25, 0.1, 0.3, 0.5]
    inverted, gamma = by_type(pipeline, "RandAdjustContrastd")
    assert inverted["invert_image"] and inverted["prob"] == 0.1
    assert gamma["gamma"] == [0.7, 1.5] and gamma["prob"] == 0.3


def test_anisotropic_patch_is_augmented_in_plane():
    pipeline = nnunet_augmentation((16, 160, 160), mirror_pairs=None)
    assert pipeline[0]["degrees"] == [30.0, 0.0, 0.0]
    assert pipeline[0]["scale_axes"] == [1, 2]
    assert by_type(pipeline, "RandLowResolution")[0]["axes"] == [1, 2]


def test_it_runs_and_keeps_shape_type_and_classes():
    pipeline = Pipeline(nnunet_augmentation((10, 12, 14), mirror_pairs=PAIRS, labels=LABELS))
    generator = torch.Generator().manual_seed(0)
    for index in range(40):
        pipeline.seed(np.random.SeedSequence((0, index)))
        shape = [n + 2 * m for n, m in zip((10, 12, 14), pipeline.draw_margin(), strict=True)]
        image = torch.randn((2, *shape), generator=generator)
        label = torch.randint(0, 3, (1, *shape), generator=generator, dtype=torch.uint8)
        result = pipeline({"inputs": image, "label": label})
        assert result["inputs"].shape == (2, 10, 12, 14)
        assert result["inputs"].dtype == torch.float32
        assert result["inputs"].isfinite().all()
        assert result["label"].shape == (1, 10, 12, 14)
        assert result["label"].dtype == torch.uint8
        assert set(result["label"].unique().tolist()) <= {0, 1, 2}


def test_mirroring_is_safe_unless_asked_otherwise():
    with pytest.raises(ConfigError, match="would mislabel 'left kidney', 'right kidney'"):
        Pipeline(nnunet_augmentation((8, 8, 8), labels=LABELS))
    Pipeline(nnunet_augmentation((8, 8, 8), labels=LABELS, mirror_axes=("anterior-posterior",)))
    published = nnunet_augmentation((8, 8, 8), labels=LABELS, mirror_pairs=None)
    assert published[-1]["relabel"] is False
    Pipeline(published)
    assert not by_type(nnunet_augmentation((8, 8, 8), mirror_axes=()), "AnatomicalMirror")
