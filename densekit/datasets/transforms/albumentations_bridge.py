"""Albumentations' transforms in OpenMMLab's pipelines: boxes, masks, labels and classes of pixels follow the image."""

from __future__ import annotations

import inspect
import os
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import torch

from densekit.config_tree import rebuilt
from densekit.errors import ConfigError, DataError, close_names
from densekit.registry import TRANSFORMS

Results = dict[str, Any]

_NESTED = ("transforms", "first", "second")  # arguments that hold transforms
_PER_OBJECT = ("gt_bboxes_labels", "gt_ignore_flags", "gt_instances_ids")
_MOVED = 0.5  # pixels
_MASK = "mask_{}"
_MIRRORING = (cv2.BORDER_REFLECT, cv2.BORDER_REFLECT_101, cv2.BORDER_WRAP)


@TRANSFORMS.register_module()
class Albumentations:
    """Applies transforms of Albumentations to what an MMDetection pipeline carries.

    Images are handed over in RGB, as Albumentations takes them, and come back in the order they had. An object that
    leaves the image, or of which too little stays, goes with its box, label, ignore flag and mask. Boxes never reach
    over the border. Where no transform moves anything (colour, blur, noise) boxes and masks stay exactly as they were.
    Where one can, polygons become bitmaps. Pixels that show what lies beyond the border have no class (255).

    Transforms that show what lies beyond the border fill it. Albumentations itself mirrors the image in some of them
    (``Rotate``, ``PadIfNeeded``), which shows objects a second time, and not always with a box; that comes back with
    ``border_mode=4``.

    All randomness comes from numpy's global generator, one draw a call: the same seed gives the same image, whatever
    was drawn before.

    Args:
        transforms: Config dicts with Albumentations' own names and arguments,
            ``[dict(type="RandomBrightnessContrast", p=0.2), dict(type="OneOf", transforms=[...])]``.
        min_visibility: The share of its area that a box keeps, at least, in every single transform; else the object is
            dropped. What a transform such as ``CoarseDropout`` covers counts as lost.
        min_size: Width and height in pixels that a box has at least, else the object is dropped.
        boxes_from_masks: Give each object that was moved the box around its mask. A box that is rotated with the
            image is wider than its object. Needs masks.
        bgr: The image's channels are blue, green, red, as MMDetection loads them.

    Raises:
        ConfigError: for a transform or argument that Albumentations does not know, or that does not move boxes.
    """

    def __init__(
        self,
        transforms: Sequence[Mapping[str, Any]],
        *,
        min_visibility: float = 0.1,
        min_size: float = 1.0,
        boxes_from_masks: bool = False,
        bgr: bool = True,
    ) -> None:
        if not 0 <= min_visibility <= 1:
            raise ConfigError(f"Albumentations: min_visibility={min_visibility} is not a share; give 0 to 1")
        if not min_size >= 1:
            raise ConfigError(f"Albumentations: min_size={min_size} is too small; give 1 pixel or more")
        self.transforms = list(transforms)
        self.min_visibility, self.min_size = min_visibility, min_size
        self.boxes_from_masks, self.bgr = boxes_from_masks, bgr
        library = albumentations()
        parts = _build_all(self.transforms, "transforms")
        self._moves = any(isinstance(part, library.DualTransform) for part in _leaves(parts))
        self._mirrors = any(getattr(part, "border_mode", None) in _MIRRORING for part in _leaves(parts))
        params = library.BboxParams(
            format="pascal_voc",
            label_fields=["row"],
            min_visibility=min_visibility,
            min_width=min_size,
            min_height=min_size,
        )
        self._known_masks = 0
        self._compose = library.Compose(parts, bbox_params=params if self._moves else None)

    def __call__(self, results: Results) -> Results:
        """Change ``img``, ``img_shape`` and, where objects move, everything ``gt_...`` that belongs to them.

        Args:
            results: With ``img``, uint8 ``(H, W, 3)``; and, if there are objects, ``gt_bboxes`` (HorizontalBoxes, or
                ``x1, y1, x2, y2`` as tensor or array), ``gt_bboxes_labels``, ``gt_ignore_flags``, ``gt_masks``; with
                a class for each pixel ``gt_seg_map``, uint8 ``(H, W)``.

        Raises:
            ConfigError: if the image is not uint8 with three channels, before or after.
            DataError: if a transform cannot be applied to this image.
        """
        image = _checked(results["img"], "takes", "leave to_float32 off in LoadImageFromFile")
        given: Results = {"image": self._swap(image)}
        if self._moves:
            if results.get("gt_seg_map") is not None:
                given["mask"] = _turned(results["gt_seg_map"], 1)
            rows, boxes = self._boxes(results)
            given |= {"bboxes": boxes, "row": rows.tolist()}
            masks = _bitmaps(results, rows)
            if masks is not None:
                given |= self._single(masks)
        out = self._apply(given, results)
        image = _checked(out["image"], "gives", "leave out what changes it: the model itself normalises")
        results["img"], results["img_shape"] = self._swap(image), image.shape[:2]
        if self._moves:
            self._put_back(results, out, rows, boxes, masks)
            if "mask" in given:
                results["gt_seg_map"] = _turned(out["mask"], -1)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(transforms={self.transforms}, min_visibility={self.min_visibility}, "
            f"min_size={self.min_size}, boxes_from_masks={self.boxes_from_masks}, bgr={self.bgr})"
        )

    def _swap(self, image: np.ndarray) -> np.ndarray:
        """BGR to RGB and back."""
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB) if self.bgr else np.ascontiguousarray(image)

    def _boxes(self, results: Results) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the boxes that lie in the image, and those boxes cut off at its border."""
        height, width = results["img"].shape[:2]
        boxes = _corners(results.get("gt_bboxes"))
        clipped = np.clip(boxes, 0, [width, height, width, height])
        with np.errstate(invalid="ignore"):
            rows = np.flatnonzero((clipped[:, 2:] - clipped[:, :2] > 1e-3).all(axis=1))  # NaN is not
        return rows, clipped[rows].astype(np.float32)

    def _single(self, masks: np.ndarray) -> Results:
        """Return each mask under a name of its own.

        All under the name ``masks`` would be faster to write, but Albumentations 1.4 changes those like images, with
        the interpolation and the fill of the image.
        """
        new = [_MASK.format(i) for i in range(self._known_masks, len(masks))]
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # it says of every OneOf without a transform that moves that it moves no boxes
            self._compose.add_targets(dict.fromkeys(new, "mask"))
        self._known_masks += len(new)
        return {_MASK.format(i): mask for i, mask in enumerate(masks)}

    def _apply(self, given: Results, results: Results) -> Results:
        seeds = np.random.randint(0, 2**32, size=2, dtype=np.uint32)
        self._compose.set_random_state(np.random.default_rng(int(seeds[0])), random.Random(int(seeds[1])))
        try:
            return self._compose(**given)
        except Exception as error:  # its own errors (CropSizeError) have no common base but this
            height, width = results["img"].shape[:2]
            raise DataError(
                f"{results.get('img_path', 'image')}: Albumentations cannot change this image of {width} x {height} "
                f"pixels: {_one_line(error)}; change the transforms, or put them behind a Resize"
            ) from error

    def _put_back(
        self, results: Results, out: Results, rows: np.ndarray, before: np.ndarray, masks: np.ndarray | None
    ) -> None:
        """Take over boxes and masks, and keep of labels and flags what belongs to them."""
        kept = np.asarray(out["row"], dtype=np.int64)  # numbers of objects in the pipeline
        places = np.searchsorted(rows, kept)  # their places among what was given
        boxes = np.asarray(out["bboxes"], dtype=np.float32).reshape(-1, 4)
        if masks is not None:
            moved_masks = np.zeros((len(kept), *results["img_shape"]), dtype=np.uint8)
            for i, place in enumerate(places):
                moved_masks[i] = out[_MASK.format(place)]
            # An object whose box reaches into the image with a corner that the object itself does not fill is gone.
            gone = ~moved_masks.any(axis=(1, 2)) & masks[places].any(axis=(1, 2))
            kept, places, boxes, moved_masks = kept[~gone], places[~gone], boxes[~gone], moved_masks[~gone]
            if self._mirrors:
                _cut_off(moved_masks, boxes)
            if self.boxes_from_masks:
                boxes = _around(moved_masks, boxes, before[places])
            results["gt_masks"] = _cropped_masks(moved_masks, results["img_shape"])
        if results.get("gt_bboxes") is not None:
            results["gt_bboxes"] = _like(results["gt_bboxes"], boxes)
        for key in _PER_OBJECT:
            if results.get(key) is not None:
                results[key] = results[key][kept]


@lru_cache(maxsize=1)
def albumentations() -> ModuleType:
    """Import Albumentations, without the question to PyPI for a newer version that it asks at every import."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _build_all(configs: Any, place: str) -> list[Any]:
    if not isinstance(configs, (list, tuple)):
        raise ConfigError(f"Albumentations: {place} is a list of dict(type=...), not {configs!r}")
    return [_build(config, f"{place}[{i}]") for i, config in enumerate(configs)]


