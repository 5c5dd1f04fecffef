"""What sizes of images timm's networks take, by family: found by running each, for timm tells only a part of it.

A family is the module of timm that a network is written in. What stands nowhere here takes any size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from densekit.errors import ConfigError

FREED = {
    **{family: {"dynamic_img_size": True} for family in ("vision_transformer", "eva", "deit")},
    # Windows are padded and shifted at every size, as in the published detectors and segmentors with Swin.
    "swin_transformer": {"strict_img_size": False, "always_partition": True},
    "swin_transformer_v2": {"strict_img_size": False, "always_partition": True},
    "swin_transformer_v2_cr": {"strict_img_size": False},
}
"""Arguments with which a family takes any size (of a vision transformer, with its position table resampled)."""
BY_STRIDE = frozenset(
    ("vision_transformer", "eva", "deit", "vision_transformer_sam", "deepseek_vit", "gemma4_vit", "naflexvit")
    + ("qwen3_vit", "hieradet_sam2", "dla", "hrnet", "tresnet", "csatv2")
)
"""Families whose sides must be multiples of their coarsest stride."""
PLAIN = frozenset(("vision_transformer", "eva", "deit", "beit"))
"""Plain vision transformers: blocks of one width at one stride, and a last norm."""
ANY = frozenset(("twins", "xcit", "sequencer", "swiftformer", "efficientvit_msra"))
"""Families that take any size, although timm says that theirs is fixed."""
SQUARE = frozenset(("mvitv2", "nest"))
"""Families whose ``img_size`` is the side of a square."""
NOT_PADDED = frozenset(("inception_v3", "inception_v4", "inception_resnet_v2", "nasnet", "pnasnet", "xception"))
"""Families whose convolutions do not pad, so that their maps lack a border."""
NO_PYRAMID = {"crossvit": "two maps of unrelated strides of images of 240 x 240"}
"""Families that a dense head cannot stand on, with what they give."""
INSTEAD = {"hiera": "hiera_small_abswin_256 or a sam2_hiera", "nest": "swin_tiny_patch4_window7_224"}
"""Families whose weights fit one size alone, with what takes others."""


@dataclass(frozen=True)
class Sizes:
    """What one network takes: any multiple of ``multiple``, or ``fixed`` (height, width) alone."""

    multiple: int | tuple[int, int] | None = None
    fixed: tuple[int, int] | None = None


def family_of(name: str) -> str:
    """The module of timm that a network is written in."""
    import timm

    return timm.model_entrypoint(name).__module__.rpartition(".")[2]


def size_arguments(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that let a network take the sizes it can; one made for an ``img_size`` takes that.

    Args:
        name: timm's name.
        given: Its arguments.

    Raises:
        ConfigError: for a family that gives no pyramid, or a size that is not square where it must be.
    """
    family = family_of(name)
    if family in NO_PYRAMID:
        raise ConfigError(
            f"TimmBackbone(name={name!r}): it gives {NO_PYRAMID[family]}, which is no pyramid; take another network"
        )
    size = given.get("img_size")
    if size is None:
        return dict(FREED.get(family, {}))
    if family not in SQUARE or isinstance(size, int):
        return {}
    if len(set(size)) > 1:
        raise ConfigError(
            f"TimmBackbone(name={name!r}): img_size={tuple(size)}: it takes squares alone; give one number and images "
            "of that height and width"
        )
    return {"img_size": size[0]}


def sizes_of(name: str, network: nn.Module, given: Mapping[str, Any]) -> Sizes:
    """What a network that is built takes.

    Args:
        name: timm's name.
        network: The network.
        given: The arguments it was built with.
    """
    family, coarsest = family_of(name), max(network.feature_info.reduction())
    windows = [m.partition_size for m in network.modules() if hasattr(m, "partition_size")]
    if windows:  # MaxViT
        return Sizes(multiple=tuple(coarsest * max(sides) for sides in zip(*windows, strict=True)))
    blocks = [m.block_size for m in network.modules() if type(m).__name__ == "HaloAttn"]
    if blocks:
        return Sizes(multiple=max(blocks) * coarsest)
    cfg, strict = network.pretrained_cfg, any(getattr(m, "strict_img_size", False) for m in network.modules())
    if family in BY_STRIDE and not strict:
        return Sizes(multiple=coarsest)
    if "strict_img_size" in given and not strict:  # Swin
        return Sizes(multiple=min(network.feature_info.reduction()))
    free = family in (*FREED, *ANY) or not (cfg.get("fixed_input_size") or "img_size" in given)
    if free and not strict:
        return Sizes()
    size = given.get("img_size") or cfg["input_size"][1:]
    return Sizes(fixed=(size, size) if isinstance(size, int) else tuple(size))


def check_weights(name: str, given: Mapping[str, Any]) -> None:
    """Raise ConfigError for weights whose position table timm does not resample for another ``img_size``."""
    import timm

    family, size = family_of(name), given.get("img_size")
    if family not in INSTEAD or size is None or "abswin" in name:
        return
    side = timm.get_pretrained_cfg(name).input_size[-1]
    if ({size} if isinstance(size, int) else set(size)) != {side}:
        raise ConfigError(
            f"TimmBackbone(name={name!r}): its weights are tied to images of {side} x {side}, so img_size={size} "
            f"cannot be had with them; leave img_size out, take pretrained=False, or {INSTEAD[family]}"
        )
