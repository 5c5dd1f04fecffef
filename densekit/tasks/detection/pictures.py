"""Validation pictures of a detector: what it finds beside what there is."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from PIL import Image

from densekit.errors import ConfigError
from densekit.visualization.detection.drawing import box_array, draw_detections, mask_list
from densekit.visualization.shared.mosaic import legend_entries, mosaic, side_by_side
from densekit.visualization.shared.sheet import GAP, save_sheet
from densekit.visualization.shared.thumbnails import open_upright

logger = logging.getLogger("densekit")

_SIZE = (420, 320)
_HEADING = 25  # pixels of the line above a picture
_SCORES = ("AP", "AP50", "mask_AP")


class DetectionPictureHook(Hook):
    """Writes ``pictures/epoch_NNNN.png``: prediction beside truth, for the same validation images after every epoch.

    Shown are the first images with objects, and the first without any if there is one: what is found there is wrong.

    Args:
        names: Class names by label.
        images: How many images with objects are shown.
        threshold: Predictions with a lower score are left out.

    Raises:
        ConfigError: for no images, or a threshold that is not a score.
    """

    priority = "LOW"

    def __init__(self, names: list[str], images: int = 4, threshold: float = 0.3) -> None:
        if images < 1:
            raise ConfigError(f"DetectionPictureHook: images={images} shows nothing; give 1 or more")
        if not 0 <= threshold <= 1:
            raise ConfigError(f"DetectionPictureHook: threshold={threshold} is not a score; give 0 to 1")
        self.names, self.images, self.threshold = list(names), images, threshold
        self._chosen: list[str] = []  # files shown, in the order in which they came in the first validation
        self._objects = self._background = 0  # how many of them there are of each kind
        self._tiles: dict[str, Image.Image] = {}
        self._labels: set[int] = set()

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Draw those of a batch that are to be shown.

        Args:
            outputs: DetDataSamples with ``pred_instances`` in pixels of the image, and ``gt_instances`` in pixels of
                the network's input, ``scale_factor`` times as large.
        """
        if not is_main_process():
            return
        for sample in outputs or []:
            path = str(sample.metainfo["img_path"])
            if path not in self._tiles and self._wanted(path, sample):
                self._draw(path, sample)

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Write the picture."""
        if not is_main_process():
            return
        if not self._tiles:
            return
        scores = [f"{name} {metrics[name]:.3f}" for name in _SCORES if np.isfinite((metrics or {}).get(name, np.nan))]
        tiles = [self._tiles[path] for path in self._chosen if path in self._tiles]
        captions = [[path.rpartition("/")[2]] for path in self._chosen if path in self._tiles]
        sheet = mosaic(
            tiles,
            captions,
            title=", ".join([f"epoch {runner.epoch}", *scores]),
            columns=1 if len(tiles) < 3 else 2,
            cell=(2 * _SIZE[0] + GAP, _SIZE[1] + _HEADING),
            entries=legend_entries(self._labels, self.names),
        )
        save_sheet(Path(runner.work_dir) / "pictures" / f"epoch_{runner.epoch:04d}.png", sheet)
        self._tiles, self._labels = {}, set()

    def _wanted(self, path: str, sample: Any) -> bool:
        """Whether an image is shown; the first validation decides for all that follow."""
        if path in self._chosen:
            return True
        if len(sample.gt_instances):
            if self._objects == self.images:
                return False
            self._objects += 1
        else:
            if self._background or len(sample.get("ignored_instances", ())):
                return False
            self._background = 1
        self._chosen.append(path)
        return True

    def _draw(self, path: str, sample: Any) -> None:
        image = open_upright(path)
        if image is None:
            logger.warning("%s: cannot be read again, left out of the validation picture", path)
            return
        found = sample.pred_instances
        found = found[found.scores >= self.threshold]
        labels = [int(label) for label in found.labels]
        scores = [float(score) for score in found.scores]
        prediction = draw_detections(
            image, box_array(found.bboxes), labels, scores, mask_list(found), self.names, size=_SIZE
        )
        truth, there = self._truth(image, sample)
        titles = (f"prediction: {len(labels)} from score {self.threshold:g}", f"truth: {len(there)}")
        self._tiles[path] = side_by_side(prediction, truth, titles)
        self._labels |= set(labels) | set(there)

    def _truth(self, image: Image.Image, sample: Any) -> tuple[Image.Image, list[int]]:
        """Return the image with its objects drawn, and their labels."""
        parts = [sample.gt_instances]
        if "ignored_instances" in sample:
            parts.append(sample.ignored_instances)
        scale = np.array(sample.metainfo.get("scale_factor", (1.0, 1.0)), dtype=np.float64)[:2]
        boxes = np.concatenate([box_array(part.bboxes) for part in parts]) / np.tile(scale, 2)
        labels = [int(label) for part in parts for label in part.labels]
        masks = [_scaled(mask, scale) for part in parts for mask in mask_list(part)]
        ignored = np.arange(len(boxes)) >= len(parts[0])
        drawn = draw_detections(image, boxes, labels, None, masks, self.names, size=_SIZE, ignored=ignored)
        return drawn, labels[: len(parts[0])]


def _scaled(mask: Any, scale: np.ndarray) -> Any:
    """Return polygons in pixels of the image; a bitmap is stretched over it by the drawing."""
    if not isinstance(mask, (list, tuple)):
        return mask
    return [np.asarray(polygon, dtype=np.float64).reshape(-1, 2) / scale for polygon in mask]