def _build(config: Any, place: str) -> Any:
    """Build one transform, with those it holds; ``place`` is where it stands in the config."""
    if not isinstance(config, Mapping) or "type" not in config:
        raise ConfigError(f"Albumentations: {place} needs a type: expected dict(type=...), not {config!r}")
    kind = _class(config["type"], place)
    arguments = {key: value for key, value in config.items() if key != "type"}
    known = inspect.signature(kind).parameters
    for key, value in arguments.items():
        if key not in known:
            raise ConfigError(
                f"Albumentations: {place}: {kind.__name__} takes no argument {key!r}{close_names(key, known)}"
            )
        if key in _NESTED:
            nested = f"{place}.{key}"
            arguments[key] = _build_all(value, nested) if key == "transforms" else _build(value, nested)
        else:
            # some transforms take a colour as a tuple only, and JSON knows only lists
            arguments[key] = rebuilt(value, lambda v: tuple(v) if isinstance(v, list) else v)
    if "border_mode" in known:
        arguments.setdefault("border_mode", cv2.BORDER_CONSTANT)
    try:
        part = kind(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"Albumentations: {place}: {kind.__name__}: {_one_line(error)}") from error
    needed = set(getattr(part, "targets_as_params", ())) - {"image", "bboxes"}
    if needed:
        raise ConfigError(
            f"Albumentations: {place}: {kind.__name__} needs {', '.join(sorted(needed))}, which a detection pipeline "
            f"does not carry"
        )
    targets = getattr(kind, "_targets", None)
    names = {t.name for t in (targets if isinstance(targets, tuple) else (targets,)) if t is not None}
    missing = {"IMAGE"} if not isinstance(part, albumentations().DualTransform) else {"IMAGE", "MASK", "BBOXES"}
    if names and missing - names:
        raise ConfigError(f"Albumentations: {place}: {kind.__name__} does not change images together with their boxes")
    return part


