"""Segmenting many images and videos: what is drawn, measured and written of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from densekit.inference.image_run import Clock, ImageRun, Tally, predict_images, within
from densekit.inference.images import ImageCase
from densekit.inference.run import CaseResult, RunResult
from densekit.inference.segmentation.predictor import SegmentationPredictor
from densekit.inference.segmentation.result import SegmentationResult
from densekit.inference.segmentation.source import size_of
from densekit.inference.segmentation.tables import AREAS, shares, write_areas
from densekit.inference.segmentation.tiles import RasterPixels, label_canvas, overview_factor, predict_by_tiles
from densekit.inference.tables import relative_names
from densekit.inference.video import Frame
from densekit.io import sha256
from densekit.io.images import LoadedImage
from densekit.io.label_files import georeference, write_label_file
from densekit.io.rasters import open_raster
from densekit.package import Checkpoint
from densekit.structures.label_images import IGNORED
from densekit.visualization.segmentation.drawing import class_color, draw_segmentation, with_legend
from densekit.visualization.segmentation.gallery import ImageRow, write_prediction_gallery
from densekit.visualization.shared.gallery import TILE
from densekit.visualization.shared.thumbnails import open_upright


def predict_segmentations(
    checkpoint: Checkpoint,
    inputs: Sequence[str | Path],
    out: Path,
    *,
    device: str | torch.device = "auto",
    overwrite: bool = False,
    probabilities: bool = False,
    tta: bool = False,
) -> RunResult:
    """Segment images and videos, draw and measure the classes, and write a report.

    Besides what :func:`densekit.inference.image_run.predict_images` writes: ``masks/<name>.png`` (a label image with a
    palette; of a TIFF ``.tif``, on its place on the earth), with ``probabilities`` ``probabilities/<name>.npz``,
    ``areas.csv`` (see :func:`~densekit.inference.segmentation.tables.write_areas`) and ``report.html``. An image of
    more pixels than :attr:`TileSettings.large` is read, predicted and written by tiles.

    Args:
        checkpoint: Of a segmentor; it carries transforms, labels and settings.
        inputs: Files, folders, globs.
        out: Output folder.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.
        overwrite: Replace results that are there and are not the same.
        probabilities: Write those of all classes too.
        tta: Average over scales and mirror images.

    Returns:
        What became of each input; ``exit_status`` is 0, 3 if some (or all) failed, 130 after Ctrl-C.

    Raises:
        DataError: if the inputs hold no image.
        CheckpointError: if the checkpoint cannot be used.
        ConfigError: if the device is not there.
        OutputError: if the folder cannot be written, the disk is full, or a file is in the way without ``overwrite``.
    """
    predictor = SegmentationPredictor.from_checkpoint(checkpoint, device=device, tta=tta, probabilities=probabilities)
    settings = {**predictor.settings.to_dict(), "probabilities": probabilities}
    return predict_images(SegmentationRun, predictor, checkpoint, inputs, out, settings=settings, overwrite=overwrite)


@dataclass(frozen=True)
class SegmentationCase(ImageCase):
    """One image or video to segment."""

    @property
    def output_name(self) -> str:
        """Its label image; of a video the areas in each frame."""
        if self.is_video:
            return super().output_name
        return f"{self.folder}/{self.id}{'.tif' if self.path.suffix.lower() in ('.tif', '.tiff') else '.png'}"


class SegmentationRun(ImageRun):
    """One run of a segmentor."""

    folder = "masks"
    case = SegmentationCase
    tables = (AREAS, "report.html")
    predictor: SegmentationPredictor

    def reads_ahead(self, case: ImageCase) -> bool:
        return not self._is_large(case)

    def _is_large(self, case: ImageCase) -> bool:
        size = size_of(case.path)
        return size is not None and size[0] * size[1] > self.predictor.settings.large

    def facts(self, found: SegmentationResult) -> dict[str, Any]:
        pixel = None if found.place is None else found.place.square_metres
        return {"pixels": found.pixels, **({} if pixel is None else {"pixel_m2": pixel})}

    def notes(self, found: SegmentationResult) -> list[str]:
        return list(found.notes[len(found.image.notes) :])

    def draw_frame(self, found: SegmentationResult, image: LoadedImage) -> Image.Image:
        return found.overlay(image.rgb())

    def tally(self, case: ImageCase) -> _Tally:
        return _Tally(self.facts)

    def write(self, found: SegmentationResult, case: ImageCase, folder: Path) -> list[str]:
        files = [case.output_name]
        found.write_labels(within(folder, case.output_name))
        if found.probabilities is not None:
            files.insert(0, f"probabilities/{case.id}.npz")
            found.write_probabilities(within(folder, files[0]))
        return files

    def _image(self, case: ImageCase, folder: Path) -> dict[str, Any]:
        return self._by_tiles(case, folder) if self._is_large(case) else super()._image(case, folder)

    def _by_tiles(self, case: ImageCase, folder: Path) -> dict[str, Any]:
        clock, p, place = Clock(), self.predictor, georeference(case.path)
        palette = [class_color(label, p.colours) for label in range(len(p.labels))]
        with open_raster(case.path) as raster, label_canvas(folder / "labels", raster.size) as canvas:
            size, pixels = raster.size, RasterPixels(raster, p)
            notes = [*pixels.notes, *predict_by_tiles(pixels, p, canvas.write, self.progress.tiles)]
            clock.lap("predict")
            factor = overview_factor(size)
            small = draw_segmentation(pixels.overview(factor), canvas.overview(factor), p.labels, p.colours)
            counts = {label: int(n) for label, n in enumerate(canvas.counts) if n and label != IGNORED}
            picture = f"pictures/{case.id}.jpg"
            self.save(with_legend(small, counts, p.labels, p.colours), within(folder, picture))
            clock.lap("draw")
            mask = within(folder, case.output_name)
            write_label_file(mask, canvas.bands(), size, palette, names=p.labels, place=place)
            clock.lap("write")
        notes += [f"drawn {factor} times smaller"] * (factor > 1)
        notes += [place.why_no_area] if place is not None and place.why_no_area else []
        pixel = None if place is None else place.square_metres
        return {
            "inputs_sha256": [sha256(case.path)],
            "files": [picture, case.output_name],
            "size": list(size),
            "pixels": {p.labels[label]: n for label, n in sorted(counts.items(), key=lambda item: -item[1])},
            **({} if pixel is None else {"pixel_m2": pixel}),
            "notes": notes,
            "seconds": clock.seconds,
        }

    def summarize(self, status: int) -> RunResult:
        """Write the table and the report over all images."""
        result = RunResult(status, list(self.rows.values()), self.out, self.tables)
        write_areas(self.out, result.rows)
        p, run = self.predictor, sum(row.status != "not run" for row in result.rows)
        files = relative_names([row.case.path for row in result.rows])
        write_prediction_gallery(
            self.out / "report.html",
            title="Segmented images" + f", stopped after {run} of {len(files)}" * (run < len(files)),
            images=[
                self._report(row, name) for row, name in zip(result.rows, files, strict=True) if row.status != "not run"
            ],
            names=p.labels,
            colours=p.colours,
            settings=self.described(**p.settings.to_dict()),
        )
        return result

    def _report(self, row: CaseResult, name: str) -> ImageRow:
        facts = row.facts
        if row.status == "failed":
            return ImageRow(name, "failed", row.reason, seconds=facts["seconds"]["total"])
        return ImageRow(
            name,
            "ok",
            pixels=facts["pixels"],
            pixel_m2=facts.get("pixel_m2"),
            frames=facts.get("frames"),
            notes=facts["notes"],
            seconds=facts["seconds"]["total"],
            link=facts["files"][0],
            thumbnail=partial(self._thumbnail, row),
        )

    def _thumbnail(self, row: CaseResult) -> Image.Image | None:
        """The picture made small, without its legend."""
        folder = "videos" if row.case.is_video else "pictures"
        picture = open_upright(str(self.out / folder / f"{row.case.id}.jpg"))
        if picture is None:
            return None
        width, height = row.facts["size"]
        across = min(picture.width, width)  # a legend may be wider than a small image
        return ImageOps.contain(picture.crop((0, 0, across, round(across * height / width))), TILE)


class _Tally(Tally):
    """The pixels of each class over all frames of a video."""

    def __init__(self, facts: Any):
        super().__init__(facts)
        self.pixels: Counter[str] = Counter()

    def add(self, frame: Frame, found: SegmentationResult, drawn: Image.Image) -> None:
        """Count a frame."""
        super().add(frame, found, drawn)
        self.pixels.update(found.pixels)

    def header(self) -> Sequence[str]:
        """Columns of the table of all frames."""
        return ("frame", "time_s", "class", "pixels", "share")

    def rows(self, frame: Frame, found: SegmentationResult) -> Iterator[Sequence[Any]]:
        """A line for each class in a frame."""
        for name, count, share in shares(found.pixels):
            yield frame.number, f"{frame.seconds:.3f}", name, count, f"{share:.6f}"

    def facts(self) -> dict[str, Any]:
        """Pixels by class."""
        return {"pixels": dict(self.pixels.most_common())}
