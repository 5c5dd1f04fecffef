"""A loss that is no number ends the run."""

from __future__ import annotations

import math

from mmengine.hooks import Hook

from densekit.errors import ConfigError
from densekit.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Ends a run whose loss is NaN or infinite: the weights are lost, nothing would be learned from there on.

    Args:
        patience: So many losses in a row. One is enough unless the precision is fp16, which skips such a step.

    Raises:
        ConfigError: naming the iteration and what to try.
    """

    priority = "ABOVE_NORMAL"

    def __init__(self, patience: int = 1) -> None:
        self.patience = patience
        self._in_a_row = 0

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs: dict | None = None) -> None:
        loss = float(outputs["loss"].detach())
        self._in_a_row = 0 if math.isfinite(loss) else self._in_a_row + 1
        if self._in_a_row >= self.patience:
            raise ConfigError(
                f"{runner.work_dir}: the loss is {loss} in iteration {runner.iter + 1} (epoch {runner.epoch + 1}), "
                f"nothing can be learned from there on; lower optimizer.lr, lower clip_grad, or set amp=bf16 or None"
            )
