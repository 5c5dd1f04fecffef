"""OCRNet (Yuan et al. 2020, arXiv 1909.11065): regions of the classes that a first head finds, as context."""

from densekit.models.recipes.segmentation import FCN_BEFORE, SegmentorRecipe, decoder

OCR = SegmentorRecipe(levels=1, finest=8, head=decoder(512, ocr_channels=256), first=FCN_BEFORE)