def _class(kind: Any, place: str) -> type:
    library = albumentations()
    bases = (library.BasicTransform, library.BaseCompose)
    found = getattr(library, kind, None) if isinstance(kind, str) else kind
    if not (isinstance(found, type) and issubclass(found, bases)):
        known = [name for name, part in vars(library).items() if isinstance(part, type) and issubclass(part, bases)]
        raise ConfigError(
            f"Albumentations: {place}: {kind!r} is not a transform of albumentations {library.__version__}"
            f"{close_names(str(kind), known)}"
        )
    return found


def _leaves(parts: Sequence[Any]) -> Iterator[Any]:
    """All transforms, also those inside others."""
    for part in parts:
        if isinstance(part, albumentations().BaseCompose):
            yield from _leaves(part.transforms)
        else:
            yield part


def _turned(labels: np.ndarray, step: int) -> np.ndarray:
    """Return labels with all values moved on; Albumentations fills with 0, which then stands for "no class" (255)."""
    return np.ascontiguousarray(labels, dtype=np.uint8) + np.uint8(step % 256)


def _one_line(error: Exception) -> str:
    errors = getattr(error, "errors", None)
    if callable(errors):  # pydantic: one sentence for each argument
        return "; ".join(f"{'.'.join(map(str, e['loc'])) or 'arguments'}: {e['msg']}" for e in errors())
    return " ".join(str(error).split())


def _checked(image: Any, verb: str, remedy: str) -> np.ndarray:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        kind = f"{image.dtype} {tuple(image.shape)}" if hasattr(image, "dtype") else type(image).__name__
        raise ConfigError(f"Albumentations {verb} an image that is uint8 (height, width, 3), not {kind}; {remedy}")
    return image


def _corners(boxes: Any) -> np.ndarray:
    """Return ``x1, y1, x2, y2`` of an MMDetection box object, a tensor or an array, float64 ``(N, 4)``."""
    if boxes is None:
        return np.zeros((0, 4))
    boxes = getattr(boxes, "tensor", boxes)
    boxes = boxes.numpy() if isinstance(boxes, torch.Tensor) else np.asarray(boxes)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ConfigError(
            f"Albumentations moves upright boxes (x1, y1, x2, y2), not an array of {boxes.shape}; rotated boxes need "
            f"transforms of their own"
        )
    return boxes.astype(np.float64)


def _like(given: Any, boxes: np.ndarray) -> Any:
    """Return boxes in the form they had."""
    if isinstance(given, np.ndarray):
        return boxes.astype(given.dtype)
    tensor = torch.from_numpy(boxes)
    return tensor.to(given.dtype) if isinstance(given, torch.Tensor) else type(given)(tensor)


def _bitmaps(results: Results, rows: np.ndarray) -> np.ndarray | None:
    """Return the masks of the rows, uint8 ``(N, H, W)``; None if the pipeline carries none."""
    masks = results.get("gt_masks")
    if masks is None:
        return None
    masks = masks[rows]
    if not hasattr(masks.masks, "dtype"):  # lists of polygons
        masks = masks.to_bitmap()
    return np.asarray(masks.masks, dtype=np.uint8).reshape(len(rows), *results["img"].shape[:2])


def _cropped_masks(masks: np.ndarray, shape: tuple[int, int]) -> Any:
    from densekit.datasets.shared.cropped_masks import CroppedMasks

    return CroppedMasks(masks, *shape)


def _cut_off(masks: np.ndarray, boxes: np.ndarray) -> None:
    """Clear each mask outside its box, where a mirrored border shows the object again."""
    for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
        inside = (slice(int(y1), int(np.ceil(y2))), slice(int(x1), int(np.ceil(x2))))
        kept = mask[inside].copy()
        mask[:] = 0
        mask[inside] = kept


def _around(masks: np.ndarray, boxes: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Return the boxes around masks, for the objects whose box is another than before."""
    boxes = boxes.copy()
    for i in np.flatnonzero((np.abs(boxes - before) > _MOVED).any(axis=1)):
        rows, columns = np.flatnonzero(masks[i].any(axis=1)), np.flatnonzero(masks[i].any(axis=0))
        if len(rows):
            boxes[i] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes
