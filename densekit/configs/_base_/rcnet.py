"""RCNet's recipe (Zong et al. 2021): batch norm in the neck wants 4 images per GPU."""

from mmengine.config import read_base

with read_base():
    from .one_stage import *

batch_size = 4  # on 4 GPUs; with fewer images per GPU: norm_cfg=dict(type="GN", num_groups=32) in RCFPN
