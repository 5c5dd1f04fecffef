"""VWFormer's decoder (Yan et al., *Multi-Scale Representations by Varying Window Attention for Semantic Segmentation*,
ICLR 2024, arXiv 2404.16573): one branch of attention per scale between the levels' aggregation and the classifier.

Follows the released code in what its variants differ; each is a preset of :class:`VWHead`:

=========== ============================ ============ ============
of          ade                          cityscapes   paper
=========== ============================ ============ ============
released    ConvNeXt, Swin on ADE20K     ConvNeXt     nothing; MiT
image pool  yes                          no           no
attention   non-local, 1 head            multi-head, 16 heads
short cut   yes (not on Swin-L)          no           no
projections linear                       conv, BN     linear
upsampling  bilinear                     nearest      bilinear
=========== ============================ ============ ============
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from torch import Tensor, nn
from torch.nn import functional as F

from densekit.errors import ConfigError, close_names
from densekit.models.layers.pyramid import BATCH_NORM, STRIDES, PixelLinear, check_four, is_narrow, take_four
from densekit.models.layers.varying_window_attention import VaryingWindowAttention
from densekit.registry import MODELS

_RELEASED = {
    "attention": "multihead",
    "heads": 16,
    "short_cut": False,
    "image_pool": False,
    "projection": "conv",
    "upsampling": "nearest",
}
PRESETS: dict[str, dict[str, Any]] = {
    "ade": {
        "channels": 512,
        "attention": "nonlocal",
        "heads": 1,
        "short_cut": True,
        "image_pool": True,
        "projection": "linear",
        "upsampling": "bilinear",
    },
    "cityscapes": {**_RELEASED, "channels": 512},
    "paper": {**_RELEASED, "channels": 256, "projection": "linear", "upsampling": "bilinear"},
}


def _settings(preset: str, in_channels: Sequence[int], given: Mapping[str, Any]) -> dict[str, Any]:
    """A preset with what is given put over it, and the widths that follow from those of the maps."""
    if preset not in PRESETS:
        raise ConfigError(
            f"VWHead.preset={preset!r}: expected {', '.join(map(repr, PRESETS))}{close_names(str(preset), PRESETS)}"
        )
    given = {name: value for name, value in given.items() if value is not None}
    width = given.get("width", 128 if is_narrow(in_channels) else 512)
    narrow = {"channels": 128} if width == 128 else {}
    low_width = 32 if narrow and preset == "paper" else 48
    return {"width": width, "low_width": low_width, **PRESETS[preset], **narrow, **given}


class VWDecoder(nn.Module):
    """Four maps to one of stride 4: aggregation at stride 8, branches, their aggregation, the finest map's detail.

    Args:
        in_channels: Channels of the four maps, fine to coarse.
        channels: Channels of the result.
        width: C, channels at stride 8.
        low_width: Channels that the finest map is brought to.
        projection: ``"linear"``: with bias, no norm; ``"conv"``: without bias, norm, ReLU.
        upsampling: ``"bilinear"`` or ``"nearest"``, of the coarse maps to stride 8.
        image_pool: A branch with the mean of the map.
        ratios: R of the branches.
        norm_cfg: Norm of the layers of many channels.
        narrow_norm_cfg: Norm of the scaling convolutions and of the finest map's projection, which have few; None: the
            same.
        share_norm: One norm for all layers of C channels, as in the released mask decoders.
        **branch: Arguments of :class:`VaryingWindowAttention`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        *,
        width: int,
        low_width: int,
        projection: str,
        upsampling: str,
        image_pool: bool,
        ratios: Sequence[int] = (2, 4, 8),
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
        narrow_norm_cfg: Mapping[str, Any] | None = None,
        share_norm: bool = False,
        **branch: Any,
    ):
        super().__init__()
        for name, value, known in (
            ("projection", projection, ("linear", "conv")),
            ("upsampling", upsampling, ("bilinear", "nearest")),
        ):
            if value not in known:
                raise ConfigError(f"{name}={value!r}: expected {' or '.join(map(repr, known))}")
        narrow = dict(narrow_norm_cfg or norm_cfg)
        self.upsampling = upsampling

        def layer(given: int, out: int = width, norm: Mapping[str, Any] = norm_cfg) -> ConvModule:
            return ConvModule(given, out, 1, norm_cfg=dict(norm))

        outs = (low_width, width, width, width)
        project = PixelLinear if projection == "linear" else layer
        self.projections = nn.ModuleList(
            layer(given, out, narrow) if project is layer and not level else project(given, out)
            for level, (given, out) in enumerate(zip(in_channels, outs, strict=True))
        )
        self.fuse, self.short_path = layer(3 * width), layer(width)
        self.image_pool = layer(width) if image_pool else None
        self.branches = nn.ModuleList(VaryingWindowAttention(width, r, norm_cfg=narrow, **branch) for r in ratios)
        self.merge = layer((1 + image_pool + len(ratios)) * width)
        self.enhance = layer(width + low_width, channels)
        if share_norm:
            wide = [*self.projections[1:], self.short_path, self.image_pool, self.merge]
            for part in wide:
                if isinstance(part, ConvModule):
                    setattr(part, part.norm_name, self.fuse.norm)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps ``(B, C_l, H_l, W_l)`` of strides 4, 8, 16, 32 to ``(B, channels, H_1, W_1)``."""
        fine, *rest = (project(x) for project, x in zip(self.projections, maps, strict=True))
        size = rest[0].shape[2:]
        options = {"align_corners": False} if self.upsampling == "bilinear" else {}
        coarse = [F.interpolate(x, size=size, mode=self.upsampling, **options) for x in rest[:0:-1]]
        x = self.fuse(torch.cat([*coarse, rest[0]], dim=1))
        branches = [self.short_path(x)]
        if self.image_pool is not None:
            branches.append(self._pooled(x).expand_as(x))
        branches += [branch(x) for branch in self.branches]
        x = self.merge(torch.cat(branches, dim=1))
        x = F.interpolate(x, size=fine.shape[2:], mode="bilinear", align_corners=False)
        return self.enhance(torch.cat([x, fine], dim=1))

    def _pooled(self, x: Tensor) -> Tensor:
        if self.training and len(x) == 1 and type(self.image_pool.norm) is nn.BatchNorm2d:
            raise ConfigError(
                "VWHead: image_pool=True has a batch norm over one value per image, so a batch of one image cannot "
                "train it; take batches of two or more, or image_pool=False (the presets 'paper' and 'cityscapes')"
            )
        return self.image_pool(x.mean((2, 3), keepdim=True))


@MODELS.register_module()
class VWHead(BaseDecodeHead):
    """VWFormer's decode head: logits of stride 4.

    With ``grid``, a map whose sides are multiples of 8, that is an image whose sides are multiples of 64, is computed
    as in the released code; any other is filled up inside the branches, see :class:`VaryingWindowAttention`.

    Args:
        in_channels: Channels of the four maps, fine to coarse.
        num_classes: Number of classes.
        preset: ``"ade"``, ``"cityscapes"`` or ``"paper"``, see the module. The others are arguments put over it; None
            leaves what it says.
        in_index: Which of the maps before it are the four.
        channels: Channels before the classifier.
        width: C; by itself 128 behind a narrow encoder such as MiT-B0, otherwise 512. MiT-B1 has the widths of B2 and
            is published with 128: there it is to be given.
        low_width: Channels that the finest map is brought to.
        image_pool, projection, upsampling: See :class:`VWDecoder`.
        attention, heads, short_cut, grid, window: See :class:`VaryingWindowAttention`.
        norm_cfg: Norm of all layers that have one.
        **kwargs: Those of MMSegmentation's ``BaseDecodeHead``.

    Raises:
        ConfigError: for an unknown preset, other than four maps, values that do not fit each other.
    """

    spatial_dims, in_strides = 2, STRIDES

    def __init__(
        self,
        in_channels: Sequence[int],
        *,
        num_classes: int,
        preset: str = "ade",
        in_index: Sequence[int] = (0, 1, 2, 3),
        channels: int | None = None,
        width: int | None = None,
        low_width: int | None = None,
        image_pool: bool | None = None,
        projection: str | None = None,
        upsampling: str | None = None,
        attention: str | None = None,
        heads: int | None = None,
        short_cut: bool | None = None,
        grid: Sequence[int] = (8, 8),
        window: int | None = None,
        norm_cfg: Mapping[str, Any] = BATCH_NORM,
        **kwargs,
    ):
        check_four(type(self).__name__, in_channels, in_index)
        given = {
            "channels": channels,
            "width": width,
            "low_width": low_width,
            "image_pool": image_pool,
            "projection": projection,
            "upsampling": upsampling,
            "attention": attention,
            "heads": heads,
            "short_cut": short_cut,
        }
        settings = _settings(preset, in_channels, given)
        super().__init__(
            in_channels=list(in_channels),
            channels=settings.pop("channels"),
            num_classes=num_classes,
            in_index=list(in_index),
            input_transform="multiple_select",
            norm_cfg=norm_cfg,
            **kwargs,
        )
        self.decoder = VWDecoder(
            self.in_channels, self.channels, grid=grid, window=window, norm_cfg=norm_cfg, **settings
        )

    @staticmethod
    def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See the function of that name."""
        return rename_official(state)

    def forward(self, inputs: Sequence[Tensor]) -> Tensor:
        """Maps ``(B, C_l, H_l, W_l)`` to logits ``(B, num_classes, H_1, W_1)``."""
        return self.cls_seg(self.decoder(take_four(type(self).__name__, inputs, self.in_index)))


