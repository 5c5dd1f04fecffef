"""SegFormer's decoder (Xie et al. 2021, arXiv 2105.15203): perceptrons alone, no auxiliary head."""

from densekit.models.recipes.segmentation import SegmentorRecipe, decoder

SEGFORMER = SegmentorRecipe(head=decoder(256))
"""In MMSegmentation's form: 256 channels for every size of backbone."""
