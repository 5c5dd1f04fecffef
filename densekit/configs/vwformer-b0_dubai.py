"""VWFormer on MiT-B0 and aerial photographs of Dubai, from scratch."""

from mmengine.config import read_base

with read_base():
    from ._base_.dubai import *

model = dict(backbone="mit_b0", head=dict(type="vwformer", preset="paper"))
max_iters = 640
max_epochs = 8  # its steps take less time than those of the others
