"""Named sizes of backbones: a name that stands wherever the type of a backbone may stand.

``backbone="dformer"``, or with other arguments put over its own ``backbone=dict(type="dformer", patch=(1, 4, 4))``.
Any network of timm goes by timm's own name (:class:`densekit.models.backbones.TimmBackbone`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from densekit.models.variants.counted import COUNTED
from densekit.models.variants.timm_convolutions import CONVOLUTIONS
from densekit.models.variants.timm_transformers import TRANSFORMERS
from densekit.models.variants.variant import IMAGENET_MEAN, IMAGENET_STD, Variant

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "VARIANTS", "Variant", "resnet_settings"]


_IMAGENET = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}


def _resnet(depth: int, depths: tuple[int, ...], millions: float) -> Variant:
    widths = (64, 128, 256, 512)
    return Variant(
        "mmdet.ResNet",
        {"depth": depth},
        widths=widths if depth < 50 else tuple(4 * w for w in widths),
        depths=depths,
        weights=f"torchvision://resnet{depth}",
        licence="bsd-3-clause",
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        published=millions,
        source="He et al., arXiv 1512.03385; weights and count: torchvision",
    )


def _dformer(source: str, decoder: Mapping[str, Any], published: float | None = None, **arguments: Any) -> Variant:
    sizes = {"widths": arguments["widths"], "depths": arguments["depths"]}
    return Variant("DFormer", arguments, **sizes, published=published, source=source, decoder=decoder)


def _monai(name: str, source: str, published: float | None = None, **args: Any) -> Variant:
    arguments, decoder = {"name": name, "args": args}, {"head": "LogitsHead"}
    return Variant("MonaiNetwork", arguments, published=published, source=source, decoder=decoder)


def _mit(millions: float, depths: tuple[int, ...], widths: tuple[int, ...] = (64, 128, 320, 512)) -> Variant:
    arguments = {"widths": widths, "depths": depths}
    source = "Xie et al., arXiv 2105.15203; count: NVlabs/SegFormer with classifier"
    return Variant(
        "MixVisionTransformer",
        arguments,
        licence="non-commercial",
        **arguments,
        **_IMAGENET,
        published=millions,
        source=source,
    )


def _unireplknet(width: int, depths: tuple[int, ...], millions: float, third: tuple[int, ...] = (13,)) -> Variant:
    sizes = {"widths": tuple(width * 2**i for i in range(4)), "depths": depths}
    arguments = {**sizes, "kernels": ((3,), (13,), third, (13,))}
    source = "Ding et al., arXiv 2311.15599; count: AILab-CVC/UniRepLKNet, merged"
    return Variant(
        "UniRepLKNet", arguments, licence="apache-2.0", **sizes, **_IMAGENET, published=millions, source=source
    )


def _hornet(width: int, millions: float, *, filters: bool = False) -> Variant:
    sizes = {"widths": tuple(width * 2**i for i in range(4)), "depths": (2, 3, 18, 2)}
    arguments = {**sizes, "filters": (None, None, (14, 8), (7, 4))} if filters else sizes
    source = "Rao et al., arXiv 2207.14284; count: raoyongming/HorNet and MMPretrain"
    facts = {**_IMAGENET, "licence": "mit", "published": millions, "source": source}
    return Variant("HorNet", arguments, **sizes, **facts)


def _smt(depths: tuple[int, ...], millions: float | None, width: int = 64, *, large: bool = False) -> Variant:
    sizes = {"widths": tuple(width * 2**i for i in range(4)), "depths": depths}
    arguments = {**sizes, "ratios": (8, 6, 4, 2), "stem_kernel": 7} if large else sizes
    source = "Lin et al., arXiv 2307.08579; depths: AFeng-x/SMT"
    return Variant("SMT", arguments, **sizes, **_IMAGENET, published=millions, source=source)


def _cas_vit(widths: tuple[int, ...], depths: tuple[int, ...], millions: float) -> Variant:
    sizes = {"widths": widths, "depths": depths}
    source = "Zhang et al., arXiv 2408.03703; count: Tianfang-Zhang/CAS-ViT, with both classifiers"
    return Variant("CASViT", sizes, **sizes, **_IMAGENET, published=millions, source=source)


def _emov2(widths: tuple[int, ...], depths: tuple[int, ...], millions: float | None, **arguments: Any) -> Variant:
    sizes = {"widths": widths, "depths": depths}
    source = "Zhang et al., arXiv 2412.06674; sizes: zhangzjn/EMOv2"
    return Variant("EMOv2", {**sizes, **arguments}, **sizes, **_IMAGENET, published=millions, source=source)


def _lsnet(widths: tuple[int, ...], depths: tuple[int, ...], millions: float) -> Variant:
    sizes = {"widths": widths, "depths": depths}
    source = "Wang et al., arXiv 2503.23135; weights: jameslahm/lsnet, without a licence file"
    return Variant("LSNet", sizes, **sizes, **_IMAGENET, published=millions, source=source)


VARIANTS: dict[str, Variant] = {
    "resnet18": _resnet(18, (2, 2, 2, 2), 11.69),
    "resnet34": _resnet(34, (3, 4, 6, 3), 21.80),
    "resnet50": _resnet(50, (3, 4, 6, 3), 25.56),
    "resnet101": _resnet(101, (3, 4, 23, 3), 44.55),
    "resnet152": _resnet(152, (3, 8, 36, 3), 60.19),
    "mit_b0": _mit(3.58, (2, 2, 2, 2), (32, 64, 160, 256)),
    "mit_b1": _mit(13.66, (2, 2, 2, 2)),
    "mit_b2": _mit(24.71, (3, 4, 6, 3)),
    "mit_b3": _mit(44.59, (3, 4, 18, 3)),
    "mit_b4": _mit(61.36, (3, 8, 27, 3)),
    "mit_b5": _mit(81.96, (3, 6, 40, 3)),
    "unireplknet_a": _unireplknet(40, (2, 2, 6, 2), 4.4),
    "unireplknet_f": _unireplknet(48, (2, 2, 6, 2), 6.2),
    "unireplknet_p": _unireplknet(64, (2, 2, 6, 2), 10.7),
    "unireplknet_n": _unireplknet(80, (2, 2, 8, 2), 18.3),
    "unireplknet_t": _unireplknet(80, (3, 3, 18, 3), 31.0, (13, 3)),
    "unireplknet_s": _unireplknet(96, (3, 3, 27, 3), 55.6, (13, 3, 3)),
    "unireplknet_b": _unireplknet(128, (3, 3, 27, 3), 98.0, (13, 3, 3)),
    "unireplknet_l": _unireplknet(192, (3, 3, 27, 3), 218.0, (13, 3, 3)),
    "unireplknet_xl": _unireplknet(256, (3, 3, 27, 3), 386.0, (13, 3, 3)),
    "hornet_t": _hornet(64, 22.41),
    "hornet_t_gf": _hornet(64, 22.99, filters=True),
    "hornet_s": _hornet(96, 49.53),
    "hornet_s_gf": _hornet(96, 50.40, filters=True),
    "hornet_b": _hornet(128, 87.26),
    "hornet_b_gf": _hornet(128, 88.42, filters=True),
    "hornet_l": _hornet(192, 195.0),
    "hornet_l_gf": _hornet(192, 196.0, filters=True),
    "smt_t": _smt((2, 2, 8, 1), 11.5),
    "smt_s": _smt((3, 4, 18, 2), None),  # 22.55 M; the published 20.5 M are those of one block in the last stage
    "smt_b": _smt((4, 6, 28, 2), 32.0, large=True),
    "smt_l": _smt((4, 6, 28, 4), None, 96, large=True),
    "cas_vit_xs": _cas_vit((48, 56, 112, 220), (2, 2, 4, 2), 3.20),
    "cas_vit_s": _cas_vit((48, 64, 128, 256), (3, 3, 6, 3), 5.76),
    "cas_vit_m": _cas_vit((64, 96, 192, 384), (3, 3, 6, 3), 12.42),
    "cas_vit_t": _cas_vit((96, 128, 256, 512), (3, 3, 6, 3), 21.76),
    "emov2_1m": _emov2((32, 48, 80, 180), (2, 2, 8, 3), None),  # 1.46 M, published as 1.4 M
    "emov2_2m": _emov2((32, 48, 120, 200), (3, 3, 9, 3), None),  # 2.38 M, published as 2.3 M
    "emov2_5m": _emov2((48, 72, 160, 288), (3, 3, 9, 3), 5.1, ratios=(2.0, 3.0, 4.0, 4.0), head_dim=32),
    "emov2_20m": _emov2((64, 128, 320, 448), (3, 3, 13, 3), None, ratios=(2.0, 3.0, 4.0, 4.0), head_dim=32),
    "lsnet_t": _lsnet((64, 128, 256, 384), (0, 2, 8, 10), 11.4),
    "lsnet_s": _lsnet((96, 192, 320, 448), (1, 2, 8, 10), 16.1),
    "lsnet_b": _lsnet((128, 256, 384, 512), (4, 6, 8, 10), 23.2),
    "dformer": _dformer(
        "Wu et al., arXiv 2201.00462",
        {"neck": "DFormerDecoder", "head": "PatchExpandingHead"},
        published=44.26,
        widths=(96, 192, 384, 768),
        depths=(2, 2, 6, 2),
        heads=(3, 6, 12, 24),
        patch=(2, 4, 4),
        unit=(2, 8, 8),
    ),
    "dformer_tiny": _dformer(
        "ours, for small crops and phantoms",
        {
            "neck": {"type": "DFormerDecoder", "depths": (2, 2), "heads": (1, 2), "unit": (4, 4, 4)},
            "head": {"type": "PatchExpandingHead", "deep_supervision": 2},
        },
        widths=(32, 64, 128),
        depths=(2, 2, 2),
        heads=(1, 2, 4),
        patch=(2, 2, 2),
        unit=(4, 4, 4),
    ),
    "monai_unet": _monai(
        "UNet",
        "ours: MONAI's UNet with residual units",
        channels=(32, 64, 128, 256, 512),
        strides=(2, 2, 2, 2),
        num_res_units=2,
        norm="instance",
    ),
    "monai_dynunet": _monai(
        "DynUNet",
        "nnU-Net's architecture (Isensee et al., Nature Methods 2021), our size",
        kernel_size=((1, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        upsample_kernel_size=((1, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2), (2, 2, 2)),
        deep_supervision=True,
        deep_supr_num=2,
    ),
    "monai_dynunet_small": _monai(
        "DynUNet",
        "ours, for small crops",
        kernel_size=(3, 3, 3, 3),
        strides=(1, 2, 2, 2),
        upsample_kernel_size=(2, 2, 2),
        filters=(16, 32, 64, 128),
    ),
    "monai_segresnet": _monai(
        "SegResNet", "Myronenko, arXiv 1810.11654", init_filters=32, blocks_down=(1, 2, 2, 4), blocks_up=(1, 1, 1)
    ),
    "monai_unetr": _monai(
        "UNETR",
        "Hatamizadeh et al., arXiv 2103.10504; count: Shaker et al., arXiv 2212.04497",
        published=92.49,
        img_size=(96, 96, 96),
        feature_size=16,
        hidden_size=768,
        mlp_dim=3072,
        num_heads=12,
        norm_name="instance",
    ),
    "monai_swinunetr": _monai(
        "SwinUNETR",
        "Hatamizadeh et al., arXiv 2201.01266; count: Shaker et al., arXiv 2212.04497",
        published=62.83,
        feature_size=48,
        use_checkpoint=False,
    ),
    **CONVOLUTIONS,
    **TRANSFORMERS,
}


for _name, (_parameters, _macs, _size) in COUNTED.items():
    VARIANTS[_name] = replace(VARIANTS[_name], parameters=_parameters, macs=_macs, size=_size)


def resnet_settings(depth: int, *, scratch: bool) -> dict[str, Any]:
    """A ResNet of MMDetection: with torchvision's weights, first stage and batch norm frozen; or nothing of that."""
    return {
        "num_stages": 4,
        "out_indices": (0, 1, 2, 3),
        "frozen_stages": -1 if scratch else 1,
        "norm_cfg": {"type": "BN", "requires_grad": True},
        "norm_eval": not scratch,
        "style": "pytorch",
        "init_cfg": {"type": "Pretrained", "checkpoint": f"torchvision://resnet{depth}"},
    }