# --- published weights ------------------------------------------------------------------------------------------------
_LAYERS = {
    r"linear_c(\d)\.(?:proj\.)?": lambda found: f"decoder.projections.{int(found[1]) - 1}.",
    r"linear_fuse\.": "decoder.fuse.",
    r"short_path\.": "decoder.short_path.",
    r"image_pool\.1\.": "decoder.image_pool.",
    r"cat\.": "decoder.merge.",
    r"low_level_fuse\.": "decoder.enhance.",
    r"attn\.(\d)\.": r"decoder.branches.\1.attention.",
    r"ds\.(\d)\.": r"decoder.branches.\1.scaling.",
}
"""Patterns of the authors' keys and what becomes of them."""


def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the authors' ``VWHead`` and ``VWCityHead`` in the words of :class:`VWHead`; other keys stay."""
    renamed = {}
    for key, value in state.items():
        for theirs, ours in _LAYERS.items():
            key, found = re.subn(rf"(?<![^.]){theirs}", ours, key)
            if found:
                break
        renamed[key] = value
    return renamed


_QKV = ("theta", "phi", "g")


def nonlocal_to_multihead(state: Mapping[str, Tensor], eps: float = 1e-5) -> dict[str, Tensor]:
    """Weights of :class:`VWHead` with ``attention="nonlocal"`` as those of ``attention="multihead"``.

    The norm of the output becomes part of the last layer, so the two agree in eval mode.
    """
    state = dict(state)
    for name in [key.removesuffix("theta.conv.weight") for key in state if key.endswith("theta.conv.weight")]:
        for kind in ("weight", "bias"):
            parts = [state.pop(f"{name}{part}.conv.{kind}") for part in _QKV]
            state[f"{name}in_proj_{kind}"] = torch.cat(
                [part.flatten(1) if kind == "weight" else part for part in parts]
            )
        last, norm = f"{name}conv_out.conv.weight", f"{name}conv_out.bn."
        state.pop(f"{norm}num_batches_tracked", None)
        weight, bias, mean, var = (state.pop(norm + key) for key in ("weight", "bias", "running_mean", "running_var"))
        scale = weight / (var + eps).sqrt()
        state[f"{name}out_proj.weight"] = scale[:, None] * state.pop(last).flatten(1)
        state[f"{name}out_proj.bias"] = bias - mean * scale
    return state


def multihead_to_nonlocal(state: Mapping[str, Tensor], eps: float = 1e-5) -> dict[str, Tensor]:
    """The other way, with a norm of the output that in eval mode changes nothing but adds the bias."""
    state = dict(state)
    for name in [key.removesuffix("in_proj_weight") for key in state if key.endswith("in_proj_weight")]:
        for kind in ("weight", "bias"):
            for part, value in zip(_QKV, state.pop(f"{name}in_proj_{kind}").chunk(3), strict=True):
                state[f"{name}{part}.conv.{kind}"] = value[..., None, None] if kind == "weight" else value
        state[f"{name}conv_out.conv.weight"] = state.pop(f"{name}out_proj.weight")[..., None, None]
        bias, norm = state.pop(f"{name}out_proj.bias"), f"{name}conv_out.bn."
        ones = torch.ones_like(bias)
        state |= {f"{norm}weight": ones * (1 + eps) ** 0.5, f"{norm}bias": bias}
        state |= {f"{norm}running_mean": ones * 0, f"{norm}running_var": ones}
        state[f"{norm}num_batches_tracked"] = torch.tensor(0)
    return state
