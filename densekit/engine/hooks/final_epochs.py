"""What is other in the last epochs of a training."""

from __future__ import annotations

from functools import reduce
from typing import Any

from mmengine.hooks import Hook

from densekit.registry import HOOKS


@HOOKS.register_module()
class FinalEpochsHook(Hook):
    """Sets an attribute of the network for the last epochs, such as YOLOX's L1 loss that is added then.

    Args:
        epochs: How many last epochs.
        attribute: Dotted name, ``"bbox_head.use_l1"``.
        value: What it is set to.
    """

    def __init__(self, epochs: int, attribute: str, value: Any = True) -> None:
        self.epochs, self.attribute, self.value = epochs, attribute, value

    def before_train_epoch(self, runner) -> None:
        """Set it if the epoch that begins is among them."""
        if runner.epoch >= runner.max_epochs - self.epochs:
            *owners, name = self.attribute.split(".")
            setattr(reduce(getattr, owners, runner.bare_model()), name, self.value)
