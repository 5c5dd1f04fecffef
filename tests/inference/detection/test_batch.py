"""Many images: a bad one costs only itself, a stopped run is continued, nothing is half-written or mixed up."""

import csv
import errno
import json
import logging
import re
from functools import partial

import pytest
import torch
from PIL import Image

from densekit.errors import CheckpointError, ConfigError, DataError, OutputError
from densekit.inference import image_run as batch_module
from densekit.inference.ledger import Ledger
from densekit.package import load_checkpoint
from densekit.tasks import predict

from ..conftest import ledger, odd_things, statuses


def files(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_pictures_detections_tables_report_and_ledger(checkpoint, images, tmp_path):
    out = tmp_path / "out"
    result = predict(checkpoint(), images, out, device="cpu")
    assert result.exit_status == 0 and statuses(result) == dict.fromkeys("abc", "ok")
    assert set(files(out)) == {
        *(f"pictures/{name}.jpg" for name in "abc"),
        *(f"detections/{name}.json" for name in "abc"),
        "predictions.json",
        "predictions_coco.json",
        "coco_results.json",
        "detections.csv",
        "counts.csv",
        "report.html",
    }
    rows = table(out / "detections.csv")
    assert [(r["image"], r["class"]) for r in rows] == [
        ("a.png", "red"),
        ("a.png", "green"),
        ("b.png", "red"),
        ("b.png", "green"),
        ("c.png", "red"),
    ]
    assert rows[0] == {
        "image": "a.png",
        "class": "red",
        "score": "1.0000",
        **{"x1": "8.00", "y1": "8.00", "x2": "40.00", "y2": "24.00", "width": "32.00", "height": "16.00"},
    }
    counts = table(out / "counts.csv")
    assert [(r["red"], r["green"], r["blue"], r["objects"]) for r in counts] == [("1", "1", "0", "2")] * 2 + [
        ("1", "0", "0", "1")
    ]
    with Image.open(out / "pictures" / "a.jpg") as drawn:
        assert drawn.size == (96, 64)
    described = json.loads((out / "detections" / "a.json").read_text())
    assert [d["class"] for d in described["detections"]] == ["red", "green", "blue"]  # also what is unsure
    facts = ledger(out)
    assert facts["status"] == "finished" and facts["inference"] == {"score_threshold": 0.3}
    case = facts["cases"]["a"]
    assert case["output_sha256"] == batch_module.sha256(out / "detections" / "a.json")
    assert case["inputs_sha256"] == [batch_module.sha256(images / "a.png")]
    assert case["counts"] == {"red": 1, "green": 1, "blue": 0} and sum(case["scores"]) == 3
    assert {"read", "predict", "draw", "write", "total"} <= set(case["seconds"])


def test_one_bad_image_of_three_costs_that_image(checkpoint, images, tmp_path, caplog):
    (images / "b.png").write_bytes((images / "b.png").read_bytes()[:80])
    with caplog.at_level(logging.INFO, "densekit"):
        result = predict(checkpoint(), [images], tmp_path / "out", device="cpu")
    assert result.exit_status == 3
    assert statuses(result) == {"a": "ok", "b": "failed", "c": "ok"}
    shown = caplog.messages[-1]
    assert "2 predicted, 1 failed" in shown and "b  " in shown and "fetch it again" in shown
    assert any(m.startswith("[2/3] b: failed") for m in caplog.messages)
    assert set(files(tmp_path / "out")) >= {"pictures/a.jpg", "pictures/c.jpg"}
    assert not (tmp_path / "out" / "pictures" / "b.jpg").exists()
    assert ledger(tmp_path / "out")["cases"]["b"]["status"] == "failed"
    row = table(tmp_path / "out" / "counts.csv")[1]
    assert row["status"] == "failed" and row["objects"] == "" and "fetch it again" in row["reason"]
    assert "fetch it again" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("suffix", [".png", ".mp4"])
def test_what_only_has_the_name_of_a_file_is_listed_as_failed(checkpoint, images, tmp_path, suffix):
    said = odd_things(images, suffix)
    (images / "link.png").symlink_to("a.png")
    (images / "hard.png").hardlink_to(images / "a.png")
    result = predict(checkpoint(), [images, images / "a.png"], tmp_path / "out", device="cpu")
    assert result.exit_status == 3
    assert {row.case.id for row in result.rows if row.status == "ok"} == {"a", "b", "c", "hard", "link"}
    reasons = {row.case.id: row.reason for row in result.rows if row.status == "failed"}
    assert reasons.keys() == said.keys()
    assert all(words in reasons[name] for name, words in said.items()), reasons


def test_all_bad_is_also_status_3(checkpoint, tmp_path):
    for name in ("a.jpg", "b.gif", "c.mp4"):
        (tmp_path / name).write_bytes(b"nothing")
    (tmp_path / "d.webp").write_bytes(b"")
    inputs = [tmp_path / name for name in ("a.jpg", "b.gif", "c.mp4", "d.webp")]
    result = predict(checkpoint(), inputs, tmp_path / "out", device="cpu")
    assert result.exit_status == 3 and set(statuses(result).values()) == {"failed"}
    reasons = {row.case.id: row.reason for row in result.rows}
    assert "not an image" in reasons["a"] and "GIF may be an animation" in reasons["b"]
    assert "cannot be opened as a video" in reasons["c"] and "empty" in reasons["d"]
    assert len(table(tmp_path / "out" / "counts.csv")) == 4
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("mat1 and mat2 shapes\ncannot be multiplied"), "RuntimeError: mat1 and mat2 shapes cannot"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "memory does not hold one image; give device=cpu"),
        (MemoryError(), "memory does not hold the image"),
        (OSError(errno.EIO, "Input/output error"), "OSError"),
        (ValueError("unforeseen"), "ValueError: unforeseen"),
    ],
    ids=["runtime", "device memory", "host memory", "os", "unforeseen"],
)
def test_errors_of_the_network_cost_one_image(checkpoint, network, images, tmp_path, error, reason):
    calls = []

    def fail_first(data):
        calls.append(data)
        if len(calls) == 1:
            raise error

    path = checkpoint(type=network("FailsOnce", fail_first))
    result = predict(path, [images], tmp_path / "out", device="cpu")
    assert result.exit_status == 3
    assert statuses(result) == {"a": "failed", "b": "ok", "c": "ok"}
    assert reason in result.rows[0].reason and "\n" not in result.rows[0].reason


