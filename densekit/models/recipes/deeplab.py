"""DeepLabV3+ (Chen et al. 2018, arXiv 1802.02611): dilated convolutions on a map of stride 8, and the finest map."""

from densekit.models.recipes.segmentation import FCN_BEFORE, SegmentorRecipe, decoder

DEEPLAB_V3_PLUS = SegmentorRecipe(
    levels=1,
    finest=8,
    head=decoder(512, dilations=[1, 12, 24, 36], c1_channels=48),
    auxiliary=FCN_BEFORE,
)
