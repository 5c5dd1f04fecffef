"""Reading one image, to train on or to predict: upright, three channels of 8 bit."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from densekit.errors import DataError

TAIL = 4096
"""Bytes at the end of a file in which its image's end mark is looked for."""

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
_KINDS = {
    "1": "black and white: read as three equal channels of 0 and 255",
    "L": "grey: read as three equal channels",
    "P": "colours by palette: read as RGB",
    "CMYK": "CMYK: converted to RGB",
}
_ALPHA = "transparency is ignored: the colours stored beneath it are used"
_DEEP = "16 bits per channel: of 65536 steps the 256 of the upper 8 are left, as in training"


@dataclass(frozen=True)
class LoadedImage:
    """An image as the network's transforms take it.

    Attributes:
        pixels: ``(H, W, 3)`` uint8, blue, green, red, as MMDetection's loader gives them.
        notes: What the file was and how it was brought to this form; empty for an ordinary upright image.
        sha256: Of the file; empty for an image that was given as an array.
        path: The file; None for an image that was in memory.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    sha256: str = ""
    path: Path | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def rgb(self) -> Image.Image:
        """The image for drawing."""
        return Image.fromarray(np.ascontiguousarray(self.pixels[..., ::-1]))


def as_image(image: LoadedImage | np.ndarray | Image.Image | str | Path) -> LoadedImage:
    """Bring whatever is given to the form that is predicted.

    Args:
        image: A file; an array ``(H, W, 3)`` in RGB or ``(H, W)`` in grey, uint8; or Pillow's image.

    Raises:
        DataError: if it is no image, or one that cannot be read.
    """
    if isinstance(image, LoadedImage):
        return image
    if isinstance(image, (str, Path)):
        return load_image(Path(image))
    if isinstance(image, Image.Image):
        return _of_pillow(image)
    if not isinstance(image, np.ndarray):
        raise DataError(
            f"image: {type(image).__name__} given, expected a path, an (H, W, 3) uint8 array or a PIL image"
        )
    return _of_array(image)


def _of_array(image: np.ndarray) -> LoadedImage:
    grey = image.ndim == 2
    if not image.size or not (grey or (image.ndim == 3 and image.shape[2] == 3)):
        raise DataError(f"image: array of shape {image.shape}, expected (H, W, 3) in RGB or (H, W) in grey")
    if image.dtype != np.uint8:
        scaled = "; bring its values to 0-255 and give it as uint8"
        raise DataError(f"image: array of type {image.dtype}, expected uint8{scaled}")
    bgr = np.repeat(image[..., None], 3, axis=2) if grey else image[..., ::-1]
    return LoadedImage(np.ascontiguousarray(bgr), (_KINDS["L"],) if grey else ())


def _of_pillow(image: Image.Image) -> LoadedImage:
    notes, name = _kind_notes(image.mode), getattr(image, "filename", None)
    orientation = orientation_of(image)
    if orientation != 1:
        notes.append(_turned(orientation))
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise DataError(f"image: {_no_range(image.mode)}")
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    return LoadedImage(pixels, tuple(notes), path=Path(name) if name else None)


def load_image(path: Path) -> LoadedImage:
    """Read an image file.

    OpenCV decodes, as MMDetection's loader has it: the same file gives the same pixels. EXIF's orientation is applied
    for all formats alike.

    Raises:
        DataError: if the file is missing, empty, cut short, no image, or one whose values cannot be brought to 8 bit.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if not data:
        raise DataError(f"{path}: the file is empty (0 bytes); fetch it again")
    facts = _look(path, data)
    with quiet_opencv():
        # Oriented below: whether OpenCV does it itself depends on the format and on its version.
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise DataError(f"{path}: {_why_not(data, facts.mode)}")
    pixels = np.ascontiguousarray(_turn(pixels, facts.orientation))
    return LoadedImage(pixels, facts.notes, hashlib.sha256(data).hexdigest(), path)