def test_ctrl_c_keeps_what_is_finished_and_the_next_run_does_the_rest(checkpoint, network, images, tmp_path):
    calls, at = [], 2

    def interrupt(data):
        calls.append(data)
        if len(calls) == at:
            raise KeyboardInterrupt

    path, out = checkpoint(type=network("Interrupted", interrupt)), tmp_path / "out"
    result = predict(path, [images], out, device="cpu")
    assert result.exit_status == 130
    assert statuses(result) == {"a": "ok", "b": "not run", "c": "not run"}
    assert ledger(out)["status"] == "interrupted" and list(ledger(out)["cases"]) == ["a"]
    assert {name for name in files(out) if "/" in name} == {"pictures/a.jpg", "detections/a.json"}
    assert not [p for p in out.iterdir() if p.name.startswith(".")]
    assert "stopped after 1 of 3" in (out / "report.html").read_text()
    assert [r["status"] for r in table(out / "counts.csv")] == ["ok", "not run", "not run"]

    at = 10**9
    calls.clear()
    result = predict(path, [images], out, device="cpu")
    assert result.exit_status == 0 and statuses(result) == {"a": "kept", "b": "ok", "c": "ok"}
    assert len(calls) == 2
    assert {r["image"] for r in table(out / "detections.csv")} == {"a.png", "b.png", "c.png"}


