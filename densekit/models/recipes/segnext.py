"""SegNeXt's decoder (Guo et al. 2022, arXiv 2209.08575): a matrix decomposition of the three coarser levels.

Its widths are those for MSCAN-T and S; B has 512 channels, L 1024.
"""

from densekit.models.recipes.segmentation import SegmentorRecipe, decoder

SEGNEXT = SegmentorRecipe(
    levels=3,
    finest=8,
    head=decoder(
        256,
        ham_channels=256,
        norm_cfg={"type": "GN", "num_groups": 32, "requires_grad": True},
        ham_kwargs={"MD_S": 1, "MD_R": 16, "train_steps": 6, "eval_steps": 7, "inv_t": 100, "rand_init": True},
    ),
)
