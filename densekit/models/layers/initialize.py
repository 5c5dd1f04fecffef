"""How a transformer's parameters start."""

from __future__ import annotations

import math

from torch import nn

from densekit.errors import ConfigError, close_names

INITS = ("trunc_normal", "pytorch")


def initialize(module: nn.Module, init: str) -> None:
    """Set the starting values of all linear and normalisation layers inside ``module``; convolutions keep PyTorch's
    defaults.

    Args:
        module: Any network.
        init: ``"trunc_normal"``: linear weights from a normal of SD 0.02 truncated at +-2, biases 0, LayerNorm 1 and 0:
            what D-Former's code defines. ``"pytorch"``: PyTorch's own defaults, which that code in fact trains from,
            since it runs its initialisation only when a checkpoint path is given.

    Raises:
        ConfigError: for another name.
    """
    if init not in INITS:
        raise ConfigError(f"init={init!r}: expected one of {', '.join(INITS)}{close_names(init, INITS)}")
    if init == "pytorch":
        return
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        elif isinstance(layer, nn.LayerNorm):
            nn.init.ones_(layer.weight)
            nn.init.zeros_(layer.bias)


def initialize_convnet(module: nn.Module) -> None:
    """Set all convolutions and linear layers inside ``module`` as ConvNeXt and its followers do: weights from a normal
    of SD 0.02 truncated at +-2, biases 0."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def initialize_by_fan_out(layer: nn.Module) -> None:
    """Set one layer as MiT and its followers do, for ``module.apply``: linear weights from a normal of SD 0.02
    truncated at +-2, those of convolutions from one of SD sqrt(2 / fan-out), biases 0; other layers stay."""
    if isinstance(layer, nn.Linear):
        nn.init.trunc_normal_(layer.weight, std=0.02)
    elif isinstance(layer, nn.Conv2d):
        fan_out = math.prod(layer.kernel_size) * layer.out_channels // layer.groups
        nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))
    else:
        return
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
