"""RCNet: reverse feature pyramid and cross-scale shift network.

Z. Zong, Q. Cao, B. Leng, *RCNet: Reverse Feature Pyramid and Cross-scale Shift Network for Object Detection*, ACM MM
2021, arXiv 2110.12130.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

import mmcv.ops  # noqa: F401  registers the deformable convolution DCNv2
import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import constant_init, xavier_init
from torch import Tensor, nn

from densekit.errors import ConfigError, close_names
from densekit.models.contract import doubled
from densekit.registry import MODELS

logger = logging.getLogger("densekit")

LEVELS = 5
ALIGNED = 1
"""The level whose size all levels are brought to in the cross-scale shift network."""
SHIFTS = (-1, 1, -2, 2)
"""Steps along the levels, one per group of shifted channels; -1 brings a level what the next coarser one has."""
SHIFT_MODES = ("circular", "zero")


@MODELS.register_module()
class RCFPN(nn.Module):
    """The neck of RCNet, in place of an FPN: laterals, :class:`RevFP`, :class:`CSN`; always five levels.

    Args:
        in_channels: Channels of the backbone's maps, fine to coarse.
        out_channels: Channels of every level of the result.
        start_level: First of the backbone's maps that is used.
        num_outs: 5, which the shift network is made for.
        extra_convs: Where the backbone has fewer than five levels, the others come from the coarsest lateral by max
            pooling: True with a 1x1 convolution before it (one-stage detectors), False without (two-stage).
        with_revfp: False: the laterals go to the shift network as they are (ablation).
        with_csn: False: no shift network (ablation).
        shift_div: One shifted group is ``out_channels / shift_div`` channels.
        shift_mode: At the two ends of the levels: ``"circular"`` as released, or ``"zero"``.
        deform_groups: Groups of the deformable convolutions in :class:`RevFP`.
        norm_cfg: Norm after every convolution; BN needs 4 images per GPU, with fewer take
            ``dict(type="GN", num_groups=32)``.
        add_extra_convs: An FPN's argument, which the authors' configs give; it changes nothing, and a warning says so.

    Raises:
        ConfigError: for another number of levels than five, or an unknown ``shift_mode``.
    """

    spatial_dims = 2

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        *,
        start_level: int = 0,
        num_outs: int = LEVELS,
        extra_convs: bool = True,
        with_revfp: bool = True,
        with_csn: bool = True,
        shift_div: int = 16,
        shift_mode: str = "circular",
        deform_groups: int = 2,
        norm_cfg: Mapping | None = None,
        add_extra_convs: bool | str | None = None,
    ):
        super().__init__()
        if add_extra_convs is not None:
            logger.warning(
                "RCFPN: add_extra_convs=%r changes nothing, further levels come from the coarsest lateral "
                "(extra_convs); leave it out",
                add_extra_convs,
            )
        norm_cfg = dict(norm_cfg or {"type": "BN"})
        used = tuple(in_channels)[start_level:]
        if num_outs != LEVELS or not 1 <= len(used) <= LEVELS:
            raise ConfigError(
                f"RCFPN: {len(used)} of {len(in_channels)} maps from start_level={start_level} on, "
                f"num_outs={num_outs}; it makes exactly {LEVELS} levels out of 1 to {LEVELS} maps"
            )
        self.in_channels = tuple(in_channels)
        self.out_channels = (out_channels,) * LEVELS
        self.start_level = start_level
        self.lateral_convs = nn.ModuleList(_conv1x1(c, out_channels, norm_cfg) for c in used)
        self.extra_convs = nn.ModuleList(
            _conv1x1(out_channels, out_channels, norm_cfg) if extra_convs else nn.Identity()
            for _ in range(LEVELS - len(used))
        )
        self.revfp = RevFP(out_channels, deform_groups=deform_groups, norm_cfg=norm_cfg) if with_revfp else None
        self.csn = CSN(out_channels, shift_div=shift_div, mode=shift_mode, norm_cfg=norm_cfg) if with_csn else None
        for part in (self.lateral_convs, self.extra_convs, self.csn):
            _xavier(part)

    def strides_from(self, strides: Sequence[int]) -> tuple[int, ...]:
        """Strides of the result, of maps with these."""
        return doubled(strides[self.start_level :], LEVELS)

    def forward(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Fuse a pyramid.

        Args:
            maps: The backbone's maps ``(B, C_i, H_i, W_i)``, fine to coarse.

        Returns:
            Five maps ``(B, C_out, H_l, W_l)``, those of the backbone from ``start_level`` on and then halved, rounded
            up.

        Raises:
            ConfigError: for another number of maps.
        """
        if len(maps) != len(self.in_channels):
            raise ConfigError(
                f"RCFPN: got {len(maps)} maps, in_channels={self.in_channels} is for {len(self.in_channels)}"
            )
        levels = [conv(x) for conv, x in zip(self.lateral_convs, maps[self.start_level :], strict=True)]
        for conv in self.extra_convs:
            levels.append(halve(conv(pad_even(levels[-1]))))
        if self.revfp is not None:
            levels = self.revfp(levels)
        if self.csn is not None:
            levels = self.csn(levels)
        return tuple(levels)


