"""What was found in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from densekit.errors import ConfigError
from densekit.inference.detection.exchange import coco_results, to_supervision
from densekit.inference.images import ImageResult
from densekit.io.images import LoadedImage
from densekit.ops import run_lengths
from densekit.structures.detections import Detections
from densekit.visualization.detection.drawing import draw_detections

if TYPE_CHECKING:
    import supervision


_SHOWN = 8


@dataclass(frozen=True, eq=False, repr=False)
class DetectionResult(Detections, ImageResult):
    """Objects found in one image, the surest first; masks are run lengths, None from a network without masks.

    Attributes:
        notes: What the image's file was and how it was brought to 8-bit RGB.
        image: The image, to draw on; None without it.
        seconds: Seconds per stage.
        threshold: Lowest score that is drawn.
    """

    notes: tuple[str, ...] = ()
    image: LoadedImage | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    threshold: float = 0.0

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {name}" for name, n in self.counts().items() if n) or "nothing found"
        width = max((len(self.names[label]) for label in self.labels[:_SHOWN]), default=0)
        lines = [f"{type(self).__name__}: {counts}"]
        if len(self):
            lines.append(f"  {'':<{width}} score " + " ".join(f"{corner:>8}" for corner in ("x1", "y1", "x2", "y2")))
        for label, score, box in zip(self.labels[:_SHOWN], self.scores, self.boxes, strict=False):
            corners = " ".join(f"{v:8.1f}" for v in box)
            lines.append(f"  {self.names[label]:<{width}} {score:5.2f} {corners}")
        return "\n".join(lines + [f"  and {len(self) - _SHOWN} less sure ones"] * (len(self) > _SHOWN))

    def draw_on(self, image: Image.Image, *, size: tuple[int, int] | None = None) -> Image.Image:
        """Draw boxes, masks, names and scores on the image they were found in.

        Args:
            image: The upright image in RGB.
            size: Width and height of the result, at most; None: as the image is.
        """
        shown = self.above(self.threshold)
        return draw_detections(image, shown.boxes, shown.labels, shown.scores, shown.masks, self.names, size=size)

    def to_dict(self) -> dict[str, Any]:
        """Under ``detections`` those of :meth:`to_list`."""
        return {"detections": self.to_list()}

    def to_list(self) -> list[dict[str, Any]]:
        """Plain values for JSON: class, label, score, box (corners), and mask (COCO's run lengths) with its area."""
        rows = [
            {
                "class": self.names[label],
                "label": int(label),
                "score": float(str(score)),  # as few digits as tell it from its neighbours in float32
                "box": [round(float(v), 3) for v in box],
            }
            for box, label, score in zip(self.boxes, self.labels, self.scores, strict=True)
        ]
        if self.masks is not None:
            for row, mask, area in zip(rows, self.masks, run_lengths.areas(self.masks), strict=True):
                row |= {"mask": mask, "mask_area": int(area)}
        return rows

    def to_coco(self, image_id: int | str = 0, ids: Sequence[int] | None = None) -> list[dict[str, Any]]:
        """COCO's list of results, see :func:`densekit.inference.detection.exchange.coco_results`.

        Args:
            image_id: The image's number in the data set.
            ids: Category id of each label; None: from 1 in the order of the labels.

        Raises:
            ConfigError: if there is not a number for each label.
        """
        if ids is not None and (np.ndim(ids) != 1 or np.asarray(ids).dtype.kind not in "iu"):
            raise ConfigError(
                f"ids={ids!r}: expected a list of whole numbers, one for each of {len(self.names)} labels"
            )
        if ids is not None and len(ids) != len(self.names):
            raise ConfigError(f"ids: {len(ids)} numbers for {len(self.names)} labels; give one for each")
        return list(coco_results(self.to_list(), image_id, ids))

    def to_supervision(self) -> supervision.Detections:
        """The ``Detections`` of roboflow's supervision, for its trackers, annotators and zones.

        Raises:
            ConfigError: if supervision is not installed.
        """
        masks = None if self.masks is None else self.bitmaps()
        return to_supervision(self.boxes, self.scores, self.labels, self.names, masks)
