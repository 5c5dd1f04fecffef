"""The published settings of heads: losses, assigners, test settings; :mod:`densekit.models.assemble` fills them in.

One module per family. Numbers that follow from the other parts (channels, strides, class counts, levels) are not here:
they are wired. Sources are the papers, in the values MMDetection's own configs reproduce them with.
"""

from densekit.models.recipes.atss import ATSS, GFL
from densekit.models.recipes.common import PREPROCESSOR, Recipe
from densekit.models.recipes.ddrnet import DDRNET
from densekit.models.recipes.deeplab import DEEPLAB_V3_PLUS
from densekit.models.recipes.fcn import FCN
from densekit.models.recipes.fcos import FCOS
from densekit.models.recipes.frozen import DPT, LINEAR
from densekit.models.recipes.mask2former import MASK2FORMER
from densekit.models.recipes.ocr import OCR
from densekit.models.recipes.psp import PSP
from densekit.models.recipes.rcnn import CASCADE_RCNN, FASTER_RCNN, MASKS, MASKS_TEST, PLAIN_NECKS
from densekit.models.recipes.retinanet import FREE_ANCHOR, FSAF, RETINANET
from densekit.models.recipes.segformer import SEGFORMER, SEGFORMER_OF_MMSEGMENTATION
from densekit.models.recipes.segmentation import SegmentorRecipe
from densekit.models.recipes.segnext import SEGNEXT
from densekit.models.recipes.semantic_fpn import SEMANTIC_FPN
from densekit.models.recipes.upernet import UPERNET
from densekit.models.recipes.vwformer import VWFORMER

RECIPES: dict[str, Recipe] = {
    "RetinaHead": RETINANET,
    "FreeAnchorRetinaHead": FREE_ANCHOR,
    "FSAFHead": FSAF,
    "ATSSHead": ATSS,
    "GFLHead": GFL,
    "FCOSHead": FCOS,
    "StandardRoIHead": FASTER_RCNN,
    "CascadeRoIHead": CASCADE_RCNN,
}
"""Of detectors, by the name of the head."""

SEGMENTORS: dict[str, SegmentorRecipe] = {
    "FCNHead": FCN,
    "PSPHead": PSP,
    "DepthwiseSeparableASPPHead": DEEPLAB_V3_PLUS,
    "OCRHead": OCR,
    "UPerHead": UPERNET,
    "FPNHead": SEMANTIC_FPN,
    "SegformerPaperHead": SEGFORMER,
    "SegformerHead": SEGFORMER_OF_MMSEGMENTATION,
    "VWHead": VWFORMER,
    "LightHamHead": SEGNEXT,
    "DDRHead": DDRNET,
    "Mask2FormerHead": MASK2FORMER,
    "LinearHead": LINEAR,
    "SingleStrideDPTHead": DPT,
}
"""Of 2D segmentors, by the name of the head."""

SHORT_NAMES = {
    "fcn": "FCNHead",
    "psp": "PSPHead",
    "deeplabv3plus": "DepthwiseSeparableASPPHead",
    "ocr": "OCRHead",
    "upernet": "UPerHead",
    "fpn": "FPNHead",
    "semantic_fpn": "FPNHead",
    "segformer": "SegformerPaperHead",
    "vwformer": "VWHead",
    "segnext": "LightHamHead",
    "ddrnet": "DDRHead",
    "mask2former": "mmseg.Mask2FormerHead",
    "linear": "LinearHead",
    "dpt": "SingleStrideDPTHead",
}
"""Names of methods, that stand wherever the type of a segmentation head may stand."""

__all__ = [
    "MASKS",
    "MASKS_TEST",
    "PLAIN_NECKS",
    "PREPROCESSOR",
    "RECIPES",
    "SEGMENTORS",
    "SHORT_NAMES",
    "Recipe",
    "SegmentorRecipe",
    "recipe_of",
]


def recipe_of(head: type) -> Recipe | None:
    """The settings of a head; None if they are not known.

    A class that derives from a known head is another method with other settings, unless it names its ``recipe``.
    """
    return RECIPES.get(vars(head).get("recipe", head.__name__))
