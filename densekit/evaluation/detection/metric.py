"""COCO scores for MMEngine's evaluation loops."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from densekit.errors import ConfigError, DataError, close_names
from densekit.evaluation.detection.average_precision import IOU_TYPES, MAX_DETS, SIZES, DetectionScores, evaluate
from densekit.evaluation.detection.sources import read_truth, write_detections
from densekit.ops import run_lengths
from densekit.registry import METRICS
from densekit.structures.boxes import to_xywh
from densekit.structures.detections import Detections

logger = logging.getLogger("densekit")

_SHOWN = ("AP", "AP50", "AP75", *(f"AP_{size}" for size in SIZES))


@METRICS.register_module()
class DetectionMetric(BaseMetric):
    """COCO's average precision of the boxes, and on request the masks, that an MMDetection detector predicts.

    Label 0 is the category with the lowest id, label 1 the next, and so on. Images of the annotation file that were not
    predicted count as images in which nothing was found.

    Attributes:
        truth: The annotated objects.
        last_scores: Scores of the last evaluation by IoU type, on the main process (elsewhere empty).
        last_detections: What was scored then, on the main process (elsewhere, and before, None).

    Args:
        ann_file: COCO JSON of the images that are predicted.
        iou_types: What is scored: ``"bbox"``, ``"segm"`` (masks) or both.
        out: File into which each evaluation writes its detections as COCO result JSON; None for none.
        collect_device, collect_dir: How results travel between processes; see MMEngine's BaseMetric.
        prefix: Put before the names of the metrics.
        max_dets: So many detections of each class and image count, the best ones.

    Raises:
        ConfigError: if the settings cannot be right.
        DataError: if the annotation file cannot be used.
    """

    default_prefix = ""  # not None: MMEngine warns about a metric that sets none

    def __init__(
        self,
        ann_file: str | os.PathLike,
        iou_types: Sequence[str] = ("bbox",),
        out: str | os.PathLike | None = None,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
        prefix: str | None = None,
        max_dets: int = MAX_DETS,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        given = (iou_types,) if isinstance(iou_types, str) else tuple(iou_types)
        for kind in given:
            if kind not in IOU_TYPES:
                hint = close_names(str(kind), IOU_TYPES)
                raise ConfigError(f"iou_types: {kind!r} cannot be scored, expected 'bbox' or 'segm'{hint}")
        if not given:
            raise ConfigError("iou_types is empty: expected 'bbox', 'segm' or both")
        self.iou_types = given
        self.out, self.max_dets = out, max_dets
        self.truth = read_truth(ann_file, masks="segm" in given)
        self._places = {image_id: place for place, image_id in enumerate(self.truth.images.ids)}
        self.last_scores: dict[str, DetectionScores] = {}
        self.last_detections: Detections | None = None

    @property
    def dataset_meta(self) -> dict | None:
        """Class names of the data set, as MMEngine hands them over before the loop begins."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict | None) -> None:
        classes = (meta or {}).get("classes")
        if classes is not None and tuple(classes) != self.truth.names:
            label = next(
                (n for n, (a, b) in enumerate(zip(classes, self.truth.names, strict=False)) if a != b),
                min(len(classes), len(self.truth.names)),
            )
            ours = repr(self.truth.names[label]) if label < len(self.truth.names) else "nothing"
            theirs = repr(classes[label]) if label < len(classes) else "nothing"
            raise ConfigError(
                f"{self.truth.where}: label {label} is {ours} by the order of its category ids, the data set calls it "
                f"{theirs}; list the classes in the order of the ids, or score against the data set's own annotations"
            )
        self._dataset_meta = meta

    def process(self, data_batch: Any, data_samples: Sequence[Mapping]) -> None:
        """Keep what was found in the images of a batch, masks as run lengths.

        One result per sample: that is how MMEngine recognises the samples which a distributed sampler repeated.

        Args:
            data_batch: Not used.
            data_samples: Per image ``img_id`` and ``pred_instances`` with ``bboxes`` ``(N, 4)`` as x1, y1, x2, y2 in
                pixels of the original image, ``scores`` ``(N,)``, ``labels`` ``(N,)`` and for masks ``masks``
                ``(N, H, W)`` of bool or run lengths.

        Raises:
            DataError: if an image or label is not in the annotation file, or a prediction is not finite.
        """
        for sample in data_samples:
            found = sample["pred_instances"]
            image_id = sample["img_id"]
            place = self._places.get(image_id)
            if place is None:
                raise DataError(
                    f"{self.truth.where}: has no image with the id {image_id!r} that was predicted; "
                    f"give the metric the annotations of the same images as the data set (ann_file)"
                )
            boxes, scores, labels = (_array(found[key]) for key in ("bboxes", "scores", "labels"))
            self._check(image_id, boxes, scores, labels)
            masks = None
            if "segm" in self.iou_types:
                if found.get("masks") is None:
                    raise DataError(
                        f"image {image_id}: the model predicts no masks, iou_types={self.iou_types} asks for them; "
                        f"score ('bbox',) or train a model with a mask head"
                    )
                masks = run_lengths.encode(found["masks"])
            self.results.append((place, boxes, scores, labels, masks))

    def _check(self, image_id: Any, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        if not (np.isfinite(boxes).all() and np.isfinite(scores).all()):
            raise DataError(
                f"image {image_id}: the model predicts boxes or scores that are not finite; its weights have diverged: "
                f"go back to an earlier checkpoint and lower the learning rate"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(self.truth.names):
            wrong = labels.max() if labels.max() >= len(self.truth.names) else labels.min()
            raise DataError(
                f"image {image_id}: the model predicts label {wrong}, {self.truth.where} has {len(self.truth.names)} "
                f"classes (labels 0 to {len(self.truth.names) - 1}); build the model for the classes of this data set"
            )

    def compute_metrics(self, results: list[tuple]) -> dict[str, float]:
        """Score the detections of all images, and write them if ``out`` is set.

        Returns:
            ``AP, AP50, AP75, AP_small, AP_medium, AP_large`` (NaN where there is nothing to find) and ``AP/<class>`` of
            each class that has objects; for masks the same with ``mask_`` before them.

        Raises:
            OutputError: if ``out`` cannot be written.
        """
        by_image = {result[0]: result for result in results}  # one that was repeated counts once
        about = {"images": self.truth.images, "names": self.truth.names, "category_ids": self.truth.category_ids}
        parts = (self._columns(*by_image[place]) for place in sorted(by_image))
        self.last_detections = detections = Detections.join(parts, **about, where="detections")
        lacking = len(self.truth.images) - len(by_image)
        if lacking:
            logger.warning(
                "%s: %d of its %d images were not predicted; their objects count as not found",
                self.truth.where,
                lacking,
                len(self.truth.images),
            )
        if self.out is not None:
            write_detections(self.out, detections)
        metrics: dict[str, float] = {}
        self.last_scores = {}
        for kind in self.iou_types:
            self.last_scores[kind] = scores = evaluate(self.truth, detections, iou_type=kind, max_dets=self.max_dets)
            prefix = "mask_" if kind == "segm" else ""
            metrics |= {prefix + key: getattr(scores, key) for key in _SHOWN}
            metrics |= {f"{prefix}AP/{name}": row["AP"] for name, row in scores.per_class.items() if row["objects"] > 0}
        return metrics

    def _columns(
        self, place: int, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, masks: list | None
    ) -> Detections:
        return Detections(np.full(len(labels), place), labels, to_xywh(boxes), scores.astype(np.float64), masks=masks)


def _array(values: Any) -> np.ndarray:
    """Return a prediction as an array of its own, on the CPU: a view would keep the batch alive."""
    if not isinstance(values, torch.Tensor):
        values = torch.as_tensor(np.asarray(values))
    values = values.detach().cpu()
    return (values.float() if values.is_floating_point() else values).numpy().copy()
