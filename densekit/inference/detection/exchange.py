"""What was found in an image, in the forms that other libraries take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from densekit.errors import ConfigError

if TYPE_CHECKING:
    import supervision


def coco_results(
    found: Iterable[Mapping[str, Any]], image_id: int | str, ids: Sequence[int] | None = None
) -> Iterator[dict[str, Any]]:
    """Detections as COCO's list of results has them.

    Args:
        found: Plain values: ``box`` (corners), ``label``, ``score``; with a mask ``mask`` and ``mask_area``.
        image_id: The image's number in the data set.
        ids: Category id of each label; None: from 1 in the order of the labels.

    Yields:
        ``image_id``, ``category_id``, ``bbox`` (x, y, width, height), ``score``; with a mask ``segmentation`` (run
        lengths) and ``area``.
    """
    for row in found:
        x1, y1, x2, y2 = row["box"]
        result = {
            "image_id": image_id,
            "category_id": row["label"] + 1 if ids is None else ids[row["label"]],
            "bbox": [x1, y1, round(x2 - x1, 3), round(y2 - y1, 3)],
            "score": row["score"],
        }
        yield result | ({"segmentation": row["mask"], "area": row["mask_area"]} if "mask" in row else {})


def to_supervision(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, names: Sequence[str], masks: np.ndarray | None
) -> supervision.Detections:
    """Detections as roboflow's supervision has them, for its trackers, annotators and zones.

    Args:
        boxes: Corners ``(N, 4)``.
        scores: ``(N,)``.
        labels: ``(N,)``.
        names: Class names by label; given on as ``data["class_name"]``.
        masks: bool ``(N, H, W)``; None without.

    Raises:
        ConfigError: if supervision is not installed.
    """
    try:
        import supervision
    except ImportError as error:
        raise ConfigError("to_supervision() needs supervision: pip install 'densekit[supervision]'") from error
    return supervision.Detections(
        xyxy=np.asarray(boxes, dtype=np.float32),
        mask=masks,
        confidence=np.asarray(scores, dtype=np.float32),
        class_id=np.asarray(labels, dtype=int),
        data={"class_name": np.array([names[label] for label in labels], dtype=str)},
    )
