"""Which convention four numbers of a box are in: told from borders, impossible boxes and the edges in the images.

Every layout has one convention (COCO corner and size, YOLO centre and size, VOC two corners), and every export script
can get it wrong, the order of x and y and the unit too; most wrong boxes still lie within their image. Two witnesses
are heard. *Borders*: read wrongly, boxes reach over some borders and not over others, or have no extent; read rightly,
none does. *Edges*: the sides of a box lie where the image changes, so the mean step across its sides is large for the
right reading and that of any place in the image for the others. How often a place that nobody annotated looks better
than the box is measured too, by boxes mirrored about the one that stands there: a crowded image makes as many of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from densekit.datasets.detection.edges import steps
from densekit.structures.boxes import clip, iou, to_xywh, to_xyxy
from densekit.structures.detections import Detections
from densekit.structures.outlines import extent

READINGS = {
    "corner": "[x, y, width, height]",
    "centre": "[x centre, y centre, width, height]",
    "corners": "[x1, y1, x2, y2]",
    "corner, y first": "[y, x, height, width]",
    "centre, y first": "[y centre, x centre, height, width]",
    "corners, y first": "[y1, x1, y2, x2]",
}
PLAIN = ("corner", "centre", "corners")
"""Those of layouts."""

IMAGES, BOXES = 60, 40
"""So many images are looked at, and so many boxes in each."""

PIXELS = 200_000_000
"""Pixels of all images together after which no further one is opened: large PNGs take seconds."""

SLACK = 0.01
"""Share of the image's side, at least two pixels, that a box may reach over a border: that much is carelessness."""

FAR = 0.1
"""Share of the image's side from which on a box over the border is impossible."""

WHOLE = 0.95
"""Share of the boxes from which on all of them are said to be in another convention."""

CLEARLY = np.log(2.0)
"""A reading fits clearly better than another if its boxes' sides are twice as sharp."""

UNSEEN = float(np.log(4 / 12))
"""The fit of a box where nothing is to be seen."""

SCATTERED, LARGER = 20, 200
"""So many boxes without a number above 100, in images of so many pixels a side, are no accident."""

LEAST = 5
"""So many boxes must speak for another reading."""


@dataclass(frozen=True)
class Verdict:
    """That boxes are in another convention than their layout's.

    Attributes:
        reading: Key of :data:`READINGS`.
        rows: Places of boxes that show it, the clearest first.
        share: Share of the boxes that are in it, estimated.
        words: The evidence, in numbers.
    """

    reading: str
    rows: np.ndarray
    share: float
    words: str


@dataclass(frozen=True)
class Fits:
    """How well boxes fit their images in each reading; NaN where nobody looked or a box has no place in the image.

    Attributes:
        own: float64 ``(readings, N)``; above 0 a box may count as seen.
        mirrored: Of each reading the same for boxes mirrored about those of the layout's, ``(readings, 3, N)``.
    """

    own: np.ndarray
    mirrored: np.ndarray

    @classmethod
    def none(cls, count: int) -> Fits:
        """Return those of boxes whose images nobody looked at."""
        return cls(np.full((len(READINGS), count), np.nan), np.full((len(READINGS), 3, count), np.nan))


def read_as(stored: np.ndarray, reading: str, sizes: np.ndarray | None = None) -> np.ndarray:
    """Return the boxes ``x, y, width, height`` that four numbers stand for.

    Args:
        stored: ``(N, 4)`` in pixels.
        reading: Key of :data:`READINGS`.
        sizes: Width and height of each box's image ``(N, 2)``, if the numbers are shares of the image that were scaled
            to pixels as if x came first; None: they are not.
    """
    kind, _, turned = reading.partition(", ")
    if turned:
        stored = (stored if sizes is None else stored / np.tile(sizes, 2) * np.tile(sizes[:, ::-1], 2))[:, [1, 0, 3, 2]]
    first, second = stored[:, :2], stored[:, 2:]
    if kind == "corners":
        return np.concatenate([first, second - first], axis=1)
    return np.concatenate([first - second / 2 if kind == "centre" else first, second], axis=1)


def stored_as(xywh: np.ndarray, reading: str) -> np.ndarray:
    """Return the four numbers ``(N, 4)`` that stand for boxes; the inverse of :func:`read_as`."""
    first, size = xywh[:, :2], xywh[:, 2:]
    kind, _, turned = reading.partition(", ")
    second = first + size if kind == "corners" else size
    stored = np.concatenate([first + size / 2 if kind == "centre" else first, second], axis=1)
    return stored[:, [1, 0, 3, 2]] if turned else stored


