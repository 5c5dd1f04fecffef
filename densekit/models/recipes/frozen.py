"""Heads on frozen plain transformers: a linear one, and DPT's (Ranftl et al. 2021, arXiv 2103.13413).

As DINOv2 is evaluated with them (Oquab et al. 2023, arXiv 2304.07193): a batch norm and a linear layer on the last four
maps, each behind the transformer's own last norm; DPT on four maps spread over the depth.
"""

from densekit.models.recipes.segmentation import SegmentorRecipe, decoder

LINEAR = SegmentorRecipe(levels=0, blocks="last", head=decoder(dropout_ratio=0.0))
DPT = SegmentorRecipe(single_stride=True, blocks="spread", head=decoder(256, post_process_channels=[96, 192, 384, 768]))
