"""From a recognised source to pairs that are checked: images looked at, splits assigned, masks measured, labels set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from densekit.datasets.segmentation.classes import ClassList, Colour
from densekit.datasets.segmentation.colours import ColourTable, shown
from densekit.datasets.segmentation.draft import Draft, DraftPair
from densekit.datasets.segmentation.labelling import Ignored, Labelling, label, own_and_given
from densekit.datasets.segmentation.masks import TOLERATED, VALUES, read_mask
from densekit.datasets.segmentation.measuring import Measured, measure
from densekit.datasets.shared.findings import EXAMPLES
from densekit.datasets.shared.image_files import Header, read_extents, read_headers
from densekit.errors import DataError, few
from densekit.io.depth import common_ranges, extent
from densekit.io.rasters import open_raster, read_raster
from densekit.progress import told
from densekit.structures.findings import Example
from densekit.structures.label_images import IGNORED

_PEEKED = 16


@dataclass
class Images:
    """What the images of a draft are.

    Attributes:
        headers: Of each pair.
        channels: Of all images; 3 for grey, colours, palettes.
        ranges: Of those of more than 8 bits.
    """

    headers: list[Header]
    channels: int
    ranges: dict[str, tuple[float, float]]


def look_at_images(draft: Draft, root: Path) -> Images:
    """Read the headers of all images, and the values of those of more than 8 bits; leave out what cannot be read."""
    paths = [str(root / pair.image) for pair in draft.pairs]
    rasters = _rasters(paths)
    ordinary = [path for path in paths if path not in rasters]
    known = dict(zip(ordinary, read_headers(ordinary), strict=True)) | {path: h for path, (h, _) in rasters.items()}
    headers = [known[path] for path in paths]
    channels = [rasters[path][1] if path in rasters else 3 for path in paths]
    most = Counter(channels).most_common(1)[0][0] if channels else 3
    others = [n for n, number in enumerate(channels) if number != most]
    draft.findings.rows(
        "channels-differ", others, lambda n: f"{draft.pairs[n].image} has {channels[n]}, most images have {most}"
    )
    deep = [n for n, header in enumerate(headers) if header and header.deep and header.whole and not header.problem]
    extents = _extents([paths[n] for n in deep], rasters)
    problems = {n: _problem(header) for n, header in enumerate(headers) if _problem(header)}
    problems |= {n: found for n, found in zip(deep, extents, strict=True) if isinstance(found, str)}
    kept, before = [n for n in range(len(paths)) if n not in problems], draft.pairs
    draft.findings.rows("image-unreadable", sorted(problems), lambda n: f"{before[n].image}: {problems[n]}")
    draft.pairs = [before[n] for n in kept]
    ranges = common_ranges(found for found in extents if not isinstance(found, str))
    return Images([headers[n] for n in kept], most, ranges)


def _problem(header: Header | None) -> str:
    """Why an image cannot be read, or ""."""
    if header is None:
        return "it is not there"
    return header.problem or ("" if header.whole else "it ends too early")


def _rasters(paths: Sequence[str]) -> dict[str, tuple[Header, int]]:
    """Return the headers of the TIFF files of which not three channels are read, and their channels."""

    def look(path: str) -> tuple[Header, int] | None:
        try:
            with open_raster(path) as raster:
                size, deep = Path(path).stat().st_size, raster.dtype != np.uint8
                header = Header(*raster.size, "", 1, size, b"", True, "", deep)
                return None if raster.channels in (1, 3) else (header, raster.channels)
        except DataError:
            return None  # what is wrong is said by the reader of ordinary images

    tiffs = [path for path in paths if path.lower().endswith((".tif", ".tiff"))]
    with ThreadPoolExecutor(8) as pool:
        found = zip(tiffs, told(pool.map(look, tiffs), len(tiffs), "TIFF files looked at"), strict=True)
        return {path: raster for path, raster in found if raster is not None}


def _extents(paths: Sequence[str], rasters: Collection[str]) -> list[tuple[str, float, float] | str]:
    """Extents of images of more than 8 bits, or why they cannot be read."""

    def of_raster(path: str) -> tuple[str, float, float] | str:
        try:
            return extent(read_raster(path))
        except DataError as error:
            return str(error).removeprefix(f"{path}: ")

    ordinary, many = ([path for path in paths if (path in rasters) == is_raster] for is_raster in (False, True))
    with ThreadPoolExecutor(4) as pool:
        read = dict(zip(many, told(pool.map(of_raster, many), len(many), "TIFF files measured"), strict=True))
    read |= zip(ordinary, read_extents(ordinary), strict=True)
    return [read[path] for path in paths]


def colour_table(draft: Draft, root: Path, classes: ClassList | None, ignored: Ignored) -> ColourTable | None:
    """Return what turns coloured masks to values, None if the masks have values.

    Raises:
        ConfigError: if two classes have one colour.
    """
    if classes is None or classes.colours is None or draft.draw is not None or not _coloured(draft, root, classes):
        return None
    own = tuple(value for value in classes.ignored if isinstance(value, tuple))
    return ColourTable(classes, dict.fromkeys((*own, *ignored.colours)))


def _coloured(draft: Draft, root: Path, classes: ClassList) -> bool:
    """Whether one of some masks is of colours, or a palette while the class list gives no values."""
    step = -(-len(draft.pairs) // _PEEKED) or 1
    for pair in draft.pairs[::step]:
        try:
            mask = read_mask(root / pair.mask)
        except DataError:
            continue  # said where all are read
        if mask.values.ndim == 3 or (mask.palette is not None and classes.values is None):
            return True
    return False


@dataclass
class Read:
    """A data set that is read.

    Attributes:
        labelling: Classes, and labels by value.
        measured: Of each pair.
        pixels: Pixels of each label, int64 ``(pairs, classes + 1)``, the last column those that are ignored.
    """

    labelling: Labelling
    measured: list[Measured]
    pixels: np.ndarray


def read_masks(
    draft: Draft, root: Path, images: Images, given: ClassList | None, ignored: Ignored, folder: Path
) -> Read:
    """Look at every mask, and decide what its values are.

    Raises:
        ConfigError: if the class list cannot be right.
        DataError: if the masks cannot be understood without one.
        OutputError: if index masks cannot be written.
    """
    classes = own_and_given(draft, given)
    table = colour_table(draft, root, classes, ignored)
    if table is not None:
        classes = replace(classes, values=tuple(range(len(classes.names))), ignored=())
    sizes = [(header.width, header.height) for header in images.headers]
    measured = measure(draft, root, sizes, table, folder)
    _report_files(draft, root, measured, sizes, table)
    seen: Counter[int] = Counter()
    for mask in measured:
        seen.update(mask.values)
    if not seen:
        nothing = Labelling(classes or ClassList(()), np.full(VALUES, IGNORED, np.uint8), (), False)
        return Read(nothing, measured, _pixels(nothing, measured))
    try:
        labelling = label(classes, ignored, seen, draft.background)
    except DataError as error:
        raise DataError(f"{root}: {error}") from error
    for note in labelling.notes:
        draft.findings.add("layout", count=1, message=note)
    _report_values(draft, labelling, measured)
    return Read(labelling, measured, _pixels(labelling, measured))


def _pixels(labelling: Labelling, measured: Sequence[Measured]) -> np.ndarray:
    number = len(labelling.classes.names)
    pixels = np.zeros((len(measured), number + 1), np.int64)
    for row, mask in zip(pixels, measured, strict=True):
        for value, count in mask.values.items():
            row[min(int(labelling.lookup[value]), number)] += count
    return pixels


def _report_files(
    draft: Draft, root: Path, measured: Sequence[Measured], sizes: Sequence[tuple[int, int]], table: ColourTable | None
) -> None:
    """Say which masks cannot be read, have another size than their image, or colours that are not known."""
    add, pairs = draft.findings.rows, draft.pairs
    unreadable = "annotation-unreadable" if draft.draw else "mask-unreadable"
    add(
        unreadable,
        [n for n, m in enumerate(measured) if m.problem],
        lambda n: f"{pairs[n].mask}: {measured[n].problem}",
    )
    add("overlap", [n for n, m in enumerate(measured) if m.overlaps], lambda n: pairs[n].mask)
    off = {
        n: max(abs(a - b) for a, b in zip(m.size, size, strict=True))
        for n, (m, size) in enumerate(zip(measured, sizes, strict=True))
        if m.size != (0, 0)
    }

    def words(n: int) -> Example:
        (w, h), (width, height) = measured[n].size, sizes[n]
        return _example(root, pairs[n], f"is {w} x {h}, its image {width} x {height}")

    add("mask-size-off", [n for n, by in off.items() if 0 < by <= TOLERATED], words)
    add("mask-size", [n for n, by in off.items() if by > TOLERATED], words)
    coloured = [n for n, m in enumerate(measured) if m.coloured]
    if table is None:
        add("mask-coloured", coloured, lambda n: _example(root, pairs[n], f"has {_colours(measured[n].coloured)}"))
        return
    unknown: Counter[Colour] = Counter()
    for n in coloured:
        unknown.update(measured[n].coloured)
    for colour, count in unknown.most_common(EXAMPLES):
        pair = next(pairs[n] for n in coloured if colour in measured[n].coloured)
        text = f"{shown(colour)} in {pair.mask}: {count:,} pixels in all masks, nearest is {table.nearest(colour)}"
        smeared = "; JPEG smears colours, save masks as PNG" * pair.mask.lower().endswith(("jpg", "jpeg"))
        draft.findings.add("colour-unknown", Example(text + smeared, str(root / pair.image)))
    draft.findings.add("colour-unknown", count=max(0, len(unknown) - EXAMPLES))


def _report_values(draft: Draft, labelling: Labelling, measured: Sequence[Measured]) -> None:
    for value in labelling.strange:
        there = [n for n, mask in enumerate(measured) if value in mask.values]
        count = sum(measured[n].values[value] for n in there)
        words = f"{value} in {draft.pairs[there[0]].mask}: {count:,} pixels in {len(there)} masks"
        draft.findings.add("mask-value", words)
    if labelling.zero:
        there = [n for n, mask in enumerate(measured) if 0 in mask.values]
        draft.findings.rows("zero-unlabelled", there, lambda n: draft.pairs[n].mask)


def _colours(found: dict[Colour, int]) -> str:
    return f"the colours {few(map(shown, found), 6)}"


def _example(root: Path, pair: DraftPair, words: str) -> Example:
    return Example(f"{pair.mask} {words}", str(root / pair.image))
