"""One seed per sample decides everything; nothing else does."""

from __future__ import annotations

import monai.data
import numpy as np
import pytest
import torch

from densekit.datasets.transforms import Pipeline, nnunet_augmentation


def fresh(shape=(12, 14, 16)) -> dict:
    generator = torch.Generator().manual_seed(1)
    image = torch.rand((1, *shape), generator=generator)
    return {"inputs": image, "label": (image > 0.5).to(torch.uint8), "case_id": "a"}


def run(pipeline: Pipeline, seed: int) -> dict:
    pipeline.seed(np.random.SeedSequence((7, seed)))
    return pipeline(fresh())


def test_a_sample_depends_on_its_seed_only():
    config = nnunet_augmentation((8, 8, 8), labels=["background", "liver"])
    first, second = Pipeline(config), Pipeline(config)
    in_order = [run(first, seed) for seed in range(30)]
    backwards = [run(second, seed) for seed in reversed(range(30))][::-1]
    for one, other in zip(in_order, backwards, strict=True):
        assert torch.equal(one["inputs"], other["inputs"])
        assert torch.equal(one["label"], other["label"])
    assert len({sample["inputs"].sum().item() for sample in in_order}) > 20  # some are mirrored at most
    assert in_order[0]["case_id"] == "a"


def test_transforms_do_not_share_a_stream():
    class Draw:
        def set_random_state(self, state):
            self.value = state.uniform()

    transforms = [Draw(), Draw(), Draw()]
    pipeline = Pipeline(transforms)
    pipeline.seed(np.random.SeedSequence(3))
    assert len({transform.value for transform in transforms}) == 3


def test_the_tracking_of_metadata_is_put_back():
    def fails(sample):
        assert not monai.data.get_track_meta()
        raise KeyError("inside")

    assert monai.data.get_track_meta()
    Pipeline([])(fresh())
    with pytest.raises(KeyError):
        Pipeline([fails])(fresh())
    assert monai.data.get_track_meta()


def test_margin_is_the_largest_that_a_transform_asks_for():
    class Wide:
        def __init__(self, margin):
            self.margin = margin

        def draw_margin(self):
            return self.margin

    assert Pipeline([]).draw_margin() == (0, 0, 0)
    assert Pipeline([Wide((1, 5, 0)), Wide((2, 3, 0))]).draw_margin() == (2, 5, 0)
