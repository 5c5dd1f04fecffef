"""FCN (Long et al. 2015, arXiv 1411.4038) in the form of today: two convolutions on a map of stride 8."""

from densekit.models.recipes.segmentation import FCN_BEFORE, SegmentorRecipe, decoder

FCN = SegmentorRecipe(levels=1, finest=8, head=decoder(512, num_convs=2, concat_input=True), auxiliary=FCN_BEFORE)
