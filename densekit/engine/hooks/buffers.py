"""Batch statistics that are the same in all processes."""

from __future__ import annotations

from mmengine.dist import all_reduce_params
from mmengine.hooks import EMAHook, Hook

from densekit.registry import HOOKS


@HOOKS.register_module()
class AverageBuffersHook(Hook):
    """Averages the running statistics of batch norms over the processes at the end of each epoch.

    Each process sees other samples. Without this, each would validate with statistics of its own, the checkpoint would
    hold those of the main process, and a resumed run would not be the one that was stopped.
    """

    priority = "VERY_HIGH"

    def after_train_epoch(self, runner) -> None:
        model = getattr(runner.model, "module", runner.model)
        averaged = [hook.ema_model.module for hook in runner.hooks if isinstance(hook, EMAHook)]
        for network in (model, *averaged):
            buffers = [buffer for buffer in network.buffers() if buffer.is_floating_point()]
            if buffers:
                all_reduce_params(buffers, op="mean")
