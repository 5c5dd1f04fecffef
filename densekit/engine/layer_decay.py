"""Learning rates that fall with the distance from the head, for encoders that were trained before.

As in BEiT and ConvNeXt's own fine-tuning, in MMSegmentation's counting of layers: with ``n`` layers the learning rate
of layer ``i`` is ``rate ** (n + 1 - i)`` times that of the head, which is layer ``n + 1``. Stem and embeddings are 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from densekit.errors import ConfigError

BY = ("stage", "layer")
"""``"stage"``: stage ``s``, from 0, is layer ``s + 1``. ``"layer"``: blocks are dealt out evenly, in their order."""
_STAGES = re.compile(r"(?:stages?|layers?|blocks?)[._]?(\d+)")
_INNER = ("blocks", "block", "layers")


class LayerDecay(DefaultOptimWrapperConstructor):
    """MMEngine's constructor of the optimizer, with another learning rate for each layer of ``backbone``.

    Norms, biases and other vectors are not decayed. Of ``paramwise_cfg`` it takes ``layer_decay``, a dict of ``rate``,
    ``layers`` and ``by`` (:data:`BY`); other keys are refused.

    Raises:
        ConfigError: for other keys, or a backbone whose parameters do not say which stage they belong to.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: dict[str, Any]) -> None:
        given = dict(paramwise_cfg)
        self.decay = given.pop("layer_decay")
        if given:
            raise ConfigError(f"paramwise: {', '.join(given)} beside layer_decay; give one of the two")
        super().__init__(optim_wrapper_cfg, paramwise_cfg)

    def add_params(self, params: list[dict[str, Any]], module: nn.Module, **kwargs: Any) -> None:
        """Add the parameters of a network, a group for each learning rate and weight decay."""
        ids = layer_ids(module.backbone, self.decay)
        last, groups = self.decay["layers"] + 1, {}
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue
            layer = ids[name.removeprefix("backbone.")] if name.startswith("backbone.") else last
            decayed = parameter.ndim > 1 and not name.endswith((".bias", "pos_embed", "cls_token"))
            group = groups.setdefault((layer, decayed), {"params": []})
            group["params"].append(parameter)
        for (layer, decayed), group in sorted(groups.items()):
            scale = self.decay["rate"] ** (last - layer)
            weight_decay = (self.base_wd or 0.0) if decayed else 0.0
            params.append({**group, "lr": scale * self.base_lr, "weight_decay": weight_decay})


def layer_ids(backbone: nn.Module, decay: Mapping[str, Any]) -> dict[str, int]:
    """The layer of each parameter of a backbone, by name, from 0 on.

    Raises:
        ConfigError: if no name speaks of a stage.
    """
    blocks = {name: _block(name) for name, _ in backbone.named_parameters()}
    known = list(dict.fromkeys(block for block in blocks.values() if len(block) > 1))
    stages = sorted({block[0] for block in blocks.values() if block})
    if not stages:
        raise ConfigError(
            f"layer_decay: the parameters of {type(backbone).__name__} do not say to which stage or block they belong; "
            f"leave it out"
        )
    if not known:  # a plain transformer: what it numbers are its blocks
        known = [(stage,) for stage in stages]
    if decay["by"] == "stage":
        of_block = {block: stages.index(block[0]) + 1 for block in blocks.values() if block}
    else:
        of_block = {block: 1 + place * decay["layers"] // len(known) for place, block in enumerate(known)}
        for stage in stages:  # what lies between two stages goes with the first block of the second
            of_block.setdefault((stage,), min(of_block[block] for block in known if block[0] == stage))
    return {name: of_block[block] if block else 0 for name, block in blocks.items()}


def _block(name: str) -> tuple[int, ...]:
    """Stage and block that a parameter's name speaks of: ``(2, 5)``; ``(2,)`` for what lies between; ``()``: none."""
    found = _STAGES.search(name)
    if found is None:
        return ()
    numbers = [int(found[1])]
    for part in name[found.end() :].lstrip(".").split("."):
        if part.isdigit():
            numbers.append(int(part))
        elif part not in _INNER:
            break
    return tuple(numbers)
