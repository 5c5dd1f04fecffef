"""The published settings of heads: losses, assigners, test settings; :mod:`densekit.models.assemble` fills them in.

One module per family. Numbers that follow from the other parts (channels, strides, class counts, levels) are not here:
they are wired. Sources are the papers, in the values MMDetection's own configs reproduce them with.
"""

from densekit.models.recipes.atss import ATSS, GFL
from densekit.models.recipes.common import PREPROCESSOR, Recipe
from densekit.models.recipes.fcos import FCOS
from densekit.models.recipes.rcnn import CASCADE_RCNN, FASTER_RCNN, MASKS, MASKS_TEST, TWO_STAGE_NECKS
from densekit.models.recipes.retinanet import FREE_ANCHOR, FSAF, RETINANET

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
"""By the name of the head."""

__all__ = ["MASKS", "MASKS_TEST", "PREPROCESSOR", "RECIPES", "TWO_STAGE_NECKS", "Recipe", "recipe_of"]


def recipe_of(head: type) -> Recipe | None:
    """The settings of a head; None if they are not known.

    A class that derives from a known head is another method with other settings, unless it names its ``recipe``.
    """
    return RECIPES.get(vars(head).get("recipe", head.__name__))
