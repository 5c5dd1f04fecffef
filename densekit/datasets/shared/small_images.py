"""Images made smaller, to judge by many of them whether their labels lie where the image changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from densekit.errors import DataError
from densekit.io.images import is_deep, load_image

LONGEST = 800
"""Pixels of the longer side."""


def open_small(path: Path, longest: int = LONGEST) -> np.ndarray | None:
    """Return the pixels of an image, upright, float32 ``(H, W, 3)`` from 0 to 255; None if it cannot be read.

    Args:
        path: The file.
        longest: Pixels of the longer side, at most.
    """
    try:
        with Image.open(path) as image:
            if is_deep(image):
                image = load_image(path).rgb()
            image.draft("RGB", (longest, longest))
            image.load()
            image = ImageOps.exif_transpose(image).convert("RGB")
            image.thumbnail((longest, longest), reducing_gap=2)
            return np.asarray(image, dtype=np.float32)
    except (OSError, ValueError, SyntaxError, DataError, Image.DecompressionBombError):
        return None