def test_ctrl_c_while_a_result_is_entered_leaves_nothing_in_the_way(checkpoint, images, tmp_path, monkeypatch):
    record = Ledger.record

    def interrupted(self, case, **facts):
        if case.id == "b":
            raise KeyboardInterrupt
        record(self, case, **facts)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", interrupted)
        assert predict(checkpoint(), [images], out, device="cpu").exit_status == 130
    assert {name for name in files(out) if "/" in name} == {"pictures/a.jpg", "detections/a.json"}
    assert statuses(predict(checkpoint(), [images], out, device="cpu")) == {"a": "kept", "b": "ok", "c": "ok"}


def test_a_second_run_keeps_everything_and_changes_no_byte(checkpoint, images, video, tmp_path):
    out, inputs = tmp_path / "out", [images, video()]
    predict(checkpoint(), inputs, out, device="cpu")
    before = files(out)
    result = predict(checkpoint(), inputs, out, device="cpu")
    assert set(statuses(result).values()) == {"kept"}
    assert files(out) == before
    loaded = load_checkpoint(checkpoint())  # a network that is there: the tables are written again
    result = predict(loaded, inputs, out, device="cpu")
    assert set(statuses(result).values()) == {"kept"}
    ours = {name: data for name, data in before.items() if name not in ("predictions.json", "report.html")}
    ours["counts.csv"] = ours["counts.csv"].replace(b",ok,", b",kept,")
    assert {name: files(out)[name] for name in ours} == ours


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, out: (images / "a.png").write_bytes((images / "c.png").read_bytes()), "another file of that"),
        (lambda images, out: (out / "detections" / "a.json").write_bytes(b"edited by hand"), "changed since"),
        (lambda images, out: (out / "predictions.json").unlink(), "not made by densekit"),
    ],
    ids=["input", "output", "no ledger"],
)
def test_results_of_something_else_are_refused_or_overwritten(checkpoint, images, tmp_path, change, message):
    out, path = tmp_path / "out", checkpoint()
    predict(path, [images], out, device="cpu")
    change(images, out)
    before = files(out)
    with pytest.raises(OutputError, match=message) as error:
        predict(path, [images], out, device="cpu")
    assert "overwrite" in str(error.value)
    assert files(out) == before
    result = predict(path, [images], out, device="cpu", overwrite=True)
    assert result.exit_status == 0 and statuses(result)["a"] == "ok"


def test_another_threshold_is_another_result(checkpoint, images, tmp_path):
    out, path = tmp_path / "out", checkpoint()
    predict(path, [images], out, device="cpu")
    with pytest.raises(OutputError, match="other settings"):
        predict(path, [images], out, device="cpu", threshold=0.1)
    predict(path, [images], out, device="cpu", threshold=0.1, overwrite=True)
    assert "blue" in {r["class"] for r in table(out / "detections.csv")}


def test_a_result_of_which_a_file_is_missing_is_made_again(checkpoint, images, tmp_path):
    out = tmp_path / "out"
    predict(checkpoint(), [images], out, device="cpu")
    (out / "pictures" / "a.jpg").unlink()
    (out / "detections" / "b.json").unlink()
    result = predict(checkpoint(), [images], out, device="cpu")
    assert statuses(result) == {"a": "ok", "b": "ok", "c": "kept"}


@pytest.mark.parametrize("folder", ["pictures", "detections", "videos"])
def test_an_input_is_never_replaced(checkpoint, image_file, video, tmp_path, folder):
    given = video("data/videos/a.mp4") if folder == "videos" else image_file(f"data/{folder}/a.jpg")
    before = given.read_bytes()
    if folder == "detections":  # nothing of the same name is written there
        assert predict(checkpoint(), [given], tmp_path / "data", device="cpu").exit_status == 0
    else:
        with pytest.raises(OutputError, match="would replace this input"):
            predict(checkpoint(), [given], tmp_path / "data", device="cpu", overwrite=True)
    assert given.read_bytes() == before


@pytest.mark.parametrize("name", ["pictures/a.jpg", "detections/a.json", "report.html", "detections.csv"])
def test_files_of_others_in_the_folder_are_not_replaced(checkpoint, images, tmp_path, name):
    (tmp_path / "out" / name).parent.mkdir(parents=True)
    (tmp_path / "out" / name).write_text("mine")
    with pytest.raises(OutputError, match=re.escape(name)):
        predict(checkpoint(), [images], tmp_path / "out", device="cpu")
    assert (tmp_path / "out" / name).read_text() == "mine"


