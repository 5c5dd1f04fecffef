"""What ``densekit check`` finds in a data set: one form for volumes and for images with boxes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Example:
    """One place where a finding shows.

    Attributes:
        where: File, line or id, in words.
        image: Path of the image that shows it, or "" if no image helps.
        boxes: Boxes to draw, each ``(x1, y1, x2, y2)`` in pixels of the image.
        outlines: Polygons to draw, each ``(x1, y1, x2, y2, x3, ...)``.
        likely: Where the boxes are likely meant to be, to be drawn beside ``boxes``.
    """

    where: str
    image: str = ""
    boxes: tuple[tuple[float, float, float, float], ...] = ()
    outlines: tuple[tuple[float, ...], ...] = ()
    likely: tuple[tuple[float, float, float, float], ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something found in a data set.

    Attributes:
        severity: ``"error"`` (training or scoring would fail or be wrong), ``"warning"`` (worth a look) or ``"note"``
            (good to know).
        case: Case id, or "" for the data set as a whole.
        message: What and where; with the remedy, where ``remedy`` is empty.
        code: Name of the check (``"box-over-border"``), the same in every data set; "" for a check without a name.
        count: How often it was found.
        remedy: What to do about it.
        examples: A few of the places, at most three.
    """

    severity: str
    case: str
    message: str
    code: str = ""
    count: int = 1
    remedy: str = ""
    examples: tuple[Example, ...] = ()
