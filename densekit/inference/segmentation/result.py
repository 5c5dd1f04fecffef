"""The class of each pixel of one image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from densekit.errors import OutputError
from densekit.inference.images import ImageResult
from densekit.io import atomic_path
from densekit.io.images import LoadedImage
from densekit.io.label_files import Georeference, write_label_file
from densekit.structures.label_images import label_counts
from densekit.visualization.segmentation.drawing import class_color, draw_segmentation, with_legend

_SHOWN = 10


@dataclass(frozen=True, eq=False, repr=False)
class SegmentationResult(ImageResult):
    """Classes of the pixels of one image.

    Attributes:
        labels: ``(H, W)`` uint8, index into ``names``, in the size of the image.
        names: Class names.
        colours: A colour ``(red, green, blue)`` of each class; None: the palette's.
        probabilities: ``(K, H, W)`` float16, where they were asked for.
        place: Where on the earth the image lies; None: it does not say.
        notes: What the image's file was and how it was read and predicted.
        image: The image, to draw on; None without it.
        seconds: Seconds per stage.
    """

    labels: np.ndarray
    names: Sequence[str]
    colours: Sequence[Sequence[int]] | None = None
    probabilities: np.ndarray | None = None
    place: Georeference | None = None
    notes: tuple[str, ...] = ()
    image: LoadedImage | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @cached_property
    def counts(self) -> dict[int, int]:
        """Number of pixels by label, of the classes that are there."""
        return label_counts(self.labels)

    @property
    def pixels(self) -> dict[str, int]:
        """Number of pixels by class name, the largest class first."""
        return {self.names[label]: n for label, n in sorted(self.counts.items(), key=lambda item: -item[1])}

    @property
    def areas(self) -> dict[str, float] | None:
        """Square metres by class name; None for an image that does not say where it lies, or in degrees."""
        pixel = None if self.place is None else self.place.square_metres
        return None if pixel is None else {name: n * pixel for name, n in self.pixels.items()}

    def __repr__(self) -> str:
        rows = class_rows(self.counts, self.names, self.place)
        width = max((len(row["class"]) for row in rows[:_SHOWN]), default=0)
        height, across = self.labels.shape
        lines = [f"{type(self).__name__}: {across} x {height} pixels, {len(rows)} of {len(self.names)} classes"]
        for row in rows[:_SHOWN]:
            ground = f"  {row['m2']:,.1f} m2" if "m2" in row else ""
            lines.append(f"  {row['class']:<{width}} {row['share']:7.2%} {row['pixels']:>12,}{ground}")
        return "\n".join(lines + [f"  and {len(rows) - _SHOWN} smaller ones"] * (len(rows) > _SHOWN))

    def overlay(self, image: Image.Image, *, size: tuple[int, int] | None = None) -> Image.Image:
        """Draw the classes on the image, without a legend: of the image's proportions."""
        return draw_segmentation(image, self.labels, self.names, self.colours, size)

    def draw_on(self, image: Image.Image, *, size: tuple[int, int] | None = None) -> Image.Image:
        """Draw the classes on the image, with a legend of those that are there below it.

        Args:
            image: The upright image in RGB.
            size: Width and height of the picture without the legend, at most; None: as the image is.
        """
        return with_legend(self.overlay(image, size=size), self.counts, self.names, self.colours)

    def save(self, path: str | Path) -> None:
        """Write it by its suffix.

        ``.png``: a label image with a palette, whose values are the classes; ``.tif``: the same as GeoTIFF, on the
        image's place on the earth; ``.npz``: the probabilities; ``.json``: what :meth:`to_dict` gives; ``.jpg`` and
        other suffixes of images: a picture.

        Raises:
            OutputError: if it cannot be written, or there are no probabilities.
        """
        path = self._target(path)
        kind = path.suffix.lower()
        if kind in (".png", ".tif", ".tiff"):
            with atomic_path(path) as temporary:
                self.write_labels(temporary)
        elif kind == ".npz":
            if self.probabilities is None:
                raise OutputError(f"{path}: no probabilities were asked for; predict with probabilities=True")
            with atomic_path(path) as temporary:
                self.write_probabilities(temporary)
        else:
            super().save(path)

    def write_labels(self, path: Path) -> None:
        """Write the label image, ``.png`` or ``.tif``."""
        palette = [class_color(label, self.colours) for label in range(len(self.names))]
        size = self.labels.shape[::-1]
        write_label_file(path, [self.labels], size, palette, names=self.names, place=self.place)

    def write_probabilities(self, path: Path) -> None:
        """Write ``probabilities`` (float16, (K, H, W)) and ``names`` as ``.npz``."""
        np.savez_compressed(path, probabilities=self.probabilities, names=np.array(list(self.names)))

    def to_dict(self) -> dict[str, Any]:
        """Size, and the classes that are there, the largest first: pixels, share, square metres where known."""
        height, width = self.labels.shape
        return {"width": width, "height": height, "classes": class_rows(self.counts, self.names, self.place)}


def class_rows(
    counts: Mapping[int, int], names: Sequence[str], place: Georeference | None = None
) -> list[dict[str, Any]]:
    """Plain values of the classes that are there, the largest first.

    Args:
        counts: Pixels by label.
        names: Class names.
        place: Says how large a pixel is on the ground.
    """
    total = max(sum(counts.values()), 1)
    pixel = None if place is None else place.square_metres
    rows = []
    for label, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        ground = {} if pixel is None else {"m2": round(n * pixel, 4)}
        rows.append({"class": names[label], "label": label, "pixels": n, "share": round(n / total, 6), **ground})
    return rows
