"""Numeric precision of a training."""

from __future__ import annotations

from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper

FP16_PATIENCE = 10
"""Losses in a row that may be no number with fp16, which skips such a step and lowers its loss scale."""


class Bf16OptimWrapper(OptimWrapper):
    """Forward pass under bfloat16 autocast, on the CPU as well as on a GPU; bfloat16 needs no loss scaling."""

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield


OPTIM_WRAPPERS = {None: OptimWrapper, "bf16": Bf16OptimWrapper, "fp16": "AmpOptimWrapper"}
"""By the ``amp`` of a config."""
