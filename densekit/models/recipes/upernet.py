"""UPerNet (Xiao et al. 2018, arXiv 1807.10221)."""

from densekit.models.recipes.segmentation import FCN_BEFORE, SegmentorRecipe, decoder

UPERNET = SegmentorRecipe(head=decoder(512, pool_scales=[1, 2, 3, 6]), auxiliary=FCN_BEFORE)