def in_order(xywh: np.ndarray) -> np.ndarray:
    """Return boxes with exchanged corners put in order."""
    return np.concatenate([xywh[:, :2] + np.minimum(xywh[:, 2:], 0), np.abs(xywh[:, 2:])], axis=1)


# --- the verdict --------------------------------------------------------------------------------------------------
def judge(stored: np.ndarray, sizes: np.ndarray, own: str, fits: Fits, *, shares: bool = False) -> Verdict | None:
    """Tell whether boxes, all or some, are in another convention than that of their layout.

    Args:
        stored: The four numbers of each box in pixels, ``(N, 4)``, finite.
        sizes: Width and height of each box's image, ``(N, 2)``.
        own: The layout's convention, key of :data:`READINGS`.
        fits: What was seen in the images.
        shares: Whether they were shares of the image before they were scaled to pixels.
    """
    if len(stored) < 3:
        return None
    scaled = sizes if shares else None
    over = {reading: _excess(read_as(stored, reading, scaled), sizes) for reading in READINGS}
    seen = _seen(fits, own)
    best = max(seen, key=lambda reading: len(seen[reading][0]))
    wins, losses, chance = seen[best]
    if len(wins) >= max(LEAST, min(4 * chance + 4, 2.5 * chance + 8)):
        share = len(wins) / (len(wins) + len(losses))
        words = _words(over[own], over[best], wins, share, (len(wins), len(losses)))
        return Verdict(best, wins, share, words)
    told = {r: _told_by_borders(over[own], over[r], own, r) for r in READINGS if r != own}
    told = {r: rows for r, rows in told.items() if len(rows) and _not_against(rows, seen[r])}
    if not told:
        return None
    best = max(told, key=lambda r: (len(told[r]), len(seen[r][0])))
    share = 1.0 if (over[best] <= 0).all() else len(told[best]) / len(stored)
    return Verdict(best, told[best], share, _words(over[own], over[best], told[best], share))


def _not_against(rows: np.ndarray, seen: tuple[np.ndarray, np.ndarray, float]) -> bool:
    """Whether the images do not speak against what the borders say of these boxes."""
    wins, losses, _ = seen
    return np.isin(rows, wins).sum() >= np.isin(rows, losses).sum()


