"""VWFormer's decoder before MaskFormer and Mask2Former: pixel decoders for MMDetection's and MMSegmentation's heads.

In a config of ``Mask2FormerHead`` or ``MaskFormerHead`` they stand as ``pixel_decoder``; the head tells them
``in_channels``, ``feat_channels`` and ``out_channels``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from mmcv.cnn import ConvModule
from mmdet.models.layers.msdeformattn_pixel_decoder import MSDeformAttnPixelDecoder
from mmengine.model import BaseModule
from torch import Tensor, nn

from densekit.models.heads import vwformer
from densekit.models.heads.vwformer import VWDecoder
from densekit.models.layers.pyramid import BATCH_NORM, check_four, take_four
from densekit.registry import MODELS

GROUP_NORM = {"type": "GN", "num_groups": 32}
RELEASED = {
    **vwformer.PRESETS["cityscapes"],
    "width": 512,
    "low_width": 48,
    "image_pool": True,
    "norm_cfg": GROUP_NORM,
    "narrow_norm_cfg": BATCH_NORM,
    "scaling_bias": True,
}
"""Arguments of :class:`VWDecoder` as released; MaskFormer's has ``short_cut=True`` for Swin-T, 8 heads for Swin-B."""


def _decoder(in_channels: Sequence[int], channels: int, share_norm: bool, given: Mapping[str, Any] | None) -> VWDecoder:
    settings = {**RELEASED, **(given or {}), "channels": channels, "share_norm": share_norm}
    return VWDecoder(list(in_channels), **settings)


def _layer(given: int, out: int) -> ConvModule:
    return ConvModule(given, out, 1, norm_cfg=GROUP_NORM)


@MODELS.register_module()
class VWPixelDecoder(BaseModule):
    """Pixel decoder of VW-Mask2Former.

    Args:
        in_channels: Channels of the four maps, fine to coarse.
        feat_channels: Channels of the maps for the transformer decoder.
        out_channels: Channels of the mask features.
        share_norm: One group norm for all layers of ``width`` channels. The released weights were trained so; a
            network with a norm for each trains differently.
        decoder: Arguments of :class:`VWDecoder` put over :data:`RELEASED`.
        encoder: Not used; MMDetection's head reads the number of levels from it, ``dict(layer_cfg=dict(self_attn_cfg=
            dict(num_levels=3)))``.
        init_cfg: See MMEngine.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int = 256,
        out_channels: int = 256,
        *,
        share_norm: bool = False,
        decoder: Mapping[str, Any] | None = None,
        encoder: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ):
        del encoder
        super().__init__(init_cfg)
        check_four(type(self).__name__, in_channels, range(4))
        self.decoder = _decoder(in_channels, out_channels, share_norm, decoder)
        self.outputs = nn.ModuleList(_layer(given, feat_channels) for given in in_channels[1:])

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Four maps to mask features ``(B, out_channels, H_1, W_1)`` and three maps, coarse to fine."""
        maps = take_four(type(self).__name__, feats, range(4))
        outputs = [layer(x) for layer, x in zip(self.outputs, maps[1:], strict=True)]
        return self.decoder(maps), outputs[::-1]


