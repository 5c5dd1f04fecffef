"""D-Former on Synapse (BTCV abdomen CT): 13 organs trained, 8 scored; 44.65 M parameters, 52.7 GMACs.

Prepare: densekit prepare synapse PATH/RawData data/synapse
Three of the 18 training cases choose best.pth. For all 18, as published:
    --cfg-options train_split=train+val val_split=None
"""

from mmengine.config import read_base

with read_base():
    from ._base_.dformer import *

data_root = "data/synapse"
mirror_relabel = False  # the recipe mirrors left and right without swapping the kidneys' labels
inference = dict(overlap=0.5, batch=1, weights="gaussian", mirror_axes=())