def _excess(boxes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return how far boxes reach over the left, top, right and bottom border beyond what is careless, ``(N, 4)``.

    In shares of the image's side, 0 or less where they do not; infinite on all sides where they have no extent.
    """
    corners = to_xyxy(boxes)
    slack = np.maximum(SLACK * sizes, 2)
    excess = np.concatenate([-corners[:, :2] - slack, corners[:, 2:] - sizes - slack], axis=1) / np.tile(sizes, 2)
    excess[(boxes[:, 2:] <= 0).any(axis=1)] = np.inf
    return excess


def _seen(fits: Fits, own: str) -> dict[str, tuple[np.ndarray, np.ndarray, float]]:
    """Return for each other reading the boxes that fit clearly better in it, those that do not, and how many of the
    former chance gives."""
    names = list(READINGS)
    mine = fits.own[names.index(own)]
    looked = ~np.isnan(mine)
    found = {}
    for place, reading in enumerate(names):
        if reading == own:
            continue
        fit = fits.own[place]
        others = [names.index(r) for r in PLAIN if r != reading]  # an order that starts with y rivals no plain one
        rivals = np.fmax.reduce(fits.own[others])
        wins = np.flatnonzero(looked & (fit - rivals > CLEARLY) & (fit > 0))
        losses = np.flatnonzero(looked & (mine - np.fmax(fit, UNSEEN) > CLEARLY) & (mine > 0))
        mirrored = fits.mirrored[place]
        lucky = (mirrored - mine > CLEARLY) & (mirrored > 0)
        rate = lucky.sum() / max((~np.isnan(mirrored - mine)).sum(), 1)
        order = np.argsort((rivals - fit)[wins], kind="stable")
        found[reading] = (wins[order], losses, rate * (looked & ~np.isnan(fit)).sum())
    return found


def _told_by_borders(mine: np.ndarray, other: np.ndarray, own: str, reading: str) -> np.ndarray:
    """Return the places of boxes that are impossible in the layout's reading and possible in the other; none unless
    that is no accident."""
    wrong, none = (mine > 0).any(axis=1), np.array([], dtype=np.int64)
    possible = ~(other > 0).any(axis=1)
    worst_first = np.argsort(-mine.max(axis=1), kind="stable")
    if reading not in PLAIN:  # as a rule impossible boxes are possible with x and y exchanged: all must be, and many
        enough = wrong.sum() >= LEAST and wrong.mean() >= 0.1 and possible.all()
        return worst_first[wrong[worst_first]] if enough else none
    if "corners" in (own, reading):
        least = LEAST if own == "corners" else 3
        if wrong.sum() >= 3 and wrong.mean() > 0.2 and possible.all():
            return worst_first[wrong[worst_first]]
        far = (mine > FAR).any(axis=1)
        shows = far & possible
        enough = shows.sum() >= max(least, 0.02 * len(mine)) and shows.sum() >= 0.8 * far.sum()
        return worst_first[shows[worst_first]] if enough else none
    # Half a box off: all that reach over a border do so on the same two sides.
    beyond = (mine > 0).any(axis=0)
    one_sided = not (beyond[2:] if own == "centre" else beyond[:2]).any()
    enough = wrong.sum() >= LEAST and wrong.mean() >= 0.1 and possible.all()
    return worst_first[wrong[worst_first]] if one_sided and enough else none


def _words(mine: np.ndarray, other: np.ndarray, rows: np.ndarray, share: float, seen: tuple = ()) -> str:
    """Return the evidence: of all boxes if all are in another reading, else of those at ``rows``."""
    said = []
    if seen:
        wins, losses = seen
        looked = f"of {wins + losses} boxes with edges in the image"
        said.append(f"{looked}, {wins} lie on them if read so, {losses} as they stand")
    whole = share > WHOLE
    mine, other = (mine, other) if whole else (mine[rows], other[rows])
    empty = np.isinf(mine).any(axis=1)
    over = (mine > 0) & ~empty[:, None]
    fails = f"{(other > 0).any(axis=1).mean():.0%}" if (other > 0).any() else "none"
    for flags, what in ((over.any(axis=1), f"reach over the {_sides(over)}"), (empty, "have exchanged corners")):
        if flags.any():
            amount = f"{flags.mean():.0%}" if whole else f"{flags.sum()} of {len(rows)} such boxes"
            said.append(f"{amount} {what} as they stand, {fails} if read so")
    return "; ".join(said)


def _sides(over: np.ndarray) -> str:
    sides = [side for side, there in zip(("left", "top", "right", "bottom"), over.any(axis=0), strict=True) if there]
    return f"{', '.join(sides[:-1])} and {sides[-1]} borders" if len(sides) > 1 else f"{''.join(sides)} border"


# --- what is seen in the images -----------------------------------------------------------------------------------
def look(
    a: Detections,
    stored: np.ndarray,
    sizes: np.ndarray,
    own: str,
    open_image: Callable[[int], np.ndarray | None],
    *,
    shares: bool = False,
) -> Fits:
    """Look at a sample of the images, always the same one.

    Args:
        a: The annotations; an outline, where there is one, is a better witness than the image.
        stored: Their four numbers in pixels ``(N, 4)``.
        sizes: Width and height of each one's image ``(N, 2)``.
        own: The layout's convention.
        open_image: Returns the pixels ``(H, W, 3)`` of an image by its place, of any resolution, or None.
        shares: See :func:`judge`.
    """
    fits = Fits.none(len(a))
    order = np.argsort(a.image_index, kind="stable")
    images, starts = np.unique(a.image_index[order], return_index=True)
    groups = np.split(order, starts[1:])
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(images))[:IMAGES]
    areas = sizes.prod(axis=1)[[groups[number][0] for number in chosen]]
    for number in chosen[np.cumsum(areas) - areas < PIXELS]:
        rows = groups[number]
        rows = rows if len(rows) <= BOXES else np.sort(rng.permutation(rows)[:BOXES])
        boxes = _candidates(stored[rows], own, sizes[rows] if shares else None)
        outlines = [a.masks[row] if a.masks is not None else None for row in rows]
        pixels = open_image(int(images[number])) if any(outline is None for outline in outlines) else None
        values = _fit(pixels, boxes, sizes[rows[0]], list(READINGS).index(own))
        for place, outline in enumerate(outlines):
            around = None if outline is None else extent(outline)
            if around is not None:
                values[:, place] = np.log((iou(boxes[:, place], around[0]) + 0.05) / 0.5)
        fits.own[:, rows] = values[: len(READINGS)]
        fits.mirrored[:, :, rows] = values[len(READINGS) :].reshape(len(READINGS), 3, -1)
    return fits


def _fit(pixels: np.ndarray | None, boxes: np.ndarray, size: np.ndarray, mine: int) -> np.ndarray:
    """Return how well boxes ``(candidates, N, 4)`` fit an image; those at ``mine`` clipped to it, as they would be."""
    if pixels is None:
        return np.full(boxes.shape[:2], np.nan)
    corners = to_xyxy(boxes[mine])
    clipped = clip(corners, size)
    boxes = boxes.copy()
    boxes[mine] = to_xywh(clipped)
    values = steps(pixels, boxes * np.tile(np.array(pixels.shape[1::-1]) / size, 2))
    impossible = (np.abs(corners - clipped) > FAR * np.tile(size, 2)).any(axis=1)
    values[mine, impossible | (boxes[mine][:, 2:] <= 0).any(axis=1)] = UNSEEN
    return values


def _candidates(stored: np.ndarray, own: str, scaled: np.ndarray | None) -> np.ndarray:
    """Return the boxes in every reading, and each mirrored about the layout's own in x, in y and in both,
    ``(readings + 3 * readings, N, 4)``."""
    readings = [in_order(read_as(stored, own)) if r == own else read_as(stored, r, scaled) for r in READINGS]
    mine = readings[list(READINGS).index(own)]
    middle = mine[:, :2] + mine[:, 2:] / 2
    mirrored = []
    for boxes in readings:
        away = boxes[:, :2] + boxes[:, 2:] / 2 - middle
        for turn in ((-1, 1), (1, -1), (-1, -1)):
            mirrored.append(np.concatenate([middle + away * turn - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1))
    return np.stack([*readings, *mirrored])


def are_fractions(stored: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return which boxes, in numbers that should be pixels, are fractions of their image: bool ``(N,)``.

    All, or those with decimals if there are three and at least one in fifty: a few tools write ``[0, 0, 1, 1]`` where
    there is nothing.
    """
    small = (stored.max(axis=1) <= 1 + SLACK) & (stored.max(axis=1) > 0) & (sizes.min(axis=1) > 2)
    if small.all():
        return small
    small &= (stored % 1 != 0).any(axis=1)
    return small if small.sum() >= max(3, 0.02 * len(small)) else np.zeros(len(small), dtype=bool)


def are_percent(stored: np.ndarray, sizes: np.ndarray, fits: Callable[[np.ndarray], Fits]) -> bool:
    """Return whether boxes, in numbers that should be pixels, are in percent of their image: all of them or none.

    No number is above 100, and read so they lie all over the images; these must not speak against it.

    Args:
        stored: Their four numbers ``(N, 4)``.
        sizes: Width and height of each one's image ``(N, 2)``.
        fits: Looks at boxes, given in pixels ``(N, 4)``.
    """
    ends = np.sort(stored.max(axis=0))
    if len(stored) < SCATTERED / 2 or ends[-1] > 101 or stored.min() < -1 or ends[-2] < 60 or sizes.min() <= 101:
        return False
    if np.ptp(np.percentile(stored[:, :2], (10, 90), axis=0), axis=0).min() < 25:
        return False
    as_pixels, as_shares = (
        np.nan_to_num(fits(n).own, nan=UNSEEN).max(axis=0) for n in (stored, percent(stored, sizes))
    )
    for_it, against = (((a - b > CLEARLY) & (a > 0)).sum() for a, b in ((as_shares, as_pixels), (as_pixels, as_shares)))
    if for_it or against:
        return for_it >= max(LEAST, 3 * against)
    return len(stored) >= SCATTERED and sizes.min() >= LARGER


def percent(stored: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return what percent of the images are in pixels, ``(N, 4)``."""
    return stored * np.tile(sizes, 2) / 100


def few_impossible(stored: np.ndarray, sizes: np.ndarray, own: str) -> tuple[np.ndarray, str]:
    """Return the places of boxes far over a border that one other convention explains, too few for :func:`judge`.

    Args:
        stored: Four numbers of each box in pixels ``(N, 4)``.
        sizes: Width and height of each box's image ``(N, 2)``.
        own: The layout's convention.

    Returns:
        Their places and the convention; no places where none explains nearly all of such boxes.
    """
    far = (_excess(read_as(stored, own), sizes) > FAR).any(axis=1)
    shown = {r: far & ~(_excess(read_as(stored, r), sizes) > 0).any(axis=1) for r in PLAIN if r != own}
    best = max(shown, key=lambda reading: shown[reading].sum())
    enough = shown[best].sum() >= 0.8 * far.sum()
    return np.flatnonzero(shown[best] & enough), best


def named(reading: str, unit: str) -> str:
    """Return the words for a reading in pixels, or in another ``unit`` of the image's size."""
    return READINGS[reading] + (f" {unit} of the image" if unit else " in pixels")
