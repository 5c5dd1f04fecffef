"""Reading one image, to train on or to predict: upright, three channels of 8 bit."""

from __future__ import annotations

import hashlib
import io
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from densekit.errors import DataError, kind_of
from densekit.io.depth import Ranges, to_8_bit
from densekit.io.files import require_file
from densekit.structures.notes import CAUTION

TAIL = 4096
"""Bytes at the end of a file in which its image's end mark is looked for."""

_ORIENTATION = 0x0112
_BITS_PER_SAMPLE, _PHOTOMETRIC, _SAMPLES_PER_PIXEL, _PLANAR = 258, 262, 277, 284
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}
_KINDS = {
    "1": "black and white: read as three equal channels of 0 and 255",
    "L": "grey: read as three equal channels",
    "P": "colours by palette: read as RGB",
    "CMYK": "CMYK: converted to RGB",
}
_ALPHA = "transparency is ignored: the colours stored beneath it are used"


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


def as_image(image: LoadedImage | np.ndarray | Image.Image | str | Path, ranges: Ranges | None = None) -> LoadedImage:
    """Bring whatever is given to the form that is predicted.

    Args:
        image: A file; an array ``(H, W, 3)`` in RGB or ``(H, W)`` in grey, uint8; or Pillow's image.
        ranges: Of the training; see :func:`~densekit.io.depth.to_8_bit`.

    Raises:
        DataError: if it is no image, or one that cannot be read.
    """
    if isinstance(image, LoadedImage):
        return image
    if isinstance(image, (str, Path)):
        return load_image(Path(image), ranges)
    if isinstance(image, Image.Image):
        return _of_pillow(image, ranges)
    if not isinstance(image, np.ndarray):
        raise DataError(f"image: {kind_of(image)} given, expected a path, an (H, W, 3) uint8 array or a PIL image")
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


def _of_pillow(image: Image.Image, ranges: Ranges | None) -> LoadedImage:
    name = getattr(image, "filename", None)
    if name and is_deep(image) and image.tile:  # Pillow would keep 8 bits of each colour
        return load_image(Path(name), ranges)
    notes, orientation = _kind_notes(image.mode), orientation_of(image)
    if orientation != 1:
        notes.append(_turned(orientation))
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        try:
            values, note = to_8_bit(np.asarray(image), ranges)
        except DataError as error:
            raise DataError(f"image: {error}") from error
        image = Image.fromarray(values)
        notes.append(note)
    pixels = np.ascontiguousarray(np.asarray(image.convert("RGB"))[..., ::-1])
    return LoadedImage(pixels, tuple(notes), path=Path(name) if name else None)


def load_image(path: Path, ranges: Ranges | None = None) -> LoadedImage:
    """Read an image file.

    OpenCV decodes, as MMDetection's loader has it: the same file of 8 bits gives the same pixels. EXIF's orientation is
    applied for all formats alike. Deeper images are brought to 8 bits by the range of the training's.

    Args:
        path: The file.
        ranges: Of the training; see :func:`~densekit.io.depth.to_8_bit`.

    Raises:
        DataError: if the file is missing, empty, cut short, no image, or one whose values cannot be brought to 8 bit.
    """
    data = _bytes(path)
    facts = _look(path, data)
    pixels, notes = _decoded(path, data, facts), facts.notes
    if pixels.dtype != np.uint8:
        try:
            pixels, note = to_8_bit(pixels, ranges)
        except DataError as error:
            raise DataError(f"{path}: {error}") from error
        pixels = 255 - pixels if facts.inverted else pixels
        pixels, notes = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2), (*notes, note)
    return LoadedImage(np.ascontiguousarray(pixels), notes, hashlib.sha256(data).hexdigest(), path)


def read_values(path: Path) -> np.ndarray:
    """Read the pixels of an image as they are stored, upright.

    Returns:
        ``(H, W, 3)`` in blue, green, red; ``(H, W)`` for a grey image of more than 8 bits.

    Raises:
        DataError: if the file cannot be read.
    """
    data = _bytes(path)
    return _decoded(path, data, _look(path, data))


