"""SEPC's recipe (Wang et al. 2020): 4 images per GPU for the integrated batch norm, warm-up from 1/3, clipping."""

from mmengine.config import read_base

with read_base():
    from .one_stage import *

batch_size = 4  # on 4 GPUs; with fewer images per GPU: norm_cfg=dict(type="SyncBN") in SEPC
clip_grad = 35.0
schedule = [
    dict(type="LinearLR", start_factor=1 / 3, end=500, by_epoch=False),
    dict(type="MultiStepLR", milestones=[8, 11], gamma=0.1),
]
