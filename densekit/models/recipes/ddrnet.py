"""DDRNet (Hong et al. 2021, arXiv 2101.06085): its head takes both branches, the one of detail in training alone.

The losses take the hard pixels. Published with weights of Cityscapes' classes besides, which other data do not have.
"""

from densekit.models.recipes.segmentation import SegmentorRecipe, decoder


def _hard_pixels(weight: float) -> dict:
    return {"type": "OhemCrossEntropy", "thres": 0.9, "min_kept": 131072, "loss_weight": weight}


DDRNET = SegmentorRecipe(
    levels=1,
    finest=8,
    head=decoder(64, dropout_ratio=0.0, loss_decode=[_hard_pixels(1.0), _hard_pixels(0.4)]),
    backbone="DDRNet",
)
