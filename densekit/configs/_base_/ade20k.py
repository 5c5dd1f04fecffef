"""ADE20K, 150 classes: 160,000 steps of 16 crops of 512 x 512, the recipe of SegFormer (arXiv 2105.15203)."""

from mmengine.config import read_base

with read_base():
    from .segmentation import *

data_root = "data/ade/ADEChallengeData2016"
max_iters = 160_000
max_epochs = 10  # validated every 16,000 steps
paramwise = dict(custom_keys=dict(norm=dict(decay_mult=0.0), head=dict(lr_mult=10.0)))
