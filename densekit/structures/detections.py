"""Objects in images, as columns: what is annotated, and what a detector finds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import numpy as np

from densekit.errors import ConfigError
from densekit.ops import run_lengths
from densekit.structures.boxes import to_xyxy
from densekit.structures.packed import present, take

_COLUMNS = ("image_index", "labels", "xywh", "scores", "crowd", "ignore", "areas", "masks", "origin")


@dataclass(frozen=True, eq=False)
class Images:
    """The images that objects are in.

    Attributes:
        ids: Their numbers or names in a data set.
        files: Paths relative to its folder.
        sizes: Width and height in pixels, upright, int64 ``(images, 2)``; 0 where they are not known.
    """

    ids: Sequence[Any] = ()
    files: Sequence[str] = ()
    sizes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, places: np.ndarray) -> Images:
        """Return the images at these places."""
        return Images(take(self.ids, places), take(self.files, places), self.sizes[places])


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """Objects in one image or many, a row for each in every column; annotated ones, or found ones with scores.

    An object is known by its row, never by the id it has in a file: many evaluators take an object with id 0 for "no
    object" and count what found it as wrong.

    Attributes:
        image_index: Place of each object's image in ``images``, int64 ``(N,)``.
        labels: Place of its class in ``names``, int64 ``(N,)``.
        xywh: Boxes ``x, y, width, height`` in pixels, float64 ``(N, 4)``; see :mod:`densekit.structures.boxes`.
        scores: Confidence, 0 to 1, ``(N,)``; None for annotated objects.
        crowd: Whether it stands for a group (COCO's ``iscrowd``): neither to be found nor wrong to be found; ``(N,)``.
        ignore: Whether it is too difficult to be counted (VOC's ``difficult``), ``(N,)``.
        areas: Pixels of the outline, or of the box where there is none, float64 ``(N,)``; NaN where not yet known.
        masks: Outline of each object, COCO's polygons or run lengths, or None; None as a whole if nobody asked.
        origin: Where each came from, as messages name it: annotation id, line number, file.
        images: The images.
        names: Class names by label.
        category_ids: Numbers of the classes in a COCO file, by label.
        where: What messages call all of it: a file.

    Raises:
        ValueError: if columns are of different lengths.
    """

    image_index: np.ndarray
    labels: np.ndarray
    xywh: np.ndarray
    scores: np.ndarray | None = None
    crowd: np.ndarray | None = None
    ignore: np.ndarray | None = None
    areas: np.ndarray | None = None
    masks: Sequence[Any] | None = None
    origin: Sequence[Any] | None = None
    images: Images = field(default_factory=Images)
    names: tuple[str, ...] = ()
    category_ids: tuple = ()
    where: str = "annotations"

    def __post_init__(self) -> None:
        count = len(self.image_index)
        for name, kind, missing in (
            ("image_index", np.int64, None),
            ("labels", np.int64, None),
            ("xywh", np.float64, None),
            ("crowd", bool, False),
            ("ignore", bool, False),
            ("areas", np.float64, np.nan),
        ):
            given = getattr(self, name)
            values = np.full(count, missing, dtype=kind) if given is None else np.asarray(given, dtype=kind)
            object.__setattr__(self, name, values.reshape(-1, 4) if name == "xywh" else values)
        for name in _COLUMNS:
            column = getattr(self, name)
            if column is not None and len(column) != count:
                raise ValueError(f"{name} has {len(column)} rows, there are {count} objects: give one for each")

    def __len__(self) -> int:
        return len(self.image_index)

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"{kind}({len(self):,} objects of {len(self.names)} classes in {len(self.images):,} images)"

    # --- columns ------------------------------------------------------------------------------------------------------
    @property
    def xyxy(self) -> np.ndarray:
        """Corners ``x1, y1, x2, y2`` in pixels, float64 ``(N, 4)``."""
        return to_xyxy(self.xywh)

    boxes = xyxy
    """The same, by the name under which other libraries have them."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the image, where there is only one."""
        width, height = self.images.sizes.reshape(2).tolist()
        return width, height

    @property
    def outlined(self) -> np.ndarray:
        """Which objects have an outline, bool ``(N,)``."""
        return np.zeros(len(self), dtype=bool) if self.masks is None else present(self.masks)

    @property
    def has_masks(self) -> bool:
        """Whether there are objects, and every one has an outline."""
        return len(self) > 0 and bool(self.outlined.all())

    def bitmaps(self) -> np.ndarray:
        """Return the masks of one image's objects, which are run lengths, as bool ``(N, H, W)``."""
        width, height = self.size
        shapes = [run_lengths.decode(mask) for mask in self.masks or ()]
        return np.stack(shapes) if shapes else np.zeros((0, height, width), dtype=bool)

    # --- rows ---------------------------------------------------------------------------------------------------------
    def take(self, chosen: np.ndarray) -> Detections:
        """Return the objects where ``chosen`` (bool ``(N,)``) holds, or those at these places."""
        chosen = np.asarray(chosen)
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        columns = {name: getattr(self, name) for name in _COLUMNS}
        return replace(self, **{name: None if c is None else take(c, places) for name, c in columns.items()})

    @classmethod
    def join(cls, parts: Iterable[Detections], **shared: Any) -> Detections:
        """Put the objects of several tables about the same images together.

        A column that a part does not have is left out.

        Args:
            parts: The tables; images, names and the like are those of the first.
            shared: Replace these.
        """
        parts = list(parts)
        if not parts:
            return cls(*np.zeros((2, 0), dtype=np.int64), np.zeros((0, 4)), np.zeros(0), **shared)
        columns: dict[str, Any] = {}
        for name in _COLUMNS:
            given = [getattr(part, name) for part in parts]
            if any(column is None for column in given):
                columns[name] = None
            elif all(isinstance(column, np.ndarray) for column in given):
                columns[name] = np.concatenate(given)
            else:
                columns[name] = [value for column in given for value in column]
        return replace(parts[0], **columns, **shared)

    def by_image(self) -> Detections:
        """Return the objects of one image together, in the order of the images; within one as they were.

        The order within an image decides between equal overlaps, in COCO's rules as well.
        """
        if (np.diff(self.image_index) >= 0).all():
            return self
        return self.take(np.argsort(self.image_index, kind="stable"))

    def bounds(self) -> np.ndarray:
        """Return where each image's objects begin and the last one's end, int64 ``(images + 1,)``: those of
        :meth:`by_image` are rows ``bounds[i]`` to ``bounds[i + 1]``."""
        return np.searchsorted(self.image_index, np.arange(len(self.images) + 1))

    def above(self, threshold: float) -> Detections:
        """Return those with a score of ``threshold`` or more.

        Raises:
            ConfigError: if it is no score from 0 to 1, or the objects have none, as annotated ones.
        """
        if self.scores is None:
            raise ConfigError("these objects are annotated and have no scores; leave the threshold out")
        check_threshold(threshold)
        return self.take(is_found(self.scores, threshold))

    # --- numbers and words --------------------------------------------------------------------------------------------
    def to_find(self) -> np.ndarray:
        """Return how many annotated objects of each class there are to be found ``(classes,)``; crowds are not."""
        return np.bincount(self.labels[~self.crowd], minlength=len(self.names))

    def counts(self) -> dict[str, int]:
        """Return the number of objects by class name, 0 where there is none."""
        return dict(zip(self.names, np.bincount(self.labels, minlength=len(self.names)).tolist(), strict=True))

    def corners(self, row: int) -> tuple[float, float, float, float]:
        """Return ``(x1, y1, x2, y2)`` of one object as plain numbers."""
        x, y, w, h = (float(v) + 0.0 for v in self.xywh[row])  # + 0.0: never "-0"
        return (x, y, x + w, y + h)

    def words(self, row: int, names: Sequence[str]) -> str:
        """Return what one object is, as messages say it: ``"cat at 5, 7, 20 x 30 px"``."""
        x, y, w, h = (float(v) + 0.0 for v in self.xywh[row])
        return f"{names[self.labels[row]]} at {x:.4g}, {y:.4g}, {w:.4g} x {h:.4g} px"


def check_threshold(threshold: Any) -> float:
    """Return a score threshold as a number.

    Raises:
        ConfigError: if it is not from 0 to 1.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= threshold <= 1:
        raise ConfigError(f"threshold={threshold!r}: expected a score from 0 to 1, e.g. 0.3")
    return float(threshold)


def is_found(scores: Any, threshold: float) -> Any:
    """Whether scores reach a threshold: in float32, so that one read back from a file is judged as it was before."""
    return np.asarray(scores, dtype=np.float32) >= np.float32(threshold)