class RevFP(nn.Module):
    """Reverse feature pyramid: from fine to coarse, each node fuses its level, the next coarser one and the node below.

    Its arguments are those of :class:`RCFPN`.
    """

    def __init__(self, channels: int, *, deform_groups: int, norm_cfg: Mapping):
        super().__init__()
        options = {"deform_groups": deform_groups, "norm_cfg": norm_cfg}
        self.nodes = nn.ModuleList(
            RevFPNode(channels, coarser=level < LEVELS - 1, below=level > 0, **options) for level in range(LEVELS)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps ``(B, C, H_l, W_l)``, fine to coarse, to maps of the same shapes."""
        outputs: list[Tensor] = []
        for level, node in enumerate(self.nodes):
            coarser = maps[level + 1] if level + 1 < len(maps) else None
            outputs.append(node(maps[level], coarser, outputs[-1] if outputs else None))
        return outputs


class RevFPNode(nn.Module):
    """One node: gated sums of two maps, with one number per image for how much of each, and deformable convolutions.

    Args:
        channels, deform_groups, norm_cfg: See :class:`RCFPN`.
        coarser: Whether there is a coarser level.
        below: Whether there is a node below.
    """

    def __init__(self, channels: int, *, coarser: bool, below: bool, deform_groups: int, norm_cfg: Mapping):
        super().__init__()
        self.gate_coarser = _zeroed(nn.Conv2d(2 * channels, 1, 1)) if coarser else None
        self.gate_below = _zeroed(nn.Conv2d(2 * channels, 1, 1)) if below else None
        if coarser:
            self.temperature = nn.Parameter(torch.ones(1))
            self.attention = _zeroed(nn.Conv2d(2 * channels, 1, 3, padding=1))
        dcn = {"type": "DCNv2", "deform_groups": deform_groups}
        order = {"conv_cfg": dcn, "norm_cfg": dict(norm_cfg), "order": ("act", "conv", "norm"), "inplace": False}
        self.pre = ConvModule(channels, channels, 3, padding=1, **order) if coarser and below else None
        self.post = ConvModule(channels, channels, 3, padding=1, **order)

    def forward(self, x: Tensor, coarser: Tensor | None = None, below: Tensor | None = None) -> Tensor:
        """Fuse.

        Args:
            x: Lateral of this level ``(B, C, H, W)``.
            coarser: Lateral of the next coarser level.
            below: Output of the node of the next finer level.

        Returns:
            ``(B, C, H, W)``.
        """
        if self.gate_coarser is not None:
            up = F.interpolate(coarser, x.shape[2:], mode="bilinear", align_corners=False)
            x = _mix(x, self.attend(x, up) * up, gate(self.gate_coarser, x, up))
        if self.pre is not None:
            x = self.pre(x)
        if self.gate_below is not None:
            down = halve(pad_even(below))
            x = _mix(x, down, gate(self.gate_below, x, down))
        return self.post(x)

    def attend(self, x: Tensor, up: Tensor) -> Tensor:
        """How much of the enlarged coarser map each position takes: ``(B, 1, H, W)`` with mean 1."""
        scores = self.temperature * x.shape[1] ** -0.5 * self.attention(torch.cat((x, up), 1))
        return scores.flatten(2).softmax(-1).view_as(scores) * scores[0, 0].numel()


class CSN(nn.Module):
    """Cross-scale shift network: some channels change levels, then context over levels and over positions is added.

    Its arguments are those of :class:`RCFPN`; ``mode`` is its ``shift_mode``.
    """

    def __init__(self, channels: int, *, shift_div: int = 16, mode: str = "circular", norm_cfg: Mapping):
        super().__init__()
        if mode not in SHIFT_MODES:
            raise ConfigError(
                f"RCFPN.shift_mode={mode!r}: expected 'circular' or 'zero'{close_names(mode, SHIFT_MODES)}"
            )
        self.group = channels // shift_div
        self.mode = mode
        shifted = channels + len(SHIFTS) * self.group
        self.aggregation = nn.ModuleList(
            nn.Sequential(ConvModule(shifted, channels, 1, norm_cfg=dict(norm_cfg)), nn.Conv2d(channels, channels, 1))
            for _ in range(LEVELS)
        )
        self.scale_context = GlobalContext(channels)
        self.spatial_context = GlobalContext(channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps ``(B, C, H_l, W_l)``, fine to coarse, to maps of the same shapes."""
        aligned = align(maps)
        shifted = shift(aligned, self.group, self.mode)
        y = aligned + torch.stack([conv(shifted[:, i]) for i, conv in enumerate(self.aggregation)], dim=1)
        scales = self.scale_context(y.mean((3, 4)).transpose(1, 2))
        positions = self.spatial_context(y.mean(1).flatten(2))
        z = y + scales[:, None] + positions[:, None]
        finest = F.interpolate(z[:, 0], maps[0].shape[2:], mode="bilinear", align_corners=False)
        others = [F.adaptive_max_pool2d(z[:, i], maps[i].shape[2:]) for i in range(1, LEVELS)]
        return [x + back for x, back in zip(maps, (finest, *others), strict=True)]


class GlobalContext(nn.Module):
    """An average weighted by attention, transformed: what one image says as a whole."""

    def __init__(self, channels: int):
        super().__init__()
        self.attend = nn.Conv2d(channels, 1, 1)
        self.transform = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, C, N)`` over N levels or positions to ``(B, C, 1, 1)``."""
        weights = self.attend(x[..., None]).softmax(2)[..., 0]
        return self.transform((x * weights).sum(2)[..., None, None])


def align(maps: Sequence[Tensor]) -> Tensor:
    """All levels at the size of the second, stacked: ``(B, levels, C, H, W)``."""
    size = maps[ALIGNED].shape[2:]
    finer = [F.adaptive_max_pool2d(x, size) for x in maps[:ALIGNED]]
    coarser = [F.interpolate(x, size, mode="bilinear", align_corners=False) for x in maps[ALIGNED + 1 :]]
    return torch.stack([*finer, maps[ALIGNED], *coarser], dim=1)


def shift(x: Tensor, group: int, mode: str) -> Tensor:
    """Put in front of all channels what the first four groups of them are on other levels.

    Args:
        x: ``(B, levels, C, H, W)``.
        group: Channels per group; group ``g`` makes ``SHIFTS[g]`` steps along the levels.
        mode: ``"circular"``: the levels are a ring. ``"zero"``: nothing comes from beyond the ends.

    Returns:
        ``(B, levels, 4 * group + C, H, W)``.
    """
    moved = []
    for i, step in enumerate(SHIFTS):
        part = x[:, :, i * group : (i + 1) * group].roll(step, dims=1)
        if mode == "zero":
            part[:, slice(0, step) if step > 0 else slice(step, None)] = 0
        moved.append(part)
    return torch.cat([*moved, x], dim=2)


def gate(conv: nn.Conv2d, a: Tensor, b: Tensor) -> Tensor:
    """Share of ``a`` in the mix of two maps ``(B, C, H, W)``, from their means: ``(B, 1, 1, 1)`` between 0 and 1."""
    return conv(torch.cat((a, b), 1).mean((2, 3), keepdim=True)).sigmoid()


def pad_even(x: Tensor) -> Tensor:
    """Repeat the last row and column where a side is odd."""
    height, width = x.shape[2:]
    return F.pad(x, (0, width % 2, 0, height % 2), mode="replicate")


def halve(x: Tensor) -> Tensor:
    """Maximum over windows of 2x2."""
    return F.max_pool2d(x, 2)


def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the authors' code (TempleX98/RCNet) in this class's words; other keys stay."""
    renamed = {}
    for key, value in state.items():
        for theirs, ours in OFFICIAL_WORDS:
            key = re.sub(theirs, ours, key)
        renamed[key] = value
    return renamed


