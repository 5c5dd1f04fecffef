"""What was found in one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from PIL import Image

from densekit.inference.detection.exchange import coco_results, to_supervision
from densekit.inference.images import ImageResult
from densekit.io.images import LoadedImage
from densekit.ops import run_lengths
from densekit.structures.detections import Detections
from densekit.visualization.detection.drawing import draw_detections

if TYPE_CHECKING:
    import supervision


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
        return (
            f"{type(self).__name__}({', '.join(f'{n} {name}' for name, n in self.counts().items() if n) or 'nothing'})"
        )

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
        """
        return list(coco_results(self.to_list(), image_id, ids))

    def to_supervision(self) -> supervision.Detections:
        """The ``Detections`` of roboflow's supervision, for its trackers, annotators and zones.

        Raises:
            ConfigError: if supervision is not installed.
        """
        masks = None if self.masks is None else self.bitmaps()
        return to_supervision(self.boxes, self.scores, self.labels, self.names, masks)
