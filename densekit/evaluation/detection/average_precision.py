"""COCO's average precision, with the numbers of pycocotools."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from densekit.errors import ConfigError, DataError, close_names
from densekit.evaluation.detection.sources import DetectionSource, TruthSource, read_detections, read_truth
from densekit.ops import run_lengths
from densekit.structures.detections import Detections

IOU_TYPES = ("bbox", "segm")
MAX_DETS = 100
"""COCO's: so many detections of each class and image count, the best ones."""
SIZES = ("small", "medium", "large")
"""Objects of less than 32 x 32 pixels, up to 96 x 96, and more (by ``area``)."""


@dataclass(frozen=True)
class DetectionScores:
    """COCO's scores, each 0 to 1; NaN where there is no object to find, and so nothing to score.

    Attributes:
        AP: Average precision: mean over the classes that have objects and over the IoU thresholds 0.5, 0.55, ... 0.95.
        AP50, AP75: The same at one threshold.
        AP_small, AP_medium, AP_large: AP over objects of that size.
        AR100: Mean of the recalls that the 100 best detections of a class in an image reach.
        per_class: Name -> ``objects`` (how many there are to find) and the six AP of the class.
    """

    AP: float
    AP50: float
    AP75: float
    AP_small: float
    AP_medium: float
    AP_large: float
    AR100: float
    per_class: dict[str, dict[str, float]] = field(repr=False)


def evaluate(
    truth: TruthSource, detections: DetectionSource, *, iou_type: str = "bbox", max_dets: int = MAX_DETS
) -> DetectionScores:
    """Score detections against COCO annotations.

    The numbers are those of pycocotools, but for two traps of its: here an object with id 0 counts like any other, and
    the size of a mask is its own even where the detection has a box (as MMDetection and Detectron2 have it).

    Args:
        truth: COCO JSON file, its content, or objects.
        detections: COCO result JSON, its rows (``image_id, category_id, bbox, score[, segmentation run lengths]``), or
            objects.
        iou_type: What overlaps: ``"bbox"`` or ``"segm"`` (masks).
        max_dets: So many detections of each class and image count, the best ones.

    Raises:
        DataError: if the annotations are not sound, or detections are for images or classes they do not have.
        ConfigError: if ``iou_type`` or ``max_dets`` cannot be.
    """
    truth, detections = read_both(truth, detections, iou_type, max_dets)
    precision, recall = _library(truth, detections, iou_type, sorted({min(100, max_dets), max_dets}))
    # precision: IoU threshold, recall, class, size (all first), cap; recall: without the second. -1: nothing to find.
    precision = np.where(precision[..., -1] < 0, np.nan, precision[..., -1])
    recall = np.where(recall[..., 0] < 0, np.nan, recall[..., 0])

    def row(chosen: np.ndarray | slice) -> dict[str, float]:
        all_sizes = precision[:, :, chosen, 0]
        return {
            "AP": _mean(all_sizes),
            "AP50": _mean(all_sizes[0]),
            "AP75": _mean(all_sizes[5]),
            **{f"AP_{size}": _mean(precision[:, :, chosen, 1 + n]) for n, size in enumerate(SIZES)},
        }

    counts = truth.to_find()
    per_class = {name: {"objects": int(counts[n]), **row(n)} for n, name in enumerate(truth.names)}
    return DetectionScores(**row(slice(None)), AR100=_mean(recall[:, :, 0]), per_class=per_class)


def read_both(
    truth: TruthSource, detections: DetectionSource, iou_type: str, max_dets: int
) -> tuple[Detections, Detections]:
    """Read what is compared, and refuse what cannot be; see :func:`evaluate`."""
    if iou_type not in IOU_TYPES:
        raise ConfigError(
            f"iou_type={iou_type!r} is not known, expected 'bbox' or 'segm'{close_names(str(iou_type), IOU_TYPES)}"
        )
    if isinstance(max_dets, bool) or not isinstance(max_dets, int) or max_dets < 1:
        raise ConfigError(f"max_dets={max_dets!r}: expected a whole number from 1")
    masks = iou_type == "segm"
    truth = read_truth(truth, masks=masks)
    detections = read_detections(detections, truth, masks=masks)
    if masks:
        _check_mask_sizes(truth, detections)
    return truth, detections


def _check_mask_sizes(truth: Detections, detections: Detections) -> None:
    """Refuse masks that are not of the size of their image: they would overlap with nothing.

    Raises:
        DataError: naming an image.
    """
    for place, mask in zip(detections.image_index.tolist(), detections.masks, strict=True):
        width, height = truth.images.sizes[place]
        if width and tuple(mask["size"]) != (height, width):
            raise DataError(
                f"{truth.where}: image {truth.images.ids[place]} is {width} x {height} pixels, a mask found in it "
                f"{mask['size'][1]} x {mask['size'][0]}; bring masks back to the size of the image"
            )


def _library(
    truth: Detections, detections: Detections, iou_type: str, caps: list[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Let hotcoco match and accumulate. Columns go in, no dictionary per object; ids are places, counted from 1."""
    from hotcoco import COCO, COCOeval

    masks = iou_type == "segm"
    images = [
        {"id": n, "width": int(width), "height": int(height)}
        for n, (width, height) in enumerate(truth.images.sizes, start=1)
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(truth.names, start=1)]
    reference = COCO.from_arrays(
        images,
        categories,
        truth.image_index + 1,
        truth.labels + 1,
        truth.xywh,
        area=truth.areas,
        iscrowd=truth.crowd,
        segmentation=list(truth.masks) if masks else None,
    )
    d = detections
    table = np.column_stack([d.image_index + 1, d.xywh, d.scores, d.labels + 1]).astype(np.float64)
    found = reference.load_res(table, segmentation=d.masks if masks else None)
    if masks and len(d):
        found.update_anns(ids=np.arange(1, len(d) + 1), area=run_lengths.areas(d.masks))
    run = COCOeval(reference, found, iou_type)
    run.params.max_dets = caps
    run.evaluate()
    run.accumulate()
    return run.eval["precision"], run.eval["recall"]


def _mean(values: np.ndarray) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def score_all(truth: Detections, detections: Detections, *, max_dets: int = MAX_DETS) -> dict[str, DetectionScores]:
    """Score the boxes, and the masks if every object and every detection has one.

    Returns:
        IoU type -> scores.
    """
    kinds = IOU_TYPES if truth.has_masks and detections.has_masks else IOU_TYPES[:1]
    return {kind: evaluate(truth, detections, iou_type=kind, max_dets=max_dets) for kind in kinds}