def test_two_files_of_one_name_do_not_overwrite_each_other(checkpoint, image_file, tmp_path):
    image_file("in/x/1.png", green=None)
    image_file("in/y/1.png", red=None)
    out = tmp_path / "out"
    predict(checkpoint(), [tmp_path / "in" / "x", tmp_path / "in" / "y"], out, device="cpu")
    assert {p.name for p in (out / "pictures").iterdir()} == {"x_1.jpg", "y_1.jpg"}
    assert [(r["image"], r["class"]) for r in table(out / "detections.csv")] == [
        ("x/1.png", "red"),
        ("y/1.png", "green"),
    ]


def test_disk_full_ends_the_run_with_one_line_and_leaves_no_debris(checkpoint, images, tmp_path, monkeypatch):
    honest, calls = batch_module.write_json_atomic, []

    def full(path, *arguments, **options):
        calls.append(path)
        if len(calls) == 2:
            error = OSError(errno.ENOSPC, "No space left on device")
            raise OutputError(f"{path}: cannot be written (No space left on device); free some space") from error
        honest(path, *arguments, **options)

    monkeypatch.setattr(batch_module, "write_json_atomic", full)
    with pytest.raises(OutputError, match="No space left"):
        predict(checkpoint(), [images], tmp_path / "out", device="cpu")
    assert len(calls) == 2  # the third is not even tried
    assert not [p for p in (tmp_path / "out").iterdir() if p.name.startswith(".")]
    assert ledger(tmp_path / "out")["status"].startswith("stopped")


def test_an_image_too_large_for_a_jpeg_is_drawn_smaller(checkpoint, image_file, tmp_path):
    image_file("images/wide.png", size=(65600, 8), red=(65500, 0, 65600, 8), green=None)
    whole = [{"type": "Resize", "scale": [65600, 8], "keep_ratio": True}]
    result = predict(checkpoint(pipeline=whole), [tmp_path / "images"], tmp_path / "out", device="cpu")
    assert statuses(result) == {"wide": "ok"}
    with Image.open(tmp_path / "out" / "pictures" / "wide.jpg") as drawn:
        assert drawn.size == (65500, 8)
    described = json.loads((tmp_path / "out" / "detections" / "wide.json").read_text())
    assert described["width"] == 65600 and described["detections"][0]["box"] == [65500, 0, 65600, 8]
    assert result.rows[0].facts["notes"] == ["larger than a JPEG can be: drawn scaled down to 65500 pixels"]


