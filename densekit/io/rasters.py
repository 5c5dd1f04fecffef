"""Images of any size, number of channels and depth, read by windows: GeoTIFF, multi-page TIFF, and what GDAL reads."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from densekit.errors import DataError
from densekit.io.files import require_file

Window = tuple[int, int, int, int]
"""Left column, upper row, width and height, in pixels."""


class Raster:
    """An image that is open for reading; see :func:`open_raster`.

    Attributes:
        path: The file.
        size: Width and height in pixels.
        channels: Bands of all pages; a band of transparency does not count, a palette is three (red, green, blue).
        dtype: Of the values.
        nodata: The value of a pixel where nothing was measured; None: there is none.
        crs: Coordinate reference system as rasterio has it; None: none is given.
        transform: From pixels to the coordinates of ``crs`` (``affine.Affine``); the identity if none is given.
    """

    def __init__(self, path: Path, pages: list[Any]) -> None:
        first = pages[0]
        self.path, self.size, self.nodata = path, (first.width, first.height), first.nodata
        self.crs, self.transform = first.crs, first.transform
        self._bands = [(page, _measured(page)) for page in pages]
        self._palette = _palette(first) if len(pages) == 1 else None
        self.channels = 3 if self._palette is not None else sum(len(bands) for _, bands in self._bands)
        self.dtype = np.result_type(*(page.dtypes[band - 1] for page, bands in self._bands for band in bands))

    def read(self, window: Window | None = None) -> np.ndarray:
        """Read a part of the image that lies within it, or all of it.

        Returns:
            ``(height, width, C)`` of ``dtype``, channels in the order of the file (colours: red, green, blue).

        Raises:
            DataError: if the file is damaged there.
        """
        from rasterio.errors import RasterioError
        from rasterio.windows import Window as Part

        part = None if window is None else Part(*window)
        try:
            read = [page.read(bands, window=part, out_dtype=self.dtype) for page, bands in self._bands]
        except RasterioError as error:
            raise DataError(f"{self.path}: cannot be decoded, the file is damaged ({error}); fetch it again") from error
        values = np.moveaxis(read[0] if len(read) == 1 else np.concatenate(read), 0, -1)
        return np.ascontiguousarray(values if self._palette is None else self._palette[values[..., 0]])


@contextmanager
def open_raster(path: str | Path) -> Iterator[Raster]:
    """Open an image to read it by windows; the pages of a TIFF are taken for further channels.

    Not for several threads at once: each opens the file for itself.

    Raises:
        DataError: if the file is not there or no image, its values are no real numbers, or its pages differ in size.
    """
    import rasterio  # takes a third of a second

    path = Path(path)
    require_file(path)
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)  # most images have no place
    with ExitStack() as opened:
        try:
            first = opened.enter_context(rasterio.open(path))
            names = first.subdatasets if first.driver == "GTiff" else []
            pages = [opened.enter_context(rasterio.open(name)) for name in names] or [first]
        except rasterio.errors.RasterioError as error:
            why = str(error).replace(f"'{path}' ", "").rstrip(".")
            raise DataError(f"{path}: not an image that can be read ({why}); check what the file is") from error
        sizes = {(page.width, page.height) for page in pages}
        if len(sizes) > 1:
            shown = " and ".join(f"{w} x {h}" for w, h in sorted(sizes))
            raise DataError(f"{path}: its pages are {shown}, not channels of one image; keep one page, or equal ones")
        if any(kind.startswith("complex") for page in pages for kind in page.dtypes):
            raise DataError(f"{path}: has complex numbers; save real ones")
        yield Raster(path, pages)


def read_raster(path: str | Path) -> np.ndarray:
    """Read a whole image, ``(H, W, C)``, as :meth:`Raster.read`.

    Raises:
        DataError: as :func:`open_raster`.
    """
    with open_raster(path) as raster:
        return raster.read()


def _measured(page: Any) -> list[int]:
    """Numbers of the bands, from 1, without those of transparency; all if nothing else is there."""
    alpha = [getattr(kind, "name", "") == "alpha" for kind in page.colorinterp]
    return [number for number, is_alpha in enumerate(alpha, start=1) if not is_alpha or all(alpha)]


def _palette(page: Any) -> np.ndarray | None:
    """Colours by value, uint8 ``(256, 3)``; None if the values are not those of a palette."""
    if page.count != 1 or page.colorinterp[0].name != "palette" or page.dtypes[0] != "uint8":
        return None
    table = np.zeros((256, 3), np.uint8)
    for value, colour in page.colormap(1).items():
        table[value] = colour[:3]
    return table
