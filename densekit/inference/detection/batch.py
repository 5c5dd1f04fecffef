"""Finding the objects of many images and videos: what is drawn, counted and written of each."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from densekit.errors import DataError
from densekit.inference.detection import tables
from densekit.inference.detection.predictor import DetectionPredictor
from densekit.inference.detection.result import DetectionResult
from densekit.inference.image_run import ImageRun, Tally, predict_images
from densekit.inference.images import ImageCase
from densekit.inference.run import CaseResult, RunResult
from densekit.inference.tables import relative_names
from densekit.inference.video import Frame
from densekit.io.images import load_image
from densekit.package import Checkpoint
from densekit.structures.detections import is_found
from densekit.visualization.detection.drawing import draw_detections
from densekit.visualization.detection.gallery import ImageRow, write_prediction_gallery
from densekit.visualization.shared.gallery import TILE
from densekit.visualization.shared.thumbnails import open_upright

logger = logging.getLogger("densekit")

SCORE_BINS = 20
"""Bars of the histogram of scores from 0 to 1."""

CUT = "the network gives {most} detections of an image at most (max_per_img of its test_cfg), here there may be more"
"""What is said of an image in which that many are above the threshold."""

_TABLES = (tables.COCO, tables.RESULTS, tables.DETECTIONS, tables.COUNTS, "report.html")


def predict_detections(
    checkpoint: Checkpoint,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    device: str | torch.device = "auto",
    threshold: float | None = None,
    overwrite: bool = False,
) -> RunResult:
    """Find objects in images and videos, draw them, count them, and write a report.

    Besides what :func:`densekit.inference.image_run.predict_images` writes: ``detections/<name>.json`` (all that was
    found, however unsure), ``predictions_coco.json``, ``coco_results.json``, ``detections.csv`` and ``counts.csv`` (see
    :func:`~densekit.inference.detection.tables.write_tables`) and ``report.html``.

    Args:
        checkpoint: Of a detector; it carries transforms, labels and settings.
        inputs: Files, folders, globs.
        out: Output folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        threshold: Replaces the checkpoint's lowest score that is drawn, listed and counted.
        overwrite: Replace results that are there and are not the same.

    Returns:
        What became of each input; ``exit_status`` is 0, 3 if some (or all) failed, 130 after Ctrl-C.

    Raises:
        DataError: if the inputs hold no image.
        CheckpointError: if the checkpoint cannot be used.
        ConfigError: if the threshold cannot be or the device is not there.
        OutputError: if the folder cannot be written, the disk is full, or a file is in the way without ``overwrite``.
    """
    predictor = DetectionPredictor.from_checkpoint(checkpoint, device=device, threshold=threshold)
    if predictor.own_threshold is not None and predictor.threshold < predictor.own_threshold:
        logger.warning(
            "threshold %g: the network itself gives nothing below a score of %g (score_thr of its test_cfg)",
            predictor.threshold,
            predictor.own_threshold,
        )
    settings = {"score_threshold": predictor.threshold}
    return predict_images(DetectionRun, predictor, checkpoint, inputs, out, settings=settings, overwrite=overwrite)


class DetectionRun(ImageRun):
    """One run of a detector."""

    folder = "detections"
    tables = _TABLES
    predictor: DetectionPredictor

    def shown(self, found: DetectionResult) -> DetectionResult:
        return found.above(self.predictor.threshold)

    def facts(self, found: DetectionResult) -> dict[str, Any]:
        return {"counts": self.shown(found).counts(), "scores": _histogram(found.scores).tolist()}

    def is_cut(self, found: DetectionResult) -> bool:
        """Whether the network gave its most, all from the threshold on: there may be more."""
        return self.predictor.most is not None and len(self.shown(found)) >= self.predictor.most

    def notes(self, found: DetectionResult) -> list[str]:
        return [CUT.format(most=self.predictor.most)] if self.is_cut(found) else []

    def tally(self, case: ImageCase) -> _Tally:
        return _Tally(case, self)

    def summarize(self, status: int) -> RunResult:
        """Write the tables over all images."""
        result = RunResult(status, list(self.rows.values()), self.out, self.tables)
        p = self.predictor
        cut = sum(CUT.format(most=p.most) in note for row in result.rows for note in row.facts.get("notes", ()))
        if cut:
            logger.warning("%d of %d files: %s", cut, len(result.rows), CUT.format(most=p.most))
        tables.write_tables(self.out, result.rows, p.labels, threshold=p.threshold, masks=p.masks)
        run = sum(row.status != "not run" for row in result.rows)
        files = relative_names([row.case.path for row in result.rows])
        write_prediction_gallery(
            self.out / "report.html",
            title="Detections" if run == len(result.rows) else f"Detections, stopped after {run} of {len(result.rows)}",
            images=[
                self._report(row, name) for row, name in zip(result.rows, files, strict=True) if row.status != "not run"
            ],
            names=p.labels,
            threshold=p.threshold,
            settings=self.described(
                **{
                    "score threshold": p.threshold,
                    "the network's own threshold": p.own_threshold,
                    "most detections in an image": p.most,
                }
            ),
        )
        return result

    def _report(self, row: CaseResult, name: str) -> ImageRow:
        facts = row.facts
        if row.status == "failed":
            return ImageRow(name, "failed", row.reason, seconds=facts["seconds"]["total"])
        return ImageRow(
            name,
            "ok",
            counts=facts["counts"],
            scores=facts["scores"],
            frames=facts.get("frames"),
            notes=facts["notes"],
            seconds=facts["seconds"]["total"],
            link=facts["files"][0],
            thumbnail=partial(self._thumbnail, row),
        )

    def _thumbnail(self, row: CaseResult) -> Image.Image | None:
        """Draw what was found once more, small: scaled down, names could not be read."""
        if row.case.is_video:
            poster = open_upright(str(self.out / "videos" / f"{row.case.id}.jpg"))
            return None if poster is None else ImageOps.contain(poster, TILE)
        try:
            image = load_image(row.case.path, self.predictor.ranges).rgb()
        except DataError:  # gone or changed while the run went on
            return None
        found = [
            f for f in tables.found_in(self.out, row)["detections"] if is_found(f["score"], self.predictor.threshold)
        ]
        return draw_detections(
            image,
            [f["box"] for f in found],
            [f["label"] for f in found],
            [f["score"] for f in found],
            [f["mask"] for f in found] if self.predictor.masks else None,
            self.predictor.labels,
            size=TILE,
        )


class _Tally(Tally):
    """What a video's frames hold together.

    Attributes:
        frames: Number of frames.
        most: By class name, the objects of the frame that has most of them: the same object is in many frames.
        scores: Histogram of all scores.
        poster: The drawn frame with most objects, the first of them.
    """

    def __init__(self, case: ImageCase, run: DetectionRun):
        super().__init__(run.facts)
        self.case, self.run, self.predictor = case, run, run.predictor
        self.objects, self.cut = -1, 0
        self.most = dict.fromkeys(self.predictor.labels, 0)
        self.scores = np.zeros(SCORE_BINS, dtype=np.int64)

    def add(self, frame: Frame, found: DetectionResult, drawn: Image.Image) -> None:
        """Count a frame."""
        super().add(frame, found, drawn)
        counts = self.last["counts"]
        self.scores += self.last["scores"]
        self.cut += self.run.is_cut(found)
        self.most = {name: max(count, counts[name]) for name, count in self.most.items()}
        if sum(counts.values()) > self.objects:
            self.objects, self.poster = sum(counts.values()), drawn

    def header(self) -> Sequence[str]:
        """Columns of the table of all frames."""
        return tables.columns(masks=self.predictor.masks, video=True)

    def rows(self, frame: Frame, found: DetectionResult) -> Iterator[list[Any]]:
        """A line for each detection of a frame."""
        for row in found.above(self.predictor.threshold).to_list():
            cells = tables.table_row(self.case.path.name, row, masks=self.predictor.masks)
            yield [*cells, frame.number, f"{frame.seconds:.3f}"]

    def facts(self) -> dict[str, Any]:
        """Counts and scores."""
        if self.cut:
            self.notes = [f"{CUT.format(most=self.predictor.most)}: {self.cut} of {self.frames} frames"]
        return {"counts": self.most, "scores": self.scores.tolist()}


def _histogram(scores: np.ndarray) -> np.ndarray:
    return np.histogram(scores, bins=SCORE_BINS, range=(0, 1))[0]
