"""Do masks lie on their images? Judged by whether the image changes where the class does."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft

from densekit.structures.label_images import IGNORED

LONGEST = 1024
"""Pixels of the longer side of the images that are judged."""
REACH, TURNED_REACH = 32, 8
"""Pixels by which a mask is tried to be shifted, in all directions; and one that was turned."""

TURNS = {
    "": lambda labels: labels,
    "mirrored left to right": lambda labels: labels[:, ::-1],
    "mirrored upside down": lambda labels: labels[::-1],
    "turned by 180 degrees": lambda labels: labels[::-1, ::-1],
    "turned by 90 degrees": np.rot90,
    "turned by 270 degrees": lambda labels: np.rot90(labels, -1),
    "transposed": np.transpose,
    "transposed and turned by 180 degrees": lambda labels: labels[::-1, ::-1].T,
}
"""What may have been done to a mask; done to what is wrong, all but the turns by 90 and 270 undo themselves."""

_AT = 1
"""Pixels by which a mask that is right may be off."""
_NEAR = 2.5
"""Pixels between the place given and another that is taken for another one."""
_SHARP, _SURE = 5.0, 8.0
"""Standard deviations by which a place must stand out from the others; and by which the one given is beyond doubt."""
_CLEARER = 1.3
"""Times as strong as at the place given must the image change along borders elsewhere."""
_LEAST = 200
"""Pixels on borders below which nothing is judged."""
_SURROUNDING = 129


class Alignment(NamedTuple):
    """Where a mask lies.

    Attributes:
        turn: Key of :data:`TURNS` that brings it to where it fits.
        shift: Pixels to the right and down that it is to be moved by after that, in the size that was judged.
    """

    turn: str
    shift: tuple[int, int]

    @property
    def is_off(self) -> bool:
        """Whether another place than the one given is clearly better."""
        return bool(self.turn) or self.shift != (0, 0)

    def likely(self, labels: np.ndarray) -> np.ndarray:
        """Return labels ``(H, W)`` where they fit; what is shifted in is IGNORED."""
        turned = TURNS[self.turn](labels)
        moved = np.full_like(turned, IGNORED)
        (x, y), (height, width) = self.shift, turned.shape
        moved[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)] = turned[
            max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)
        ]
        return moved


_AS_GIVEN = Alignment("", (0, 0))


def find_alignment(pixels: np.ndarray, labels: np.ndarray) -> Alignment | None:
    """Find out whether a mask lies where it should, or where else.

    The strength of the image's edges, less that of their surroundings, is averaged along the borders between classes
    for every shift by up to :data:`REACH` pixels at once (a cross-correlation), of the mask as it is and, unless it is
    strongest where that lies, of all that :data:`TURNS` makes of it and that has the image's shape.

    Args:
        pixels: ``(H, W, C)``, float32 from 0 to 255.
        labels: ``(H, W)`` uint8.

    Returns:
        None if nothing can be said: too few borders, or the image changes along them nowhere more than elsewhere.
    """
    edges = _edges(pixels)
    shape = [fft.next_fast_len(side + 2 * REACH, real=True) for side in edges.shape]
    spectrum = fft.rfft2(edges, shape)
    best, score, given = _AS_GIVEN, 0.0, 0.0
    for turn, turned in ((turn, done(labels)) for turn, done in TURNS.items()):
        borders = _borders(turned)
        number = float(borders.sum())
        if turned.shape != labels.shape or number < _LEAST:
            continue
        strength = fft.irfft2(np.conj(fft.rfft2(borders, shape)) * spectrum, shape) / number
        strength = np.roll(strength, (REACH, REACH), (0, 1))[: 2 * REACH + 1, : 2 * REACH + 1]
        if not turn:
            at = slice(REACH - _AT, REACH + _AT + 1)
            given = float(strength[at, at].max())
        reach = TURNED_REACH if turn else REACH
        tried = strength[REACH - reach : REACH + reach + 1, REACH - reach : REACH + reach + 1]
        y, x = np.unravel_index(int(tried.argmax()), tried.shape)
        if tried[y, x] > max(score, _outstanding(strength, _SHARP)):
            best, score = Alignment(turn, (int(x) - reach, int(y) - reach)), float(tried[y, x])
            near = not turn and np.hypot(*best.shift) < _NEAR
            if near and score > _outstanding(strength, _SURE):
                return _AS_GIVEN
            best = _AS_GIVEN if near else best
    if not score:
        return None
    return _AS_GIVEN if score < _CLEARER * given else best


def _outstanding(strength: np.ndarray, deviations: float) -> float:
    """A value that is so many standard deviations above most."""
    middle = np.median(strength)
    return float(middle + deviations * 1.4826 * np.median(np.abs(strength - middle)))


def _edges(pixels: np.ndarray) -> np.ndarray:
    """Logarithm of how strongly an image changes at each pixel, less its mean around it, float32 ``(H, W)``."""
    smooth = cv2.GaussianBlur(np.ascontiguousarray(pixels, np.float32), (0, 0), 1.0)
    steps = [cv2.Sobel(smooth, cv2.CV_32F, *order) for order in ((1, 0), (0, 1))]
    strength = np.hypot(*steps)
    strength = np.log1p((strength if strength.ndim == 2 else strength.max(axis=2)) / 8)
    return strength - cv2.blur(strength, (_SURROUNDING, _SURROUNDING), borderType=cv2.BORDER_REFLECT)


def _borders(labels: np.ndarray) -> np.ndarray:
    """Pixels on either side of a border between two classes, float32 ``(H, W)``."""
    borders = np.zeros(labels.shape, np.float32)
    known = labels != IGNORED
    for one, other in ((np.s_[:, 1:], np.s_[:, :-1]), (np.s_[1:], np.s_[:-1])):
        differ = (labels[one] != labels[other]) & known[one] & known[other]
        borders[one] += differ
        borders[other] += differ
    return np.minimum(borders, 1)
