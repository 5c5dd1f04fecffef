"""What was found in one picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from densekit.inference.images import ImageResult
from densekit.io.images import LoadedImage
from densekit.visualization.detection.drawing import draw_detections


@dataclass(frozen=True)
class Detections(ImageResult):
    """Objects found in one image, the surest first.

    Attributes:
        boxes: Corners ``[x1, y1, x2, y2]``, float32 ``(N, 4)``, in pixels of the upright picture: (0, 0) is the outer
            corner of its first pixel.
        labels: Places in ``names``, int64 ``(N,)``.
        scores: 0 to 1, float32 ``(N,)``.
        masks: bool ``(N, H, W)``, None from a network without masks.
        names: Class names.
        size: Width and height of the upright picture in pixels.
        notes: What the image's file was and how it was brought to 8-bit RGB.
        image: The image, to draw on; None without it.
        seconds: Seconds per stage.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    masks: np.ndarray | None
    names: tuple[str, ...]
    size: tuple[int, int]
    notes: tuple[str, ...] = ()
    image: LoadedImage | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.boxes)

    def above(self, threshold: float) -> Detections:
        """Those with a score of ``threshold`` or more."""
        keep = is_found(self.scores, threshold)
        masks = None if self.masks is None else self.masks[keep]
        columns = {name: getattr(self, name)[keep] for name in ("boxes", "labels", "scores")}
        return replace(self, **columns, masks=masks)

    def counts(self) -> dict[str, int]:
        """Number of objects by class name, 0 where there is none."""
        return dict(zip(self.names, np.bincount(self.labels, minlength=len(self.names)).tolist(), strict=True))

    def draw_on(self, image: Image.Image, *, size: tuple[int, int] | None = None) -> Image.Image:
        """Draw boxes, masks, names and scores on the picture they were found in.

        Args:
            image: The upright picture in RGB.
            size: Width and height of the result, at most; None: as the picture is.
        """
        return draw_detections(image, self.boxes, self.labels, self.scores, self.masks, self.names, size=size)

    def to_dict(self) -> dict[str, Any]:
        """Size, and under ``detections`` those of :meth:`to_list`."""
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
            for row, mask in zip(rows, self.masks, strict=True):
                row |= {"mask": run_lengths(mask), "mask_area": int(mask.sum())}
        return rows


def is_found(scores: Any, threshold: float) -> Any:
    """Whether scores reach a threshold: in float32, so that one read back from a file is judged as it was before."""
    return np.asarray(scores, dtype=np.float32) >= np.float32(threshold)


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run lengths of a mask ``(H, W)`` of bool, as JSON can hold them."""
    from pycocotools import mask as coco

    encoded = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(n) for n in encoded["size"]], "counts": encoded["counts"].decode("ascii")}