@pytest.mark.parametrize("disk", [False, True])
def test_only_an_error_of_the_disk_ends_the_run(checkpoint, images, tmp_path, monkeypatch, disk):
    honest = Image.Image.save

    def save(self, path, *arguments, **options):
        if getattr(path, "name", "") == "b.jpg":
            raise OSError(errno.ENOSPC, "No space left on device") if disk else OSError("broken data stream")
        honest(self, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    if disk:
        with pytest.raises(OutputError, match=r"out: cannot be written \(No space left"):
            predict(checkpoint(), [images], tmp_path / "out", device="cpu")
        return
    result = predict(checkpoint(), [images], tmp_path / "out", device="cpu")
    assert statuses(result) == {"a": "ok", "b": "failed", "c": "ok"}
    assert result.rows[1].reason == "OSError: broken data stream"


def test_results_come_to_the_folder_while_the_run_goes_on(checkpoint, network, images, tmp_path, monkeypatch):
    """Held back for a while only: a killed run keeps what was brought there."""
    monkeypatch.setattr(batch_module, "_COMMIT_SECONDS", 0.0)
    monkeypatch.setattr(batch_module, "_COMMIT_SHARE", 1e9)
    out, there = tmp_path / "out", []

    def look(_):
        entries = ledger(out)["cases"]
        there.append((sorted(entries), sorted(p.name for p in out.glob("detections/*"))))

    predict(checkpoint(type=network("Looking", look)), [images], out, device="cpu")
    assert there == [([], []), (["a"], ["a.json"]), (["a", "b"], ["a.json", "b.json"])]


def test_what_cannot_be_is_found_before_any_work(checkpoint, network, images, tmp_path, monkeypatch):
    path = checkpoint(type=network("Untouched", lambda _: pytest.fail("predicted")))
    (tmp_path / "empty").mkdir()
    out = tmp_path / "out"
    with pytest.raises(DataError, match="no image"):
        predict(path, [tmp_path / "empty"], out, device="cpu")
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        predict(tmp_path / "none.pth", [images], out, device="cpu")
    with pytest.raises(DataError, match=r"an image, but .* segments volumes"):
        predict(checkpoint("volume.pth", task="volume"), [images], out, device="cpu")
    with pytest.raises(ConfigError, match="from 0 to 1"):
        predict(path, [images], out, device="cpu", threshold=30)
    (tmp_path / "scan.nii.gz").write_bytes(b"x")
    with pytest.raises(DataError, match="a volume, but"):
        predict(path, [tmp_path / "scan.nii.gz"], out, device="cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA"):
        predict(path, [images], out, device="cuda")
    assert not out.exists()
    out.write_text("a file, not a folder")
    with pytest.raises(OutputError, match="out"):
        predict(path, [images], out, device="cpu")


def test_how_kinds_of_files_were_read_is_said_in_the_report_alone(checkpoint, image_file, scene, tmp_path, caplog):
    for name in "abc":
        image_file(f"images/{name}.png", scene().convert("RGBA"))
    with caplog.at_level(logging.INFO, "densekit"):
        predict(checkpoint(), [tmp_path / "images"], tmp_path / "out", device="cpu")
    assert not any("transparency is ignored" in message for message in caplog.messages)
    assert "3 files, a.png, b.png, c.png" in (tmp_path / "out" / "report.html").read_text()


def test_pages_that_are_left_out_are_said_on_the_terminal(checkpoint, scene, tmp_path, caplog):
    (tmp_path / "images").mkdir()
    scene().save(tmp_path / "images" / "pages.tiff", save_all=True, append_images=[scene()])
    with caplog.at_level(logging.INFO, "densekit"):
        result = predict(checkpoint(), [tmp_path / "images"], tmp_path / "out", device="cpu")
    assert "pages: caution: several images in one file" in caplog.messages[-1]
    assert list(result.notes) == ["pages"]


def test_a_threshold_below_the_networks_own_is_said(checkpoint, images, tmp_path, caplog):
    path = checkpoint(test_cfg={"score_thr": 0.25})
    predict(path, [images], tmp_path / "out", device="cpu", threshold=0.1)
    assert "gives nothing below a score of 0.25" in caplog.text


@pytest.mark.parametrize("network_cfg", [{"max_per_img": 2}, {"rpn": {"max_per_img": 1}, "rcnn": {"max_per_img": 2}}])
def test_images_that_reach_the_networks_most_detections_are_said(checkpoint, images, tmp_path, caplog, network_cfg):
    path, out = checkpoint(test_cfg=network_cfg), tmp_path / "out"
    predict(path, [images], out, device="cpu")
    assert "2 of 3 files: the network gives 2 detections of an image at most" in caplog.text
    noted = [name for name, case in ledger(out)["cases"].items() if any("at most" in note for note in case["notes"])]
    assert noted == ["a", "b"]
    assert "here there may be more (2 files, a.png, b.png)" in (out / "report.html").read_text()


def test_progress_says_how_long_it_will_take(checkpoint, images, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(batch_module, "ManyProgress", partial(batch_module.ManyProgress, seconds=0.0))
    with caplog.at_level(logging.INFO, "densekit"):
        predict(checkpoint(), [images], tmp_path / "out", device="cpu")
    lines = [m for m in caplog.messages if m.startswith("[")]
    assert [line.split(":")[0] for line in lines] == ["[1/3] a", "[2/3] b", "[3/3] c"]
    assert "2 to go, about" in lines[0] and "to go" not in lines[2]
