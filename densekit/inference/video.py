"""Videos frame by frame: read with OpenCV, written with what is drawn on them as H.264, which browsers play.

Never more than one frame is in memory, and the few that the encoder holds back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from densekit.errors import DataError, OutputError
from densekit.io.files import require_file, sha256
from densekit.io.images import quiet_opencv
from densekit.structures.notes import CAUTION

_ASSUMED_FPS = 25.0
_FORMATS = (("avc1", ".mp4"), ("mp4v", ".mp4"), ("MJPG", ".avi"))
"""Without PyAV, code and suffix of what OpenCV writes, the best first: H.264, which every browser plays; MPEG-4; single
JPEGs, which need no encoder."""
_WORDS = {
    "mp4v": "coded as MPEG-4, as neither PyAV nor OpenCV has an H.264 encoder here: VLC plays it, browsers do not; "
    "pip install av",
    "MJPG": "written as .avi of JPEG frames, as neither PyAV nor OpenCV can encode .mp4 here; pip install av",
}
_TICKS = 64
"""Steps of time in a frame's duration: frames that are not evenly spaced keep their times."""
_OFF_GRID = 0.002
"""Seconds by which rounding in a container moves a frame of an evenly spaced video."""


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        number: From 0.
        seconds: Since the beginning, as the file says it.
        pixels: ``(H, W, 3)`` uint8 in blue, green, red.
    """

    number: int
    seconds: float
    pixels: np.ndarray


class VideoReader:
    """Reads a video frame by frame.

    Args:
        path: The file.

    Attributes:
        fps: Frames per second.
        frames: Number of frames as the file's header says, which need not be right; 0 if it does not say.
        notes: What was assumed, or went wrong without ending the video.

    Raises:
        DataError: if it cannot be opened.
    """

    def __init__(self, path: Path):
        require_file(path)
        if not path.stat().st_size:
            raise DataError(f"{path}: the file is empty (0 bytes); fetch it again")
        self.path = path
        self.notes: list[str] = []
        with quiet_opencv():
            self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise DataError(
                f"{path}: cannot be opened as a video: damaged, cut short, or of a codec that OpenCV lacks; "
                f"convert it, e.g. ffmpeg -i {path.name} -c:v libx264 copy.mp4"
            )
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if math.isfinite(fps) and 0 < fps <= 1000 else _ASSUMED_FPS
        if self.fps != fps:
            self.notes.append(f"{CAUTION}does not say its frames per second: {_ASSUMED_FPS:g} assumed")
        count = self._capture.get(cv2.CAP_PROP_FRAME_COUNT)
        self.frames = int(count) if math.isfinite(count) and count > 0 else 0

    def __iter__(self) -> Iterator[Frame]:
        """Read on.

        Raises:
            DataError: if there is not a single frame.
        """
        number, seconds = 0, -1.0
        while True:
            with quiet_opencv():
                there, pixels = self._capture.read()
            if not there:
                break
            stamp = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # Some containers have no time stamps: then all are 0.
            seconds = stamp if stamp > seconds and (stamp > 0 or number == 0) else number / self.fps
            yield Frame(number, seconds, pixels)
            number += 1
        if not number:
            raise DataError(f"{self.path}: not one frame can be decoded; convert it with ffmpeg, or fetch it again")
        if number < 0.95 * self.frames:
            self.notes.append(f"{CAUTION}ends after {number} of {self.frames} frames: is the file cut short?")

    def sha256(self) -> str:
        """Hash of the file.

        Raises:
            DataError: if it cannot be read any more.
        """
        try:
            return sha256(self.path)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read any more ({error.strerror}); was it moved?") from error

    def close(self) -> None:
        """Let the file go."""
        self._capture.release()


class VideoWriter:
    """Writes an annotated video: H.264 by PyAV, else the best format that this OpenCV can write.

    Args:
        folder: Where to write.
        stem: File name without suffix.
        fps: Frames per second.
        size: Width and height of the frames.

    Attributes:
        path: The file.
        notes: What the reader should know of its format.

    Raises:
        OutputError: if the file cannot be written, or in none of the formats.
    """

    def __init__(self, folder: Path, stem: str, fps: float, size: tuple[int, int]):
        # Video codecs take even sizes only; OpenCV would cut a row or column off.
        self.size = size[0] + size[0] % 2, size[1] + size[1] % 2
        self.written = 0
        self.notes: list[str] = []
        if _h264_there():
            self.path = folder / f"{stem}.mp4"
            self._writer = _H264File(self.path, fps, self.size)
            return
        for code, suffix in _FORMATS:
            self.path = folder / f"{stem}{suffix}"
            with quiet_opencv():
                self._writer = cv2.VideoWriter(str(self.path), cv2.VideoWriter_fourcc(*code), fps, self.size)
            if self._writer.isOpened():
                self.notes = [_WORDS[code]] if code in _WORDS else []
                return
            self.path.unlink(missing_ok=True)
        raise OutputError(f"{stem}.mp4: no encoder of video is there; pip install av")

    def write(self, pixels: np.ndarray, seconds: float | None = None) -> None:
        """Append a frame.

        Args:
            pixels: ``(H, W, 3)`` in blue, green, red.
            seconds: When it is shown; None: evenly after the frame before. OpenCV spaces all frames evenly.

        Raises:
            OutputError: if it cannot be written.
        """
        below, right = self.size[1] - pixels.shape[0], self.size[0] - pixels.shape[1]
        if below or right:
            pixels = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_REPLICATE)
        if isinstance(self._writer, _H264File):
            self._writer.write(pixels, seconds)
        else:
            self._writer.write(pixels)
        self.written += 1

    def close(self) -> None:
        """Finish the file.

        Raises:
            OutputError: if it cannot be read back: OpenCV does not say when the disk is full.
        """
        self._writer.release()
        with quiet_opencv():
            capture = cv2.VideoCapture(str(self.path))
            whole = capture.isOpened() and capture.get(cv2.CAP_PROP_FRAME_COUNT) >= self.written
            whole = whole and capture.read()[0]
            capture.release()
        if not whole:
            raise OutputError(f"{self.path.name}: the written video cannot be read back; is the disk full?")

    def abandon(self) -> None:
        """Let the file go, whatever it holds.

        Raises:
            OutputError: if its last frames cannot be written.
        """
        self._writer.release()


def _h264_there() -> bool:
    """Whether PyAV is installed with an encoder of H.264."""
    try:
        import av

        av.codec.Codec("libx264", "w")
    except (ImportError, ValueError):  # PyAV's error for a codec that it lacks is a ValueError
        return False
    return True


class _H264File:
    """An .mp4 of H.264 that starts to play before it is loaded as a whole (its index stands in front).

    Args:
        path: The file.
        fps: Frames per second.
        size: Width and height, even.

    Raises:
        OutputError: if it cannot be written.
    """

    def __init__(self, path: Path, fps: float, size: tuple[int, int]):
        import av

        self.path, self.last = path, -1
        self.rate = Fraction(fps).limit_denominator(1001)
        with self._output():
            self.container = av.open(str(path), "w", options={"movflags": "+faststart"})
        stream = self.container.add_stream("libx264", rate=self.rate, options={"crf": "20", "preset": "veryfast"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        # Named, as players guess by the size otherwise: BT.601's matrix (which OpenCV reads by, whatever is named),
        # values of 16 to 235, primaries and curve of BT.709, which are sRGB's. The numbers are those of ITU-T H.273.
        context = stream.codec_context
        context.colorspace, context.color_range, context.color_primaries, context.color_trc = 6, 1, 1, 1
        context.time_base = 1 / (self.rate * _TICKS)
        self.stream = stream

    def write(self, pixels: np.ndarray, seconds: float | None) -> None:
        """Append a frame ``(H, W, 3)`` in blue, green, red, shown after ``seconds``."""
        from av import VideoFrame

        following = self.last // _TICKS * _TICKS + _TICKS if self.last >= 0 else 0
        frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="bgr24")
        frame = frame.reformat(format="yuv420p", dst_colorspace="ITU601")
        tick = following if seconds is None else self._tick(seconds)
        self.last = frame.pts = max(tick, self.last + 1)
        frame.time_base = 1 / (self.rate * _TICKS)
        with self._output():
            self.container.mux(self.stream.encode(frame))

    def _tick(self, seconds: float) -> int:
        """The step of time of a frame; an evenly spaced one's is a multiple of :data:`_TICKS`."""
        tick = round(seconds * self.rate * _TICKS)
        even = round(tick / _TICKS) * _TICKS
        return even if abs(tick - even) <= max(1, _OFF_GRID * self.rate * _TICKS) else tick

    def release(self) -> None:
        """Write what the encoder holds back, and the index."""
        container, self.container = self.container, None
        if container is None:
            return
        with self._output():
            try:
                container.mux(self.stream.encode(None))
            finally:
                container.close()

    @contextmanager
    def _output(self) -> Iterator[None]:
        import av

        try:
            yield
        except (OSError, av.FFmpegError) as error:
            raise OutputError(f"{self.path}: cannot be written ({error.strerror}); is the disk full?") from error


@contextmanager
def writing(folder: Path, stem: str, fps: float, size: tuple[int, int]) -> Iterator[VideoWriter]:
    """A :class:`VideoWriter` that is finished when the block ends well, and let go if it does not."""
    writer = VideoWriter(folder, stem, fps, size)
    try:
        yield writer
        writer.close()
    finally:
        writer.abandon()