@MODELS.register_module()
class VWMaskFormerPixelDecoder(BaseModule):
    """Pixel decoder of VW-MaskFormer, whose transformer decoder sees the coarsest map.

    Args:
        in_channels, feat_channels, out_channels, share_norm, decoder, init_cfg: See :class:`VWPixelDecoder`.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int = 256,
        out_channels: int = 256,
        *,
        share_norm: bool = False,
        decoder: Mapping[str, Any] | None = None,
        init_cfg: Mapping[str, Any] | None = None,
    ):
        super().__init__(init_cfg)
        check_four(type(self).__name__, in_channels, range(4))
        self.decoder = _decoder(in_channels, out_channels, share_norm, decoder)
        # MMDetection's head has this layer only for a pixel decoder of its own.
        self.memory = nn.Conv2d(in_channels[-1], feat_channels, 1)

    def forward(self, feats: Sequence[Tensor], batch_img_metas: Any = None) -> tuple[Tensor, Tensor]:
        """Four maps to mask features ``(B, out_channels, H_1, W_1)`` and the coarsest map for the transformer."""
        maps = take_four(type(self).__name__, feats, range(4))
        return self.decoder(maps), self.memory(maps[-1])


@MODELS.register_module()
class VWDeformablePixelDecoder(MSDeformAttnPixelDecoder):
    """Pixel decoder of VW-Mask2Former behind Mask2Former's deformable encoder, which takes the three coarser maps.

    Args:
        in_channels: Channels of the four maps, fine to coarse.
        feat_channels: Channels of the encoder.
        out_channels: Channels of the mask features.
        encoder: Config of the encoder, of three levels, as for MMDetection's ``MSDeformAttnPixelDecoder``.
        strides: Of the four maps.
        share_norm, decoder: See :class:`VWPixelDecoder`; there is no image pool.
        **kwargs: Those of MMDetection's ``MSDeformAttnPixelDecoder``.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        feat_channels: int = 256,
        out_channels: int = 256,
        *,
        encoder: Any,
        strides: Sequence[int] = (4, 8, 16, 32),
        share_norm: bool = False,
        decoder: Mapping[str, Any] | None = None,
        **kwargs,
    ):
        check_four(type(self).__name__, in_channels, range(4))
        super().__init__(
            in_channels[1:], strides[1:], feat_channels, out_channels, num_outs=3, encoder=encoder, **kwargs
        )
        self.mask_feature = nn.Identity()  # VWFormer's decoder gives them
        widths = [in_channels[0], *[feat_channels] * 3]
        self.decoder = _decoder(widths, out_channels, share_norm, {"image_pool": False, **(decoder or {})})

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`VWPixelDecoder.forward`; the three maps are the encoder's."""
        finest, *rest = take_four(type(self).__name__, feats, range(4))
        _, encoded = super().forward(rest)
        return self.decoder([finest, *encoded[::-1]]), encoded


# --- published weights ------------------------------------------------------------------------------------------------
_WORDS = (
    (r"(attn|ds|cat|short_path|image_pool)_0\.", r"\1."),
    (r"proj\.(\d)\.", r"outputs.\1."),
    (r"input_proj\.(\d)\.0\.", r"input_convs.\1.conv."),
    (r"input_proj\.(\d)\.1\.", r"input_convs.\1.gn."),
    (r"transformer\.level_embed$", "level_encoding.weight"),
    (r"transformer\.encoder\.", "encoder."),
    (r"(?<=layers\.\d\.)norm1\.", "norms.0."),
    (r"(?<=layers\.\d\.)norm2\.", "norms.1."),
    (r"(?<=layers\.\d\.)linear1\.", "ffn.layers.0.0."),
    (r"(?<=layers\.\d\.)linear2\.", "ffn.layers.1."),
)
_CONVOLUTION = re.compile(
    r"(.*(?:projections\.\d|fuse|short_path|image_pool|merge|enhance|scaling|outputs\.\d))\.(norm\.)?(\w+)$"
)


def rename_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The keys of the authors' three pixel decoders in the words of these classes; other keys stay.

    To be given the keys below ``sem_seg_head.pixel_decoder.``; their norm that layers share needs ``share_norm=True``.
    """
    renamed = {}
    for key, value in state.items():
        for theirs, ours in _WORDS:
            key = re.sub(rf"(?<![^.]){theirs}", ours, key)
        (key,) = vwformer.rename_official({key: None})
        layer = _CONVOLUTION.match(key)
        if layer:
            narrow = layer[1].endswith(("projections.0", "scaling"))
            kind = ("bn" if narrow else "gn") if layer[2] else "conv"
            key = f"{layer[1]}.{kind}.{layer[3]}"
        renamed[key] = value
    return renamed
