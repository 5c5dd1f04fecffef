"""PSPNet (Zhao et al. 2017, arXiv 1612.01105): pooled context on a map of stride 8."""

from densekit.models.recipes.segmentation import FCN_BEFORE, SegmentorRecipe, decoder

PSP = SegmentorRecipe(levels=1, finest=8, head=decoder(512, pool_scales=[1, 2, 3, 6]), auxiliary=FCN_BEFORE)
