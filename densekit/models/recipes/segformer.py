"""SegFormer's decoder (Xie et al. 2021, arXiv 2105.15203): perceptrons alone, no auxiliary head."""

from collections.abc import Mapping
from typing import Any

from densekit.models.recipes.segmentation import SegmentorRecipe, decoder


def is_small_mit(backbone: str, arguments: Mapping[str, Any]) -> bool:
    """Whether a backbone is MiT-B0 or B1, which have narrower decoders; B1 has the widths of the larger ones."""
    depths = arguments.get("depths", arguments.get("num_layers", ()))  # MMSegmentation's word
    return backbone == "MixVisionTransformer" and list(depths) == [2, 2, 2, 2]


def _paper(backbone: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {"channels": 256} if is_small_mit(backbone, arguments) else {}


SEGFORMER = SegmentorRecipe(head=decoder(), behind=_paper)
"""The authors' form: 256 channels behind MiT-B0 and B1, otherwise 768."""
SEGFORMER_OF_MMSEGMENTATION = SegmentorRecipe(head=decoder(256))
"""MMSegmentation's form: another network, of 256 channels for every backbone."""
