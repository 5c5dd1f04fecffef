"""The semantic branch of Panoptic FPN (Kirillov et al. 2019, arXiv 1901.02446)."""

from densekit.models.recipes.segmentation import SegmentorRecipe, decoder

SEMANTIC_FPN = SegmentorRecipe(neck="FPN", head=decoder(128))
