"""D-Former on ACDC (cine MRI): right ventricle, myocardium, left ventricle; 44.50 M parameters, 38.5 GMACs.

Prepare: densekit prepare acdc PATH/training data/acdc
Short-axis stacks have 6 to 18 slices, so patches are not cut along depth: patch (1, 4, 4), no padding at any level.
"""

from mmengine.config import read_base

with read_base():
    from ._base_.dformer import *

model.merge(
    dict(
        backbone=dict(patch=(1, 4, 4), unit=(2, 10, 10)),
        neck=dict(unit=(2, 10, 10)),
        head=dict(loss=dict(loss=dict(batch_dice=False))),
    )
)
data_root = "data/acdc"
patch_size = (16, 160, 160)
batch_size = 4
mirror_relabel = False
