"""Scores of semantic segmentation for MMEngine's evaluation loops."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from densekit.errors import ConfigError, DataError, class_difference
from densekit.evaluation.segmentation.counts import BOUNDARY, ImageCounts, SegmentationCounts, count_image, pack_labels
from densekit.evaluation.segmentation.scores import SegmentationScores, score_all
from densekit.registry import METRICS
from densekit.structures.label_images import IGNORED

KEPT = 24
"""Predictions that are kept, of the images with most errors."""


@METRICS.register_module()
class SegmentationMetric(BaseMetric):
    """mIoU, accuracies and boundary IoU of the label images that a segmentor predicts.

    Of the worst images so far, and of no others, the prediction is kept (as PNG in memory, then in ``out``), so that a
    report can show it: memory and disk are bounded whatever the number of images, and one file holds all of an
    evaluation.

    Attributes:
        last_scores: Scores of the last evaluation on the main process (elsewhere, and before, None); without intervals.
        last_counts: What they were computed from.

    Args:
        classes: Class names; label 0 is the first.
        out: File into which each evaluation writes its counts (:meth:`SegmentationCounts.write`); None for none.
        boundary: Width of the boundaries of boundary IoU as a share of the image's diagonal. None: neither boundary
            IoU nor where the errors lie, which takes most of the time.
        keep: How many predictions are kept.
        collect_device, collect_dir: How results travel between processes; see MMEngine's BaseMetric.
        prefix: Put before the names of the metrics.

    Raises:
        ConfigError: if the settings cannot be right.
    """

    default_prefix = ""  # not None: MMEngine warns about a metric that sets none

    def __init__(
        self,
        classes: Sequence[str],
        out: str | os.PathLike | None = None,
        boundary: float | None = BOUNDARY,
        keep: int = KEPT,
        collect_device: str = "cpu",
        collect_dir: str | None = None,
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        if boundary is not None and not 0 < boundary < 1:
            raise ConfigError(f"boundary={boundary}: expected a share of the image's diagonal such as 0.02, or None")
        self.classes, self.out, self.boundary, self.keep = tuple(classes), out, boundary, keep
        self.last_scores: SegmentationScores | None = None
        self.last_counts: SegmentationCounts | None = None

    @property
    def dataset_meta(self) -> dict | None:
        """Class names of the data set, as MMEngine hands them over before the loop begins."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, meta: dict | None) -> None:
        given = (meta or {}).get("classes")
        if given is not None and tuple(given) != self.classes:
            raise ConfigError(
                f"the metric scores other classes than the data set has: {class_difference(self.classes, list(given))}"
            )
        self._dataset_meta = meta

    def process(self, data_batch: Any, data_samples: Sequence[Mapping]) -> None:
        """Count the pixels of a batch.

        Args:
            data_batch: Not used.
            data_samples: Per image ``img_path``, ``pred_sem_seg`` and ``gt_sem_seg``, both with ``data``
                ``(1, H, W)`` of labels in the original size.

        Raises:
            DataError: if an image has no truth, or the two do not fit.
        """
        for sample in data_samples:
            file = str(sample.get("img_path", f"image {len(self.results)}"))
            if sample.get("gt_sem_seg") is None:
                raise DataError(f"{file}: has no mask to score it against; validate on a split with masks")
            found = _labels(sample["pred_sem_seg"]["data"], file)
            truth = _labels(sample["gt_sem_seg"]["data"], file)
            counts = count_image(truth, found, len(self.classes), boundary=self.boundary, where=file)
            self.results.append([file, counts, None])
            self._keep_if_bad(counts, found)

    def _keep_if_bad(self, counts: ImageCounts, found: np.ndarray) -> None:
        kept = [result for result in self.results if result[2] is not None]
        if len(kept) >= self.keep:
            best = min(kept, key=lambda result: result[1].wrong, default=None)
            if best is None or best[1].wrong >= counts.wrong:
                return
            best[2] = None
        if counts.wrong > 0:
            self.results[-1][2] = pack_labels(found)

    def compute_metrics(self, results: list[list]) -> dict[str, float]:
        """Score all images, and write the counts if ``out`` is set.

        Returns:
            ``mIoU, mAcc, aAcc`` and ``boundary_IoU``, and ``mIoU/<class>``, the IoU of each class that is there or was
            found.

        Raises:
            OutputError: if ``out`` cannot be written.
        """
        by_file = {result[0]: result for result in results}  # one that was repeated counts once
        results = list(by_file.values())
        worst = sorted(range(len(results)), key=lambda n: -results[n][1].wrong)[: self.keep]
        self.last_counts = counts = SegmentationCounts.join(
            self.classes,
            [(file, image) for file, image, _ in results],
            boundary=self.boundary,
            predictions={n: results[n][2] for n in sorted(worst) if results[n][2] is not None},
        )
        if self.out is not None:
            counts.write(self.out)
        self.last_scores = scores = score_all(counts, resamples=0)
        metrics = {key: getattr(scores, key) for key in ("mIoU", "mAcc", "aAcc")}
        if self.boundary is not None:
            metrics["boundary_IoU"] = scores.boundary_IoU
        classes = {f"mIoU/{name}": row["IoU"] for name, row in scores.per_class.items()}
        return metrics | {key: value for key, value in classes.items() if value == value}


def _labels(labels: Any, file: str) -> np.ndarray:
    """A label image ``(H, W)`` uint8 of what a sample holds.

    Raises:
        DataError: if a label does not fit into 8 bits.
    """
    labels = labels.detach().cpu().numpy() if isinstance(labels, torch.Tensor) else np.asarray(labels)
    labels = labels.reshape(labels.shape[-2:])
    if labels.dtype != np.uint8 and labels.size:
        low, high = int(labels.min()), int(labels.max())
        if not 0 <= low <= high <= IGNORED:
            raise DataError(f"{file}: has label {low if low < 0 else high}, labels are 0 to 254, and 255 is ignored")
    return np.ascontiguousarray(labels, dtype=np.uint8)
