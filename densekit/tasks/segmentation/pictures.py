"""Validation pictures of a segmentor: what it gives beside what there is."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from PIL import Image

from densekit.datasets.segmentation import PreparedSegmentation
from densekit.visualization.segmentation.drawing import open_image
from densekit.visualization.segmentation.training import prediction_beside_truth, sheet_of
from densekit.visualization.shared.sheet import save_sheet

logger = logging.getLogger("densekit")

_SCORES = ("mIoU", "mAcc", "aAcc")


class SegmentationPictureHook(Hook):
    """Writes ``pictures/epoch_NNNN.png``: prediction beside truth, for the same validation images after every epoch.

    Args:
        data: The data set.
        split: The split that is validated on.
        images: How many are shown, the first ones.
    """

    priority = "LOW"

    def __init__(self, data: PreparedSegmentation, split: str | None, images: int = 4) -> None:
        self.data = data
        pairs = () if split is None else data.splits[split]
        self._wanted = {str(data.root / pair.image): pair for pair in pairs[:images]}
        self._tiles: dict[str, Image.Image] = {}
        self._labels: set[int] = set()

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Draw those of a batch that are to be shown."""
        for sample in outputs if outputs and is_main_process() else ():
            path = str(sample.metainfo["img_path"])
            if (pair := self._wanted.get(path)) is None or path in self._tiles:
                continue
            found = sample.pred_sem_seg.data.squeeze(0).cpu().numpy().astype(np.uint8)
            truth = self.data.read_labels(pair)
            image = open_image(path, self.data)
            if image is None:
                logger.warning("%s: cannot be read again, left out of the validation picture", path)
                continue
            self._tiles[path] = prediction_beside_truth(image, found, truth, self.data.classes, self.data.colours)
            self._labels |= {int(v) for v in np.unique(found)} | {int(v) for v in np.unique(truth)}

    def after_val_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Write the picture."""
        if not (self._tiles and is_main_process()):
            return
        scores = [f"{name} {metrics[name]:.3f}" for name in _SCORES if np.isfinite((metrics or {}).get(name, np.nan))]
        sheet = sheet_of(
            {self._named(path): tile for path, tile in self._tiles.items()},
            title=", ".join([f"epoch {runner.epoch}", *scores]),
            labels=self._labels,
            names=self.data.classes,
            colours=self.data.colours,
        )
        save_sheet(Path(runner.work_dir) / "pictures" / f"epoch_{runner.epoch:04d}.png", sheet)
        self._tiles, self._labels = {}, set()

    def _named(self, path: str) -> str:
        """An image as the picture calls it: images of several folders may share their names."""
        root = self.data.root
        return str(Path(path).relative_to(root)) if Path(path).is_relative_to(root) else Path(path).name
