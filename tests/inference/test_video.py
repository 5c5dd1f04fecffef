"""Videos are written as browsers play them, frame for frame and second for second; without PyAV as OpenCV can."""

import sys

import av
import cv2
import numpy as np
import pytest

from densekit.errors import OutputError
from densekit.inference import video as video_module
from densekit.inference.video import VideoReader, writing


def scene(number, size=(96, 64)):
    """Slopes of blue and green, and a red rectangle that moves."""
    x, y = np.meshgrid(np.linspace(0, 255, size[0]), np.linspace(0, 255, size[1]))
    frame = np.stack([x, y, np.full_like(x, 128)], axis=-1).astype(np.uint8)
    frame[16:40, 4 * number : 4 * number + 24] = (0, 0, 255)
    return frame


def write(folder, times, fps, size=(96, 64)):
    with writing(folder, "a", fps, size) as writer:
        for number, seconds in enumerate(times):
            writer.write(scene(number % 10, size), seconds)
    return writer


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(frame.time, frame.to_ndarray(format="bgr24")) for frame in container.decode(stream)]
        return stream, frames, float(stream.duration * stream.time_base)


def psnr(one, other):
    return 10 * np.log10(255**2 / ((one.astype(float) - other) ** 2).mean())


@pytest.mark.parametrize("fps", [0.5, 10, 24000 / 1001, 25, 30000 / 1001, 1000])
def test_it_is_h264_as_browsers_play_it(tmp_path, fps):
    # A container rounds times to milliseconds: the spacing stays even.
    writer = write(tmp_path, [round(number / fps, 3) if fps < 100 else number / fps for number in range(12)], fps)
    assert writer.path.name == "a.mp4" and writer.notes == []
    stream, frames, seconds = decoded(writer.path)
    assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
    assert len(frames) == 12 and seconds == pytest.approx(12 / fps, abs=0.001)  # .mp4 says it so
    assert float(stream.average_rate) == pytest.approx(fps, rel=1e-6)
    assert psnr(frames[0][1], scene(0)) > 30
    first = next(iter(VideoReader(writer.path))).pixels
    assert psnr(first, scene(0)) > 30  # whoever does not read which colours are meant sees the same ones
    data = writer.path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # it starts before it is loaded


def test_unevenly_spaced_frames_keep_their_times(tmp_path):
    times = [0, 0.1, 0.15, 0.4, 0.41, 1.0, 1.013]
    writer = write(tmp_path, times, 25)
    _, frames, _ = decoded(writer.path)
    assert [time for time, _ in frames] == pytest.approx(times, abs=0.001)
    assert [frame.seconds for frame in VideoReader(writer.path)] == pytest.approx(times, abs=0.001)


@pytest.mark.parametrize("times", [[0, 0, 0], [0.0, 0.4, 0.2], [None, None, None]])
def test_times_that_do_not_rise_cost_no_frame(tmp_path, times):
    _, frames, _ = decoded(write(tmp_path, times, 10).path)
    assert len(frames) == 3 and (np.diff([time for time, _ in frames]) > 0).all()


@pytest.mark.parametrize("size", [(97, 65), (96, 65), (1, 1)])
def test_odd_sizes_are_filled_up_with_their_last_row_and_column(tmp_path, size):
    frame = np.full((size[1], size[0], 3), 200, np.uint8)
    with writing(tmp_path, "a", 5.0, size) as writer:
        writer.write(frame)
    _, [(_, pixels)], _ = decoded(writer.path)
    assert pixels.shape[:2] == (size[1] + size[1] % 2, size[0] + size[0] % 2)
    assert np.abs(pixels.astype(int) - 200).max() < 12


@pytest.mark.parametrize("missing", ["PyAV", "its encoder"])
def test_without_an_encoder_opencv_writes_and_it_is_said(tmp_path, monkeypatch, missing):
    if missing == "PyAV":
        monkeypatch.setitem(sys.modules, "av", None)
    else:
        monkeypatch.setattr(av.codec, "Codec", lambda *_: (_ for _ in ()).throw(ValueError("no such codec")))
    monkeypatch.setattr(video_module, "_FORMATS", video_module._FORMATS[1:])  # no system's own H.264
    writer = write(tmp_path, [0, 0.1, 0.2], 10)
    assert len(writer.notes) == 1 and writer.notes[0].endswith("pip install av")
    assert [frame.pixels.shape for frame in VideoReader(writer.path)] == [(64, 96, 3)] * 3


def test_a_folder_that_is_gone_is_said_in_one_line(tmp_path):
    with pytest.raises(OutputError, match=r"a\.mp4: cannot be written \(No such file"):
        write(tmp_path / "none", [0], 10)


def test_what_is_abandoned_is_no_error(tmp_path):
    with pytest.raises(KeyError), writing(tmp_path, "a", 10, (96, 64)) as writer:
        writer.write(scene(0))
        raise KeyError
    with writing(tmp_path, "b", 10, (96, 64)) as writer:
        writer.write(scene(0))
    assert cv2.VideoCapture(str(tmp_path / "b.mp4")).isOpened()
