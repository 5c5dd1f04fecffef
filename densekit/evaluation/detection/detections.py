"""What a detector found, as columns over all images."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from densekit.errors import DataError, few
from densekit.evaluation.detection.truth import Truth, boxes_of, places
from densekit.io.atomic import atomic_path
from densekit.io.files import load_json


@dataclass(frozen=True)
class Detections:
    """Detections, those of one image together, in the order of the images of a :class:`Truth`.

    Attributes:
        image: Place of the image among ``truth.image_ids`` ``(N,)``.
        label: Place of the class among ``truth.names`` ``(N,)``.
        box: ``x, y, width, height`` in pixels of the picture ``(N, 4)``.
        score: Confidence ``(N,)``.
        masks: Compressed COCO run lengths of each; None without masks.
    """

    image: np.ndarray
    label: np.ndarray
    box: np.ndarray
    score: np.ndarray
    masks: list[dict] | None = None

    def __len__(self) -> int:
        return len(self.image)

    @classmethod
    def of(
        cls, source: Detections | Sequence[Mapping] | str | os.PathLike, truth: Truth, *, masks: bool | None = False
    ) -> Detections:
        """Read detections in COCO's result format.

        Args:
            source: Result JSON, its rows (``image_id, category_id, bbox, score`` and for masks ``segmentation``), or
                what was read before.
            truth: What they will be compared with.
            masks: Whether the masks are needed; None: kept if every detection has one.

        Raises:
            DataError: if a row is for an image or class that the truth does not have, or lacks something.
        """
        if isinstance(source, Detections):
            if masks and source.masks is None:
                raise DataError("the detections have no masks; score boxes, or predict with a model that gives masks")
            return source
        where = "detections"
        if isinstance(source, (str, os.PathLike)):
            where, source = str(source), load_json(Path(source))
        if not isinstance(source, (list, tuple)) or not all(isinstance(row, Mapping) for row in source):
            raise DataError(f"{where}: expected a list of detections in COCO's result format")
        if masks is None:
            masks = bool(source) and all(row.get("segmentation") for row in source)
        return cls._of_rows(source, truth, masks, where)

    @classmethod
    def _of_rows(cls, rows: Sequence[Mapping], truth: Truth, masks: bool, where: str) -> Detections:
        image, unknown = places(truth.image_ids, [row.get("image_id") for row in rows])
        if unknown:
            raise DataError(
                f"{where}: {len(unknown):,} detections are for images that {truth.where} does not have (id "
                f"{few(sorted(set(map(str, unknown))), 3)}); score them against the annotations of their own images"
            )
        label, unknown = places(truth.category_ids, [row.get("category_id") for row in rows])
        if unknown:
            raise DataError(
                f"{where}: {len(unknown):,} detections have the category_id {few(sorted(set(map(str, unknown))), 3)}, "
                f"which {truth.where} does not have; it has {few(truth.category_ids)}"
            )
        try:
            score = np.array([row.get("score") for row in rows], dtype=np.float64)
        except (TypeError, ValueError):
            score = np.array([_score(row.get("score")) for row in rows], dtype=np.float64)
        if not np.isfinite(score).all():
            row = rows[int(np.flatnonzero(~np.isfinite(score))[0])]
            raise DataError(
                f"{where}: a detection in image {row['image_id']} has the score {row.get('score')!r}, expected a "
                f"number; look for NaN in the model's outputs"
            )
        found = _masks(rows, where) if masks else None
        if found is not None and any("bbox" not in row for row in rows):
            from hotcoco import mask as library

            box = np.asarray(library.to_bbox(found), dtype=np.float64).reshape(-1, 4)
        else:
            box = boxes_of(rows, "detection", where)
        return cls(image, label, box, score, found)._by_image()

    @classmethod
    def join(cls, parts: Iterable[Detections]) -> Detections:
        """Put the detections of several images together; those of one image must be in one part."""
        parts = list(parts)
        if not parts:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros((0, 4)), np.zeros(0))
        columns = (np.concatenate([getattr(p, name) for p in parts]) for name in ("image", "label", "box", "score"))
        masked = all(part.masks is not None for part in parts)
        return cls(*columns, [mask for part in parts for mask in part.masks] if masked else None)._by_image()

    def take(self, chosen: np.ndarray) -> Detections:
        """Return the detections at these places, or where a mask ``(N,)`` is true."""
        places = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        masks = None if self.masks is None else [self.masks[place] for place in places]
        return Detections(self.image[places], self.label[places], self.box[places], self.score[places], masks)

    def _by_image(self) -> Detections:
        if (np.diff(self.image) >= 0).all():
            return self
        return self.take(np.argsort(self.image, kind="stable"))

    def write(self, path: str | os.PathLike, truth: Truth) -> None:
        """Write them as COCO result JSON, one row a line, by rename. Read back, they give the same scores.

        Raises:
            OutputError: if the file cannot be written.
        """
        with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
            file.write("[")
            for place in range(len(self)):
                row = {
                    "image_id": truth.image_ids[self.image[place]],
                    "category_id": truth.category_ids[self.label[place]],
                    "bbox": self.box[place].tolist(),
                    "score": float(self.score[place]),
                }
                if self.masks is not None:
                    row["segmentation"] = self.masks[place]
                file.write(",\n" * (place > 0) + json.dumps(row))
            file.write("]\n")


def _score(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else np.nan


def _masks(rows: Sequence[Mapping], where: str) -> list[dict]:
    from hotcoco import mask as library

    found = []
    for row in rows:
        rle = row.get("segmentation")
        if not isinstance(rle, Mapping) or "counts" not in rle or "size" not in rle:
            raise DataError(
                f"{where}: a detection in image {row['image_id']} has no run lengths under 'segmentation'; "
                f"score boxes, or predict with a model that gives masks"
            )
        counts = rle["counts"]
        counts = counts.decode("ascii") if isinstance(counts, bytes) else counts
        size = [int(side) for side in rle["size"]]
        if not isinstance(counts, str):
            counts = library.rle_to_string({"size": size, "counts": counts})
        found.append({"size": size, "counts": counts})
    return found