OFFICIAL_WORDS = (
    (r"extra_downsamples\.(\d)\.0\.", r"extra_convs.\1."),
    # The coarsest node has one gate, which goes by the name of the other nodes' first.
    (r"RevFP\.p7\.weight\.0", r"RevFP.p7.gate_below"),
    (r"(RevFP\.p\d)\.weight\.0", r"\1.gate_coarser"),
    (r"(RevFP\.p\d)\.weight\.1", r"\1.gate_below"),
    (r"(RevFP\.p\d)\.temp$", r"\1.temperature"),
    (r"(RevFP\.p\d)\.spatial_weight", r"\1.attention"),
    (r"(RevFP\.p\d)\.(pre|post)_fusion", r"\1.\2"),
    *((rf"RevFP\.p{3 + level}", f"revfp.nodes.{level}") for level in range(LEVELS)),
    (r"CSN\.msm\.", "csn."),
    (r"CSN\.(scale|spatial)Context\.channel_agg", r"csn.\1_context.attend"),
    (r"CSN\.(scale|spatial)Context\.trans", r"csn.\1_context.transform"),
)
"""Patterns of the authors' keys and what becomes of them, in this order."""


def _mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    return share * a + (1 - share) * b


def _conv1x1(in_channels: int, out_channels: int, norm_cfg: Mapping) -> ConvModule:
    return ConvModule(in_channels, out_channels, 1, norm_cfg=dict(norm_cfg), act_cfg=None)


def _zeroed(conv: nn.Conv2d) -> nn.Conv2d:
    constant_init(conv, 0)
    return conv


def _xavier(part: nn.Module | None) -> None:
    for layer in () if part is None else part.modules():
        if isinstance(layer, nn.Conv2d):
            xavier_init(layer, distribution="uniform")
