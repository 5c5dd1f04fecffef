"""Label images as files, row by row, so that an image of any size needs little memory: PNG with a palette, GeoTIFF."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from densekit.errors import DataError
from densekit.io.atomic import output_error
from densekit.io.rasters import open_raster
from densekit.structures.label_images import IGNORED

_BLOCK = 512
"""Side of the blocks of a GeoTIFF in pixels."""


@dataclass(frozen=True)
class Georeference:
    """Where on the earth an image lies.

    Attributes:
        crs: Coordinate reference system as rasterio has it; None: not given.
        transform: From pixels to its coordinates (``affine.Affine``).
    """

    crs: Any
    transform: Any

    @property
    def square_metres(self) -> float | None:
        """Area of a pixel; None if the unit of the coordinates is not a length."""
        if self.crs is None or not self.crs.is_projected:
            return None
        _, metres = self.crs.linear_units_factor
        return abs(self.transform.determinant) * metres**2

    @property
    def why_no_area(self) -> str:
        """Why areas on the ground are not told, in words; "" if they are."""
        if self.square_metres is not None:
            return ""
        if self.crs is None:
            return "areas are told in pixels alone: the file does not say which coordinate system it is in"
        return (
            "areas are told in pixels alone: the coordinates are degrees; bring the image to a projected coordinate "
            "system (e.g. gdalwarp -t_srs with its UTM zone) for areas in square metres"
        )


def georeference(path: Path) -> Georeference | None:
    """Where a TIFF lies on the earth; None if it does not say, or is none."""
    if path.suffix.lower() not in (".tif", ".tiff"):
        return None
    try:
        with open_raster(path) as raster:
            given = raster.crs is not None or not raster.transform.is_identity
            return Georeference(raster.crs, raster.transform) if given else None
    except DataError:  # what is wrong with it is said where it is read
        return None


def write_label_file(
    path: Path,
    rows: Iterable[np.ndarray],
    size: tuple[int, int],
    palette: Sequence[Sequence[int]],
    *,
    names: Sequence[str] = (),
    place: Georeference | None = None,
) -> None:
    """Write a label image, as GeoTIFF or PNG by its suffix.

    Args:
        path: ``.tif``, ``.tiff`` or ``.png``.
        rows: Parts ``(h, W)`` uint8, from top to bottom.
        size: Width and height.
        palette: Colours ``(red, green, blue)`` by label; the others are black.
        names: Of the classes, for a GeoTIFF's metadata.
        place: Written into a GeoTIFF.

    Raises:
        OutputError: if the file cannot be written.
    """
    colours = np.zeros((IGNORED + 1, 3), np.uint8)
    colours[: len(palette)] = palette
    if path.suffix.lower() == ".png":
        try:
            with path.open("wb") as file:
                _write_png(file, rows, size, colours)
        except OSError as error:
            raise output_error(path, error) from error
    else:
        _write_tiff(path, rows, size, colours, names, place)


def _write_png(file: Any, rows: Iterable[np.ndarray], size: tuple[int, int], colours: np.ndarray) -> None:
    """The format's own chunks: Pillow wants the whole image."""

    def chunk(kind: bytes, data: bytes) -> None:
        file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)))

    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 3, 0, 0, 0))
    chunk(b"PLTE", colours.tobytes())
    packer = zlib.compressobj(6)
    for part in rows:
        lines = np.zeros((len(part), size[0] + 1), np.uint8)  # each line begins with its filter: none
        lines[:, 1:] = part
        if packed := packer.compress(lines.tobytes()):
            chunk(b"IDAT", packed)
    chunk(b"IDAT", packer.flush())
    chunk(b"IEND", b"")


def _write_tiff(
    path: Path,
    rows: Iterable[np.ndarray],
    size: tuple[int, int],
    colours: np.ndarray,
    names: Sequence[str],
    place: Georeference | None,
) -> None:
    import rasterio
    from rasterio.windows import Window

    layout = {"driver": "GTiff", "width": size[0], "height": size[1], "count": 1, "dtype": "uint8", "nodata": IGNORED}
    layout |= {"tiled": True, "blockxsize": _BLOCK, "blockysize": _BLOCK, "compress": "deflate", "BIGTIFF": "IF_SAFER"}
    layout |= {} if place is None else {"crs": place.crs, "transform": place.transform}
    with _reporting(path), rasterio.open(path, "w", **layout) as file:
        file.write_colormap(1, {value: tuple(map(int, colour)) for value, colour in enumerate(colours)})
        if names:
            file.update_tags(1, **{f"class_{label}": name for label, name in enumerate(names)})
        first = 0
        for part in in_bands(rows, _BLOCK):  # whole blocks: one written twice would leave its first copy behind
            file.write(part, 1, window=Window(0, first, size[0], len(part)))
            first += len(part)


def in_bands(rows: Iterable[np.ndarray], height: int) -> Iterator[np.ndarray]:
    """Parts of an image put together anew, each of so many rows but the last."""
    held: list[np.ndarray] = []
    for part in rows:
        held.append(part)
        whole = np.concatenate(held) if sum(map(len, held)) >= height else None
        while whole is not None and len(whole) >= height:
            yield whole[:height]
            whole = whole[height:]
        held = held if whole is None else [whole] * (len(whole) > 0)
    if held:
        yield np.concatenate(held)


@contextmanager
def _reporting(path: Path) -> Iterator[None]:
    import warnings

    from rasterio.errors import NotGeoreferencedWarning, RasterioError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            yield
    except (RasterioError, OSError) as error:
        raise output_error(path, error if isinstance(error, OSError) else OSError(str(error))) from error
