"""How the parts of a segmentor are put together: :func:`densekit.models.assemble.assemble` for a class per pixel."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from densekit.errors import ConfigError
from densekit.models.assemble.parts import Wired, ask, built, merge, merge_part, plain
from densekit.models.contract import Pyramid, Said
from densekit.models.layers.pyramid import BATCH_NORM
from densekit.models.recipes import PLAIN_NECKS, SEGMENTORS
from densekit.models.recipes.segmentation import FCN_BEFORE, SEGMENTOR_PREPROCESSOR, SegmentorRecipe

logger = logging.getLogger("densekit")
DILATED = {16: ((1, 2, 2, 1), (1, 1, 1, 2)), 8: ((1, 2, 1, 1), (1, 1, 2, 4))}
"""Strides and dilations of a ResNet's stages by the stride of the last."""


def _recipe(head: Wired) -> SegmentorRecipe | None:
    return SEGMENTORS.get(vars(head.part).get("recipe", head.name))


def _config(head: Wired) -> dict[str, Any]:
    """The config of a head that is built once, so that it is refused here if it cannot be."""
    built(head)
    return head.config()


def published_neck(head: Wired) -> str | None:
    """The neck that a segmentation head is published behind."""
    recipe = _recipe(head)
    return recipe.neck if recipe else None


MAPS = 4
"""Maps that heads on plain transformers take."""