def orientation_of(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 (upright) for an image that has none, or an impossible one."""
    orientation = image.getexif().get(_ORIENTATION, 1)
    return orientation if orientation in range(1, 9) else 1


def why_cut_short(image: Image.Image, tail: bytes) -> str:
    """Return why a file cannot hold its whole image, "" for one that does.

    Only an image whose end mark is not in the tail is decoded: cameras append previews, films and depth maps, and some
    versions of OpenCV fill up with grey what is missing.

    Args:
        image: The image as Pillow opened it.
        tail: The file's last :data:`TAIL` bytes.
    """
    if _ENDS.get(image.format or "", b"") in tail:
        return ""
    try:
        image.load()
    except (OSError, ValueError, SyntaxError) as error:
        return str(error) or type(error).__name__
    return ""


@dataclass(frozen=True)
class _Facts:
    """What Pillow says of a file; nothing if it does not know the format."""

    mode: str = ""
    orientation: int = 1
    notes: tuple[str, ...] = ()


def _look(path: Path, data: bytes) -> _Facts:
    try:
        with Image.open(io.BytesIO(data)) as image:
            if reason := why_cut_short(image, data[-TAIL:]):
                raise DataError(f"{path}: {_damaged(reason)}")
            notes = _kind_notes(image.mode)
            if not image.mode.startswith("I") and _bits(data, image) == 16:
                notes.append(_DEEP)
            orientation = orientation_of(image)
            if orientation != 1:
                notes.append(_turned(orientation))
            pages = getattr(image, "n_frames", 1)
            if pages > 1 and image.format != "MPO":  # a camera's JPEG with a preview or a depth map behind it
                notes.append("several images in one file (pages or an animation): only the first is read")
            if image.format == "TIFF":  # OpenCV turns it upright in any case
                orientation = 1
            return _Facts(image.mode, orientation, tuple(notes))
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: more than 179 million pixels; cut it into tiles") from error
    except (OSError, ValueError, SyntaxError, TypeError):
        return _Facts()  # OpenCV may know it; if not, the reason is looked for then


def _bits(data: bytes, image: Image.Image) -> int:
    """Bits per channel; 8 where the format has no others that OpenCV reads."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(_BITS_PER_SAMPLE, (8,))
        return max(bits) if isinstance(bits, tuple) else bits
    return 8


def _kind_notes(mode: str) -> list[str]:
    if mode.startswith("I;16"):
        return [_DEEP]
    notes = [_KINDS[base] for base in (mode.rstrip("Aa"),) if base in _KINDS]
    return [*notes, _ALPHA] if mode in ("RGBA", "LA", "PA", "RGBa", "La") else notes


def _turned(orientation: int) -> str:
    words = "turned" if orientation in (3, 6, 8) else "mirrored" if orientation in (2, 4) else "turned and mirrored"
    return f"{words} as its EXIF says: boxes are in pixels of the upright image"


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply EXIF's orientation: rows and columns swapped from 5 on, then mirrored."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def _why_not(data: bytes, mode: str) -> str:
    """Why OpenCV gave no image."""
    if mode in ("I", "F"):
        return _no_range(mode)
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Image.UnidentifiedImageError:
        return "not an image that can be read (jpg, png, bmp, tif, webp); check what the file is"
    except (OSError, ValueError, SyntaxError) as error:
        return _damaged(error)
    return f"OpenCV cannot decode this kind of file (mode {mode}); save it as PNG or JPEG"


def _damaged(reason: object) -> str:
    return f"cannot be decoded, the file is damaged or cut short ({reason}); fetch it again"


def _no_range(mode: str) -> str:
    kind = "floating-point" if mode == "F" else "32-bit"
    return f"{kind} pixels have no fixed range to bring to 8 bit; save it as 8 or 16 bit"


class _Quiet:
    """Counts who wants quiet: the level is the process's, and a thread reads ahead."""

    lock = threading.Lock()
    wanted = 0
    level = 0


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV keeps its own warnings to itself: what they mean is said in our words."""
    with _Quiet.lock:
        if not _Quiet.wanted:
            _Quiet.level = cv2.getLogLevel()
            cv2.setLogLevel(0)
        _Quiet.wanted += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.wanted -= 1
            if not _Quiet.wanted:
                cv2.setLogLevel(_Quiet.level)
