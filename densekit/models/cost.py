"""What a network costs: parameters and multiply-accumulates, counted on PyTorch's meta device without computing."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
import torchvision.ops  # noqa: F401  registers the deformable convolution
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from densekit.models.on_meta import on_meta


class Cost(NamedTuple):
    """Of one network with one input."""

    parameters: int
    multiply_accumulates: int


def parameter_count(module: nn.Module) -> int:
    """Number of parameters, frozen ones included."""
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def multiply_accumulates(function: Callable[..., Any], *inputs: Any) -> int:
    """Multiply-accumulates of convolutions, deformable ones too, and matrix products in one call.

    What is done per element (norms, activations, interpolation, sampling) is not counted, as is the custom.

    Args:
        function: A module on the meta device, in eval mode, or a function that calls some.
        *inputs: Its inputs, tensors on the meta device.
    """
    counter = FlopCounterMode(display=False, custom_mapping={torch.ops.torchvision.deform_conv2d: _deform_conv_flops})
    with counter:
        function(*inputs)
    return counter.get_total_flops() // 2


def _deform_conv_flops(input_shape, weight_shape, *_shapes, out_shape=None, **_others) -> int:
    return 2 * math.prod(out_shape) * math.prod(weight_shape[1:])


def detector_cost(model: Mapping[str, Any], height: int, width: int, *, boxes: int = 1000, masks: int = 100) -> Cost:
    """Parameters and multiply-accumulates of a detector of MMDetection's kind, with one image.

    Args:
        model: Its model config.
        height: Of the image, in pixels.
        width: As ``height``.
        boxes: Regions that a two-stage detector classifies.
        masks: Regions that it segments.
    """
    from mmdet.registry import MODELS

    with on_meta(), DefaultScope.overwrite_default_scope("mmdet"):
        detector = MODELS.build(model).eval()
    image = torch.empty(1, 3, height, width, device="meta")

    def run() -> None:
        maps = detector.extract_feat(image)
        if not getattr(detector, "with_rpn", False):
            detector.bbox_head(maps)
            return
        detector.rpn_head(maps)
        heads = detector.roi_head
        for task, number in (("bbox", boxes), ("mask", masks)) if heads.with_mask else (("bbox", boxes),):
            extractors, stages = getattr(heads, f"{task}_roi_extractor"), getattr(heads, f"{task}_head")
            for extractor, head in zip(_listed(extractors), _listed(stages), strict=True):
                size = extractor.roi_layers[0].output_size
                levels = (extractor.num_inputs,) if getattr(extractor, "all_levels", False) else ()
                head(torch.empty(number, *levels, extractor.out_channels, *size, device="meta"))

    return Cost(parameter_count(detector), multiply_accumulates(run))


def segmentor_cost(model: Mapping[str, Any], height: int, width: int) -> Cost:
    """Parameters and multiply-accumulates of a segmentor of MMSegmentation's kind, with one image.

    Auxiliary heads, which serve the training alone, are not counted.

    Args:
        model: Its model config.
        height: Of the image, in pixels.
        width: As ``height``.
    """
    from densekit.models.frozen import without_shell
    from densekit.registry import MODELS

    def build() -> nn.Module:
        with DefaultScope.overwrite_default_scope("mmseg"):
            network = MODELS.build(ConfigDict(model)).eval()
        network.auxiliary_head = None
        return network

    with on_meta():
        segmentor = build()
    size = (1, without_shell(model["backbone"]).get("in_channels", 3), height, width)
    try:
        cost = multiply_accumulates(segmentor, torch.empty(size, device="meta"))
    except (NotImplementedError, RuntimeError):  # Mask2Former looks at its masks: it has to be computed
        cost = multiply_accumulates(build(), torch.zeros(size))
    return Cost(parameter_count(segmentor), cost)


def volume_cost(model: Mapping[str, Any], *sides: int) -> Cost:
    """Parameters and multiply-accumulates of a segmentor of volumes, with one window of depth, height and width."""
    from densekit.registry import MODELS

    with on_meta():
        segmentor = MODELS.build(dict(model)).eval()
    return Cost(
        parameter_count(segmentor),
        multiply_accumulates(segmentor, torch.empty(1, segmentor.in_channels, *sides, device="meta")),
    )


def _listed(part: nn.Module) -> list[nn.Module]:
    return list(part) if isinstance(part, nn.ModuleList) else [part]