class SegmentorWiring:
    """Makes the config of one segmentor.

    Args:
        backbone: The backbone.
        head: The segmentation head.
        num_classes: Number of classes.

    Raises:
        ConfigError: for a head whose settings are not known, or a single class.
    """

    def __init__(self, backbone: Wired, head: Wired, num_classes: int):
        self.backbone, self.head, self.num_classes = backbone, head, num_classes
        recipe = _recipe(head)
        if recipe is None:
            raise ConfigError(
                f"head: there are no published settings of {head.name} to fill in; assemble() knows "
                f"{', '.join(SEGMENTORS)}; write the model config of another one in full, with the type of its "
                "segmentor"
            )
        if num_classes < 2:
            raise ConfigError(
                f"num_classes={num_classes}: {head.name} tells classes from each other; name what else there is as a "
                "class of its own, such as background"
            )
        self.recipe: SegmentorRecipe = recipe

    def config(
        self,
        necks: Sequence[Wired],
        *,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
        auxiliary_head: Any = None,
    ) -> dict[str, Any]:
        """The whole model config; the arguments are put over the published settings."""
        self._check_backbone()
        self.backbone = self._fitted(dilate=not necks and self.recipe.levels == 1)
        backbone = ask(self.backbone)
        levels, configs = backbone.gives, []
        for neck in necks:
            neck = neck.with_facts(self._neck_facts(neck, levels, first=not configs))
            levels = ask(neck, levels).gives
            configs.append(neck.config())
        if levels.paired:
            raise ConfigError(
                f"{levels.part} -> {self.head.name}: {levels.part} gives a pair of maps per level, {self.head.name} "
                "takes one; what fits is SEPC with with_lc_convs=False"
            )
        chosen = self._levels(levels, behind_neck=bool(necks))
        cascade = self.recipe.first is not None
        decode = self._head(levels, chosen)
        first = self._before(levels, chosen, self.recipe.first, one_size=True) if cascade else None
        auxiliary = self._auxiliary(levels, chosen, auxiliary_head)
        return {
            "type": "densekit.CascadeSemanticSegmentor" if cascade else "densekit.SemanticSegmentor",
            "data_preprocessor": plain(merge(self._images(backbone), data_preprocessor or {})),
            "backbone": self.backbone.config(),
            **({"neck": configs[0] if len(configs) == 1 else configs} if configs else {}),
            **({"num_stages": 2, "decode_head": [first, decode]} if cascade else {"decode_head": decode}),
            **({} if auxiliary is None else {"auxiliary_head": auxiliary}),
            "train_cfg": plain(dict(train_cfg or {})),
            "test_cfg": plain(merge({"mode": "whole"}, test_cfg or {})),
        }

    # --- backbone and necks -------------------------------------------------------------------------------------------
    def _check_backbone(self) -> None:
        wanted, own = self.recipe.backbone, {recipe.backbone: key for key, recipe in SEGMENTORS.items()}
        if wanted not in (None, self.backbone.name):
            raise ConfigError(
                f"{self.backbone.name} -> {self.head.name}: {self.head.name} takes the branches of {wanted} alone; "
                f"what fits {self.backbone.name} is FCNHead"
            )
        if wanted is None and self.backbone.name in own:
            raise ConfigError(
                f"{self.backbone.name} -> {self.head.name}: {self.backbone.name} gives its branches, which "
                f"{own[self.backbone.name]} alone takes"
            )

    def _fitted(self, *, dilate: bool) -> Wired:
        """The backbone without maps that no decoder takes, its last map of the published stride where it can be."""
        backbone, finest = self.backbone, self.recipe.finest
        if backbone.name == "TimmBackbone":
            backbone = backbone.with_facts(self._maps_of_timm(backbone))
        if not dilate or ask(backbone).gives.strides[-1] <= finest:
            return backbone
        for settings in self._dilations(backbone, finest):
            try:
                if ask(settings).gives.strides[-1] == finest:
                    return settings
            except ConfigError:  # not this one: it is told below
                continue
        logger.info(
            "%s: published on a map of stride %d, it gets one of stride %d: %s has no dilated form",
            self.head.name,
            finest,
            ask(backbone).gives.strides[-1],
            backbone.arguments.get("name", backbone.name),
        )
        return backbone

    def _maps_of_timm(self, backbone: Wired) -> dict[str, Any]:
        """Those of stride 4 on, or of the blocks of a plain transformer that the head is published with."""
        strides = ask(backbone).gives.strides
        blocks = getattr(getattr(built(backbone).network, "model", None), "blocks", ())
        if self.recipe.blocks is None or len(set(strides)) > 1 or len(blocks) < MAPS:
            return {"out_indices": [i for i, stride in enumerate(strides) if stride >= 4]}
        if self.recipe.blocks == "last":
            return {"out_indices": list(range(len(blocks) - MAPS, len(blocks))), "out_norm": "own"}
        return {"out_indices": [len(blocks) * (i + 1) // MAPS - 1 for i in range(MAPS)]}

    @staticmethod
    def _dilations(backbone: Wired, stride: int) -> list[Wired]:
        """Forms of a backbone in which the stride of its last map may be the one wanted."""
        if backbone.takes("output_stride"):
            return [backbone.with_facts({"output_stride": stride})]
        if backbone.takes("strides") and backbone.takes("dilations"):
            strides, dilations = DILATED[stride]
            return [backbone.with_facts({"strides": strides, "dilations": dilations, "contract_dilation": True})]
        return []

    def _neck_facts(self, neck: Wired, source: Pyramid, *, first: bool) -> dict[str, Any]:
        count = len(source.channels)
        facts: dict[str, Any] = {
            "in_channels": list(source.channels),
            "in_strides": list(source.strides),
            "out_channels": 256,
            "num_levels": count,
            **PLAIN_NECKS.get(neck.name, {}),
        }
        if neck.levels == "equal" or neck.takes("embed_dim"):
            channels = source.common_channels(neck.name)
            facts.update(in_channels=channels, out_channels=channels, embed_dim=channels)
        if neck.levels == "last":
            facts.update(in_channels=source.channels[-1])
        if first and neck.takes("start_level") and 4 in source.strides:
            facts["start_level"] = source.strides.index(4)
        if neck.takes("num_outs") and neck.parameters["num_outs"].default is inspect.Parameter.empty:
            facts["num_outs"] = count - neck.arguments.get("start_level", facts.get("start_level", 0))
        if neck.takes("norm_cfg") and "Sync" in str(neck.parameters["norm_cfg"].default):
            facts["norm_cfg"] = BATCH_NORM
        return facts

    # --- heads --------------------------------------------------------------------------------------------------------
    def _levels(self, levels: Pyramid, *, behind_neck: bool) -> list[int]:
        """Which of the maps before it the head takes."""
        given = self.head.arguments.get("in_index")
        if given is not None:
            return [range(len(levels.strides))[i] for i in (given if isinstance(given, (list, tuple)) else [given])]
        strides, need, finest = levels.strides, self.recipe.levels, self.recipe.finest
        if need == 0:
            return list(range(len(strides)))
        if need == 1:  # all maps of a neck know what the coarsest shows, of a backbone only the last does
            last = len(strides) - 1
            return [min(range(last + 1), key=lambda i: abs(strides[i] - finest)) if behind_neck else last]
        starts = [i for i in range(len(strides) - need + 1) if self._fits(strides[i : i + need])]
        if not starts:
            self._refuse(levels)
        start = next((i for i in starts if strides[i] == finest), starts[0])
        return list(range(start, start + need))

    def _fits(self, strides: Sequence[int]) -> bool:
        if self.recipe.single_stride:
            return len(set(strides)) == 1
        return all(b == 2 * a for a, b in pairwise(strides))

    def _refuse(self, levels: Pyramid) -> None:
        need, strides = self.recipe.levels, levels.strides
        plain_maps = len(strides) > 1 and len(set(strides)) == 1
        fits = [
            key
            for key, recipe in SEGMENTORS.items()
            if recipe.backbone is None and (recipe.levels < 2 or (recipe.single_stride and plain_maps))
        ]
        alike = "of one stride, as plain transformers give them" if self.recipe.single_stride else "of halving sizes"
        raise ConfigError(
            f"{levels.part} -> {self.head.name}: {levels.part} gives {len(strides)} maps of strides {strides}, "
            f"{self.head.name} takes {need} maps {alike}; what fits {levels.part} is {', '.join(fits)}"
        )

    def _head(self, levels: Pyramid, chosen: Sequence[int]) -> dict[str, Any]:
        settings = dict(self.recipe.head)
        if self.recipe.behind is not None:
            settings |= self.recipe.behind(self.backbone.name, self.backbone.arguments)
        if self.recipe.nothing_weight is not None:
            weights = [1.0] * self.num_classes + [self.recipe.nothing_weight]
            settings["loss_cls"] = {**settings["loss_cls"], "class_weight": weights}
        head = merge_part(settings, {"type": self.head.part, **self.head.arguments}, "head")
        channels = [levels.channels[i] for i in chosen]
        strides = [levels.strides[i] for i in chosen]
        facts = {
            **self._classes(head),
            "in_channels": channels,
            "in_index": list(chosen),
            "feature_strides": strides,
            "strides": strides,
            "c1_in_channels": levels.channels[0],
        }
        if self.recipe.levels == 1:
            facts.update(in_channels=channels[0], in_index=chosen[0])
        return _config(head.with_facts(facts))

    def _classes(self, head: Wired) -> dict[str, Any]:
        """The number of classes, and where MMSegmentation would ask back, that each has a logit of its own."""
        two = self.num_classes == 2 and head.takes("threshold")
        return {"num_classes": self.num_classes, **({"out_channels": 2} if two else {})}

    def _before(
        self, levels: Pyramid, chosen: Sequence[int], settings: Any, *, one_size: bool = False
    ) -> dict[str, Any]:
        """A head on the level before the last that the main head takes.

        It is on the same where there is none before, or none of the ``one_size`` that a cascade's heads share.
        """
        last, index = chosen[-1], max(chosen[-1] - 1, 0)
        if one_size and levels.strides[index] != levels.strides[last]:
            index = last
        head = merge_part(settings, {}, "auxiliary_head")
        facts = {"in_channels": levels.channels[index], "in_index": index, **self._classes(head)}
        return _config(head.with_facts(facts))

    def _auxiliary(self, levels: Pyramid, chosen: Sequence[int], given: Any) -> dict[str, Any] | None:
        """The auxiliary head, ``given`` put over the published one; ``given=False`` for none."""
        settings = self.recipe.auxiliary
        if given is False or (given is None and settings is None):
            return None
        return self._before(levels, chosen, merge(settings or FCN_BEFORE, {} if given in (None, True) else given))

    # --- images -------------------------------------------------------------------------------------------------------
    def _images(self, backbone: Said) -> dict[str, Any]:
        own = {key: value for key, value in (("mean", backbone.mean), ("std", backbone.std)) if value is not None}
        settings = {**SEGMENTOR_PREPROCESSOR, **own}
        channels = self.backbone.arguments.get("in_channels", 3)
        if channels != 3:
            for key in ("mean", "std"):
                values = settings[key]
                if len(values) != channels:
                    settings[key] = [round(sum(values) / len(values), 4)] * channels
            settings["bgr_to_rgb"] = False
            if channels != 1:
                settings["type"] = "densekit.ChannelsPreprocessor"
        multiple, divisor = math.lcm(*(backbone.size_multiple or (1,))), self.recipe.size_divisor
        settings["size_divisor"] = multiple if divisor % multiple else divisor
        return settings