def _bytes(path: Path) -> bytes:
    require_file(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error
    if not data:
        raise DataError(f"{path}: the file is empty (0 bytes); fetch it again")
    return data


def _decoded(path: Path, data: bytes, facts: _Facts) -> np.ndarray:
    """The pixels, upright; of 8 bits with three channels, else of the type in the file, grey or with three channels."""
    deep = None
    if facts.deep is not False:
        if facts.planes:
            raise DataError(
                f"{path}: more than 8 bits per channel, with the channels in planes of their own, is not read; save it "
                f"with interleaved channels"
            )
        # Only so does it leave the values alone: it makes up a fourth of them otherwise, and gives no grey floats.
        deep = _opencv(data, cv2.IMREAD_UNCHANGED)
        deep = _of_32_bit(data, facts) if deep is None else deep
    if deep is not None and deep.dtype.itemsize > 1:
        pixels = deep[..., :3] if deep.ndim == 3 else deep
    else:
        # Oriented below: whether OpenCV does it itself depends on the format and on its version.
        pixels = _opencv(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise DataError(f"{path}: {_why_not(data, facts.mode)}")
    return _turn(pixels, facts.orientation)


def _opencv(data: bytes, flags: int) -> np.ndarray | None:
    with quiet_opencv():
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def _of_32_bit(data: bytes, facts: _Facts) -> np.ndarray | None:
    """Grey of 32 bits without a sign, which OpenCV does not read and Pillow reads with a sign."""
    if facts.mode != "I":
        return None
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(ImageOps.exif_transpose(image)).view(np.uint32)
    except (OSError, ValueError, SyntaxError):
        return None


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
    """What Pillow says of a file; nothing if it does not know the format.

    Attributes:
        mode: Pillow's mode.
        orientation: That has still to be applied to what OpenCV gives.
        notes: What to say of it.
        deep: Whether it has more than 8 bits per channel; None if that is not known.
        planes: Whether the channels are stored one after the other.
        inverted: Whether 0 is white.
    """

    mode: str = ""
    orientation: int = 1
    notes: tuple[str, ...] = ()
    deep: bool | None = None
    planes: bool = False
    inverted: bool = False


def _look(path: Path, data: bytes) -> _Facts:
    tags = _tiff_tags(data)
    planes, inverted = tags.get(_PLANAR) == 2, tags.get(_PHOTOMETRIC) == 0
    try:
        with Image.open(io.BytesIO(data)) as image:
            if reason := why_cut_short(image, data[-TAIL:]):
                raise DataError(f"{path}: {_damaged(reason)}")
            deep, notes = is_deep(image), _kind_notes(image.mode)
            orientation = orientation_of(image)
            if orientation != 1:
                notes.append(_turned(orientation))
            pages = getattr(image, "n_frames", 1)
            if pages > 1 and image.format != "MPO":  # a camera's JPEG with a preview or a depth map behind it
                notes.append(f"{CAUTION}several images in one file (pages or an animation): only the first is read")
            if image.format == "TIFF":  # OpenCV turns it upright in any case
                orientation = 1
            return _Facts(image.mode, orientation, tuple(notes), deep, planes, inverted)
    except Image.DecompressionBombError as error:
        raise DataError(f"{path}: more than 179 million pixels; cut it into tiles") from error
    except (OSError, ValueError, SyntaxError, TypeError):
        # OpenCV may know it; if not, the reason is looked for then
        return _Facts(planes=planes, inverted=inverted)


def is_deep(image: Image.Image) -> bool:
    """Whether a file that Pillow has opened, not loaded, has more than 8 bits per channel.

    Of colours Pillow keeps 8 without a word.
    """
    if image.format == "TIFF":
        return np.max(image.tag_v2.get(_BITS_PER_SAMPLE, 8)) > 8
    return image.mode.startswith("I") or any(";16" in str(tile.args) for tile in image.tile)


def _tiff_tags(data: bytes) -> Mapping[int, Any]:
    """The tags of a TIFF's first image, also of one that Pillow does not read; nothing for another file."""
    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return {}
    stream = io.BytesIO(data)
    try:
        tags = ImageFileDirectory_v2(stream.read(16 if data[2] == 43 or data[3] == 43 else 8))
        stream.seek(tags.next)
        tags.load(stream)
        return dict(tags)
    except (OSError, ValueError, SyntaxError, TypeError, struct.error):
        return {}  # what is wrong with it is said where it is decoded


def _kind_notes(mode: str) -> list[str]:
    notes = [_KINDS[base] for base in (mode.rstrip("Aa"),) if base in _KINDS]
    return [*notes, _ALPHA] if mode in ("RGBA", "LA", "PA", "RGBa", "La") else notes


def _turned(orientation: int) -> str:
    words = "turned" if orientation in (3, 6, 8) else "mirrored" if orientation in (2, 4) else "turned and mirrored"
    return f"{words} as its EXIF says: boxes are in pixels of the upright image"


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply EXIF's orientation: rows and columns swapped from 5 on, then mirrored."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def _why_not(data: bytes, mode: str) -> str:
    """Why OpenCV gave no image."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Image.UnidentifiedImageError:
        tags = _tiff_tags(data)
        if (channels := tags.get(_SAMPLES_PER_PIXEL, 1)) > 4:
            return f"has {channels} channels, expected 1 to 4; a network for so many has to be trained on such images"
        if (bits := tags.get(_BITS_PER_SAMPLE)) is not None:
            return f"a TIFF of this kind, {np.max(bits)} bits per channel, is not read; save it with 8 or 16 bits"
        return "not an image that can be read (jpg, png, bmp, tif, webp); check what the file is"
    except (OSError, ValueError, SyntaxError) as error:
        return _damaged(error)
    return f"OpenCV cannot decode this kind of file (mode {mode}); save it as PNG or JPEG"


def _damaged(reason: object) -> str:
    return f"cannot be decoded, the file is damaged or cut short ({reason}); fetch it again"


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
