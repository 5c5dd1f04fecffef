"""SegFormer-B0 on aerial photographs of Dubai, from scratch: densekit train this --data PATH --classes CLASSES.csv"""

from mmengine.config import read_base

with read_base():
    from ._base_.dubai import *

model = dict(backbone="mit_b0", head="SegformerHead")
