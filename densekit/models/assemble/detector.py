"""How the parts of a detector are put together: :func:`densekit.models.assemble.assemble` for images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from densekit.errors import ConfigError
from densekit.models.assemble.parts import Wired, ask, check_classes, merge, merge_part, plain
from densekit.models.assemble.settings import check_settings, listed
from densekit.models.contract import Pyramid, Said, doubled
from densekit.models.recipes import MASKS, MASKS_TEST, PLAIN_NECKS, PREPROCESSOR, RECIPES, recipe_of
from densekit.models.recipes.common import NUM_LEVELS

TASKS = ("bbox", "mask")


class DetectorWiring:
    """Makes the config of one detector.

    Args:
        backbone: The backbone.
        head: The dense head, or the region head of a two-stage detector.
        num_classes: Number of classes, without background.

    Raises:
        ConfigError: for a head whose settings are not known.
    """

    def __init__(self, backbone: Wired, head: Wired, num_classes: int):
        self.backbone, self.head, self.num_classes = backbone, head, num_classes
        self.recipe = recipe_of(head.part)
        if self.recipe is None:
            raise ConfigError(
                f"head: there are no published settings of {head.name} to fill in; assemble() knows "
                f"{', '.join(RECIPES)}; write the model config of another one in full, with the type of its detector"
            )
        self.two_stage = self.recipe.two_stage
        self.masks = self.two_stage and head.arguments.get("mask_head") is not None

    def config(
        self,
        necks: Sequence[Wired],
        *,
        rpn_head: Any = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The whole model config; the arguments are put over the published settings."""
        backbone = ask(self.backbone)
        levels, configs = backbone.gives, []
        for neck in necks:
            if levels.paired:
                raise ConfigError(
                    f"{levels.part} -> {neck.name}: {levels.part} gives a pair of maps per level, {neck.name} takes "
                    f"one; put {levels.part} last"
                )
            neck = neck.with_facts(self._neck_facts(neck, levels, first=not configs))
            levels = ask(neck, levels).gives
            configs.append(neck.config())
        self._check_levels(levels)
        if not self.two_stage and rpn_head is not None:
            raise ConfigError(
                f"rpn_head: {self.head.name} is the head of a one-stage detector, which has none; leave it out"
            )
        heads = self._regions(levels, rpn_head or {}) if self.two_stage else {"bbox_head": self._dense_head(levels)}
        other_rpn = self.two_stage and heads["rpn_head"]["type"] != "mmdet.RPNHead"
        unchecked = ("rpn", "rpn_proposal") if other_rpn else ()
        detector = "MaskRCNN" if self.masks and self.recipe.detector == "FasterRCNN" else self.recipe.detector
        return {
            "type": f"mmdet.{detector}",
            "data_preprocessor": plain(merge(self._images(backbone), data_preprocessor or {})),
            "backbone": self.backbone.config(),
            **({"neck": configs[0] if len(configs) == 1 else configs} if configs else {}),
            **heads,
            "train_cfg": self._settings("train", train_cfg, unchecked),
            "test_cfg": self._settings("test", test_cfg, unchecked),
        }

    def _neck_facts(self, neck: Wired, source: Pyramid, *, first: bool) -> dict[str, Any]:
        extra = self.recipe.add_extra_convs
        levels_beyond = {"extra_convs": bool(extra)} if neck.takes("extra_convs") else {"add_extra_convs": extra}
        facts = {
            "in_channels": list(source.channels),
            "in_strides": list(source.strides),
            "out_channels": 256,
            "strides": list(doubled((self.recipe.finest_stride,), NUM_LEVELS - 1)),
            "num_outs": NUM_LEVELS,
            "num_levels": len(source.channels),
            **levels_beyond,
            "relu_before_extra_convs": self.recipe.relu_before_extra_convs,
            **(PLAIN_NECKS.get(neck.name, {}) if self.two_stage else {}),
        }
        if neck.levels == "equal":
            channels = source.common_channels(neck.name)
            facts.update(in_channels=channels, out_channels=channels)
        if neck.levels == "last":
            facts.update(in_channels=source.channels[-1])
        if first and neck.takes("start_level") and "start_level" not in neck.arguments:
            facts["start_level"] = self._start_level(source)
        return facts

    def _start_level(self, source: Pyramid) -> int:
        finest = self.recipe.finest_stride
        if finest not in source.strides:
            raise ConfigError(
                f"{source.part} -> {self.head.name}: {source.part} gives maps of strides {source.strides}, the pyramid "
                f"of {self.head.name} begins at stride {finest}; choose out_indices of {source.part} that include it, "
                "or set start_level of the neck to the first map to be used"
            )
        return source.strides.index(finest)

    def _check_levels(self, levels: Pyramid) -> None:
        names = f"{levels.part} -> {self.head.name}"
        paired = getattr(self.head.part, "pairs", False)
        if levels.paired and not paired:
            fits = "SEPC with with_lc_convs=False" if self.two_stage else f"SEPC{self.head.name}"
            raise ConfigError(
                f"{names}: {levels.part} gives a pair of maps per level, {self.head.name} takes one; what fits is "
                f"{fits}"
            )
        if paired and not levels.paired:
            raise ConfigError(
                f"{names}: {self.head.name} takes a pair of maps per level, which only SEPC with with_lc_convs=True "
                f"gives; what fits {levels.part} is {self.head.name.removeprefix('SEPC')}"
            )
        if self.two_stage and len(levels.channels) < 2:
            raise ConfigError(
                f"{names}: {levels.part} gives one level (stride {levels.strides[0]}), too few for {self.head.name}, "
                f"which leaves the last to the proposals; put a neck before it that makes {NUM_LEVELS}, such as FPN"
            )

    def _dense_head(self, levels: Pyramid) -> dict[str, Any]:
        head = merge_part(self.recipe.head, {"type": self.head.part, **self.head.arguments}, "head")
        strides = list(levels.strides)
        if "anchor_generator" in head.arguments:
            head.arguments["anchor_generator"] = {"strides": strides, **head.arguments["anchor_generator"]}
        if head.takes("regress_ranges"):
            ranges = head.arguments.get("regress_ranges", head.parameters["regress_ranges"].default)
            if len(ranges) != len(strides):
                raise ConfigError(
                    f"{levels.part} -> {head.name}: {levels.part} gives {len(strides)} levels, {head.name} has "
                    f"{len(ranges)} regress_ranges; give one per level, or make {len(ranges)} levels"
                )
        channels = levels.common_channels(self.head.name)
        facts = {"num_classes": self.num_classes, "in_channels": channels, "strides": strides}
        return head.with_facts(facts).config()

    def _regions(self, levels: Pyramid, rpn_given: Any) -> dict[str, Any]:
        """Proposals and region head."""
        self._check_stages()
        given, settings = self.head.arguments, self.recipe.head
        tasks = TASKS if self.masks else TASKS[:1]
        nested = {f"{task}_{part}" for task in TASKS for part in ("head", "roi_extractor")}
        arguments = {key: value for key, value in settings.items() if key not in nested}
        arguments |= {key: value for key, value in given.items() if key not in nested}
        for task in tasks:
            arguments |= self._region_task(task, {**settings, **MASKS}, levels)
        rpn = merge_part(self.recipe.rpn_head, rpn_given, "rpn_head")
        if "anchor_generator" in rpn.arguments:
            rpn.arguments["anchor_generator"] = {"strides": list(levels.strides), **rpn.arguments["anchor_generator"]}
        channels = levels.common_channels(self.head.name)
        facts = {"in_channels": channels, "feat_channels": channels}
        return {"rpn_head": rpn.with_facts(facts).config(), "roi_head": Wired(self.head.part, arguments).config()}

    def _region_task(self, task: str, settings: Mapping[str, Any], levels: Pyramid) -> dict[str, Any]:
        """Extractor and head for boxes or for masks; the last level serves the proposals alone."""
        channels = levels.common_channels(self.head.name)
        given = self.head.arguments.get(f"{task}_roi_extractor", {})
        extractor = merge_part(settings[f"{task}_roi_extractor"], given, f"{task}_roi_extractor")
        stages = listed(settings[f"{task}_head"])
        heads = listed(self.head.arguments.get(f"{task}_head", {}))
        if len(stages) == 1:
            stages = stages * len(heads)
        elif len(heads) == 1:
            heads = heads * len(stages)
        made = [merge_part(stage, one, f"{task}_head") for stage, one in zip(stages, heads, strict=True)]
        if getattr(made[0].part, "all_levels", False) and isinstance(given, Mapping) and "type" not in given:
            extractor = merge_part(extractor.arguments, {"type": "AllLevelRoIExtractor"}, f"{task}_roi_extractor")
        facts = {
            "num_classes": self.num_classes,
            "in_channels": channels,
            "num_levels": len(levels.strides) - 1,
            "roi_feat_size": extractor.arguments["roi_layer"]["output_size"],
        }
        for head in made:
            check_classes(head, self.num_classes)
            self._check_extractor(extractor, head)
        configs = [head.with_facts(facts).config() for head in made]
        maps = {"out_channels": channels, "featmap_strides": list(levels.strides[:-1])}
        return {
            f"{task}_roi_extractor": extractor.with_facts(maps).config(),
            f"{task}_head": configs if len(configs) > 1 else configs[0],
        }

    def _check_stages(self) -> None:
        stages = self.recipe.head.get("num_stages", 1)
        for key in ("num_stages", "stage_loss_weights", "bbox_head", "mask_head"):
            value = self.head.arguments.get(key)
            number = value if key == "num_stages" else len(value) if isinstance(value, (list, tuple)) else None
            if number not in (None, stages):
                raise ConfigError(
                    f"head: the number of stages in {key} is {number}, in the published settings of {self.head.name} "
                    f"{stages}; make it {stages}, or write the model config in full, with the type of its detector"
                )

    def _check_extractor(self, extractor: Wired, head: Wired) -> None:
        gives, takes = (getattr(part, "all_levels", False) for part in (extractor.part, head.part))
        if gives != takes:
            fits = "AllLevelRoIExtractor" if takes else "SingleRoIExtractor"
            raise ConfigError(
                f"{extractor.name} -> {head.name}: {head.name} takes a region from "
                f"{'all levels' if takes else 'one level'}, "
                f"{extractor.name} gives it from {'all' if gives else 'one'}; what fits is {fits}"
            )

    def _settings(self, kind: str, given: Mapping[str, Any] | None, unchecked: Sequence[str]) -> Any:
        """What is given, put over the published settings.

        Keys are checked where the code that reads them is known: not with a head of another package that is derived
        from one with published settings, and not in the parts ``unchecked``.
        """
        settings = getattr(self.recipe, f"{kind}_cfg")
        if self.masks:
            masks = self.recipe.masks_train_cfg if kind == "train" else MASKS_TEST
            settings = merge(settings, {"rcnn": masks})
        if not given:
            return plain(settings)
        part = self.head.part
        if part.__name__ in RECIPES or part.__module__.startswith("densekit."):
            checked = {key: value for key, value in given.items() if key not in unchecked}
            check_settings(settings or {}, checked, f"{kind}_cfg", self.head.name)
        return plain(merge(settings, given))

    def _images(self, backbone: Said) -> dict[str, Any]:
        own = {key: value for key, value in (("mean", backbone.mean), ("std", backbone.std)) if value is not None}
        return {**PREPROCESSOR, **own, **({"pad_mask": True} if self.masks else {})}
