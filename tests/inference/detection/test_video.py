"""Videos frame by frame: every frame is predicted, drawn and listed, and a bad video costs that video."""

import csv
import json
import logging

import cv2
import numpy as np
import pytest
from PIL import Image

from densekit.errors import DataError, OutputError
from densekit.inference import video as video_module
from densekit.inference.detection.batch import DetectionRun
from densekit.inference.detection.predictor import DetectionPredictor
from densekit.inference.images import ImageCase
from densekit.inference.video import VideoReader, writing
from densekit.io.images import LoadedImage
from densekit.tasks import predict


def read(path):
    capture = cv2.VideoCapture(str(path))
    frames = []
    while True:
        there, frame = capture.read()
        if not there:
            break
        frames.append(frame)
    return frames, capture.get(cv2.CAP_PROP_FPS)


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_frame_is_predicted_drawn_and_listed(checkpoint, video, image_file, tmp_path):
    out = tmp_path / "out"
    result = predict(checkpoint(pipeline=[]), [video(frames=6, fps=10.0), image_file("still.png")], out, device="cpu")
    assert result.exit_status == 0, result.render()
    rows = table(out / "videos" / "film.csv")
    assert [r["frame"] for r in rows] == list("012345")
    assert [float(r["time_s"]) for r in rows] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5], abs=0.002)
    # The rectangle moves by 4 pixels a frame; JPEG blurs its edges.
    assert [float(r["x1"]) for r in rows] == pytest.approx([0, 4, 8, 12, 16, 20], abs=1.5)
    frames, fps = read(next(path for path in (out / "videos").iterdir() if path.suffix in (".mp4", ".avi")))
    assert len(frames) == 6 and fps == pytest.approx(10) and frames[0].shape == (64, 96, 3)
    assert (out / "videos" / "film.jpg").exists()
    everything = table(out / "detections.csv")
    assert [r["frame"] for r in everything] == [*"012345", "", ""]
    assert {r["image"] for r in everything} == {"film.avi", "still.png"}
    counts = {r["image"]: r for r in table(out / "counts.csv")}
    assert counts["film.avi"]["frames"] == "6" and counts["film.avi"]["red"] == "1"  # one object, six times
    coco = json.loads((out / "predictions_coco.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["still.png"]  # frames are no files
    page = (out / "report.html").read_text()
    assert "2 objects with a score from 0.3 on in the images, 1 in the frames of the videos that have most" in page
    assert "Those of every frame of a video count here" in page
    assert "6 frames, at most 1 red at once" in page and page.count("data:image") == 2
    entry = json.loads((out / "predictions.json").read_text())["cases"]["film"]
    assert entry["frames"] == 6 and sum(entry["scores"]) == 6


def test_frames_are_read_one_by_one(video):
    reader = VideoReader(video(frames=4))
    frames = iter(reader)
    first = next(frames)
    assert (first.number, first.seconds, first.pixels.shape) == (0, 0.0, (64, 96, 3))
    assert reader.frames == 4 and reader.fps == pytest.approx(10) and reader.notes == []
    assert [frame.number for frame in frames] == [1, 2, 3]
    reader.close()


def test_a_video_that_ends_early_is_predicted_so_far_and_said(checkpoint, video, tmp_path):
    path = video(frames=60)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = predict(checkpoint(), [path], tmp_path / "out", device="cpu")
    assert result.exit_status == 0
    assert any("of 60 frames: is the file cut short?" in note for note in result.rows[0].facts["notes"])
    assert 10 < result.rows[0].facts["frames"] < 60


@pytest.mark.parametrize(
    ("data", "words"), [(b"", "the file is empty"), (b"junk" * 500, "cannot be opened as a video.*ffmpeg -i bad.mp4")]
)
def test_what_is_no_video_is_refused(tmp_path, data, words):
    (tmp_path / "bad.mp4").write_bytes(data)
    with pytest.raises(DataError, match=words) as error:
        VideoReader(tmp_path / "bad.mp4")
    assert "\n" not in str(error.value)


def test_a_bad_video_costs_that_video(checkpoint, video, tmp_path):
    (tmp_path / "bad.mkv").write_bytes(b"junk" * 500)
    result = predict(checkpoint(), [tmp_path / "bad.mkv", video()], tmp_path / "out", device="cpu")
    assert result.exit_status == 3
    assert [row.status for row in result.rows] == ["failed", "ok"]


def test_a_network_that_fails_in_the_middle_leaves_nothing_of_the_video(
    checkpoint, detector, video, tmp_path, monkeypatch
):
    calls, honest = [], detector.test_step

    def fail(self, data):
        calls.append(data)
        if len(calls) == 3:
            raise RuntimeError("out of luck")
        return honest(self, data)

    monkeypatch.setattr(detector, "test_step", fail)
    result = predict(checkpoint(), [video()], tmp_path / "out", device="cpu")
    assert result.exit_status == 3 and "out of luck" in result.rows[0].reason
    assert not (tmp_path / "out" / "videos").exists()
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]


def test_ctrl_c_in_a_video_leaves_nothing_half_written(checkpoint, detector, video, image_file, tmp_path, monkeypatch):
    calls, honest = [], detector.test_step

    def interrupt(self, data):
        calls.append(data)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return honest(self, data)

    monkeypatch.setattr(detector, "test_step", interrupt)
    out = tmp_path / "out"
    result = predict(checkpoint(), [image_file("first.png"), video()], out, device="cpu")
    assert result.exit_status == 130
    assert [row.status for row in result.rows] == ["ok", "not run"]
    assert (out / "pictures" / "first.jpg").exists() and not (out / "videos").exists()
    assert not [p for p in out.iterdir() if p.name.startswith(".")]


def test_frames_of_odd_size_keep_their_last_row_and_column(tmp_path):
    frame = np.full((65, 97, 3), 200, np.uint8)
    with writing(tmp_path, "odd", 5.0, (97, 65)) as writer:
        for _ in range(3):
            writer.write(frame)
    frames, _ = read(writer.path)
    assert len(frames) == 3 and frames[0].shape == (66, 98, 3)
    assert np.abs(frames[0].astype(int) - 200).max() < 12


def test_the_format_is_what_opencv_can_write(tmp_path, monkeypatch):
    monkeypatch.setattr(video_module, "_h264_there", lambda: False)
    monkeypatch.setattr(video_module, "_FORMATS", (("zzzz", ".mp4"), ("MJPG", ".avi")))
    with writing(tmp_path, "a", 5.0, (64, 48)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["a.avi"]
    assert writer.notes == [
        "written as .avi of JPEG frames, as neither PyAV nor OpenCV can encode .mp4 here; pip install av"
    ]


def test_without_any_format_the_remedy_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(video_module, "_h264_there", lambda: False)
    monkeypatch.setattr(video_module, "_FORMATS", (("zzzz", ".mp4"),))
    with (
        pytest.raises(OutputError, match="no encoder of video is there; pip install av"),
        writing(tmp_path, "a", 5.0, (64, 48)),
    ):
        pass


def test_a_video_that_cannot_be_read_back_is_refused(tmp_path):
    with pytest.raises(OutputError, match="cannot be read back"), writing(tmp_path, "a", 5.0, (64, 48)) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
        writer._writer.release()
        writer.path.write_bytes(b"")


def test_progress_tells_the_frame(checkpoint, video, tmp_path, caplog, monkeypatch):
    from functools import partial

    from densekit.inference import image_run as batch

    monkeypatch.setattr(batch, "ManyProgress", partial(batch.ManyProgress, seconds=0.0))
    with caplog.at_level(logging.INFO, "densekit"):
        predict(checkpoint(), [video(frames=3)], tmp_path / "out", device="cpu")
    assert [m for m in caplog.messages if "frame" in m][:2] == ["[1/1] film: frame 1 of 3", "[1/1] film: frame 2 of 3"]


def test_the_tally_of_a_detector_is_one_of_frames(checkpoint, video, tmp_path):
    predictor = DetectionPredictor.from_checkpoint(checkpoint(pipeline=[]), device="cpu")
    case = ImageCase("film", (video(),))
    run = DetectionRun(predictor, None, tmp_path, [case], set())
    tally, frame = run.tally(case), next(iter(VideoReader(case.path)))
    found, drawn = predictor.predict(LoadedImage(frame.pixels)), Image.new("RGB", (96, 64))
    tally.add(frame, found, drawn)
    assert tally.last == tally.facts_of(found) == run.facts(found)
    assert (tally.frames, tally.poster, tally.most["red"]) == (1, drawn, 1)
