"""VWFormer's decoder (Yan et al. 2024, arXiv 2404.16573): cross-entropy alone, no auxiliary head."""

from collections.abc import Mapping
from typing import Any

from densekit.models.recipes.segformer import is_small_mit
from densekit.models.recipes.segmentation import SegmentorRecipe, decoder


def _preset(backbone: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Behind MiT the form of the paper, 128 channels wide behind B0 and B1; otherwise the released one of ADE20K."""
    narrow = {"width": 128} if is_small_mit(backbone, arguments) else {}
    return {"preset": "paper", **narrow} if backbone == "MixVisionTransformer" else {"preset": "ade"}


VWFORMER = SegmentorRecipe(head=decoder(), behind=_preset, size_divisor=64)
