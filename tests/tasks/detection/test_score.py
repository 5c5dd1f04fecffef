"""A test of a detector: every image goes the way of prediction."""

import csv
import json
import shutil
from dataclasses import replace

import pytest
import torch
from PIL import Image

from densekit.cli import main
from densekit.errors import CheckpointError, ConfigError, DataError
from densekit.io import images
from densekit.package import load_checkpoint
from densekit.package.seen import LOOKS
from densekit.tasks import test as score
from densekit.tasks import train


@pytest.fixture(scope="module")
def last(boxes, detection_config, tmp_path_factory):
    """A checkpoint of a run that validated the same weights."""
    folder = tmp_path_factory.mktemp("run")
    train(detection_config(max_epochs=8, optimizer={"type": "AdamW", "lr": 2e-3}), data=boxes, work_dir=folder)
    return folder / "last.pth"


def test_a_test_gives_the_scores_of_the_validation(last, boxes, tmp_path):
    with (last.parent / "scalars.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["epoch"]) == ("val", "8")]
    validated = {row["name"]: float(row["value"]) for row in rows}
    tested = score(last, data=boxes, out=tmp_path).scores["bbox"]
    assert tested.AP > 0
    for name in ("AP", "AP50", "AP75", "AP_small"):
        assert getattr(tested, name) == pytest.approx(validated[name], rel=1e-5), name
    for name, row in tested.per_class.items():
        assert row["AP"] == pytest.approx(validated[f"AP/{name}"], rel=1e-5), name


@pytest.fixture
def divided_anew(boxes, tmp_path):
    """The data set, a training image among the images of its validation split, and another one as JPEG."""
    folder = shutil.copytree(boxes, tmp_path / "data")
    shutil.copy(folder / "train2017" / "train0.png", folder / "val2017" / "copy.png")
    with Image.open(folder / "train2017" / "train1.png") as image:
        image.save(folder / "val2017" / "anew.jpg", quality=80)
    file = folder / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["images"] += [{"id": 50 + n, "file_name": name, "width": 96, "height": 64}
                          for n, name in enumerate(("copy.png", "anew.jpg"))]  # fmt: skip
    file.write_text(json.dumps(content))
    return folder


def test_images_that_were_trained_on_are_said_in_log_table_and_report(last, boxes, divided_anew, tmp_path, caplog):
    assert score(last, data=boxes, out=tmp_path / "own").notes == []
    assert "training image" not in caplog.text and "trained on by" not in caplog.text
    table = score(last, data=divided_anew, out=tmp_path / "scores")
    exact = "1 of the 7 cases of val were trained on by"
    alike = "1 of the 6 images of val that can be compared look like a training image of"
    written = json.loads((tmp_path / "scores" / "scores.json").read_text())["notes"]
    page = (tmp_path / "scores" / "report.html").read_text()
    for text in (caplog.text, table.render(), "\n".join(written), page):
        assert exact in text and "copy.png" in text
        assert alike in text and "anew.jpg" in text


def test_a_checkpoint_that_does_not_say_what_its_images_look_like_tells_of_copies_alone(last, divided_anew, tmp_path):
    checkpoint = load_checkpoint(last)
    meta = {key: value for key, value in checkpoint.meta.items() if key != LOOKS}
    (line,) = score(replace(checkpoint, meta=meta), data=divided_anew, out=tmp_path / "scores").notes
    assert "were trained on by" in line


@pytest.mark.parametrize("kind", ["os.makedirs", "mmengine.utils.mkdir_or_exist"])
def test_nothing_that_a_checkpoint_names_is_run(last, boxes, tmp_path, kind):
    checkpoint = load_checkpoint(last)
    wrong = {"type": kind, "name" if kind == "os.makedirs" else "dir_name": str(tmp_path / "made")}
    pipeline = [wrong, *checkpoint.preprocessing["pipeline"]]
    checkpoint = replace(checkpoint, preprocessing={**checkpoint.preprocessing, "pipeline": pipeline})
    with pytest.raises(CheckpointError, match=f"pipeline.0: unknown transform '{kind}'"):
        score(checkpoint, data=boxes, out=tmp_path / "scores")
    assert not (tmp_path / "made").exists()


def test_weights_that_are_no_numbers_are_refused(last, boxes, tmp_path):
    checkpoint = load_checkpoint(last)
    name = "bbox_head.retina_cls.bias"
    state = {**checkpoint.state_dict, name: torch.full_like(checkpoint.state_dict[name], float("nan"))}
    with pytest.raises(CheckpointError, match=f"weights are NaN or infinite .first: {name}"):
        score(replace(checkpoint, state_dict=state), data=boxes, out=tmp_path)


def test_an_image_that_cannot_be_read_is_a_failure(last, boxes, tmp_path, monkeypatch, capsys):
    honest, whole = images.load_image, score(last, data=boxes, out=tmp_path / "whole")

    def gone(path, ranges):
        if path.name == "val1.png":
            raise DataError(f"{path}: cannot be read (it went away meanwhile)")
        return honest(path, ranges)

    monkeypatch.setattr(images, "load_image", gone)
    assert main(["test", str(last), "--data", str(boxes), "--out", str(tmp_path / "scores")]) == 3
    shown = capsys.readouterr().out
    line = next(line for line in shown.splitlines() if line.startswith("failed, its objects count as not found: "))
    assert line.count("val1.png") == 1 and "went away meanwhile" in line
    said = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert list(said["failures"]) == ["val2017/val1.png"]
    objects = {row["class"]: row["objects"] for row in whole.rows()}
    with (tmp_path / "scores" / "scores.csv").open() as file:
        assert {row["class"]: int(row["objects"]) for row in csv.DictReader(file)} == objects
    assert {row["image_id"] for row in json.loads((tmp_path / "scores" / "detections.json").read_text())} <= {
        0,
        2,
        3,
        4,
    }
    assert "went away meanwhile" in (tmp_path / "scores" / "report.html").read_text()


def test_nothing_can_be_read(last, boxes, tmp_path, monkeypatch):
    def gone(path, ranges):
        raise DataError(f"{path}: cannot be read")

    monkeypatch.setattr(images, "load_image", gone)
    table = score(last, data=boxes, out=tmp_path)
    assert len(table.failures) == 5 and table.scores["bbox"].AP == 0


def only(boxes, folder, split, change=lambda category: category):
    """The validation images under another split's name, without training images."""
    shutil.copytree(boxes / "val2017", folder / split)
    content = json.loads((boxes / "annotations" / "instances_val2017.json").read_text())
    content["categories"] = [change(dict(category)) for category in content["categories"]]
    content["categories"] = [category for category in content["categories"] if category["name"]]
    known = {category["id"] for category in content["categories"]}
    content["annotations"] = [a for a in content["annotations"] if a["category_id"] in known]
    (folder / "annotations").mkdir()
    (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("split", ["test", "val"])
def test_data_that_are_only_to_be_scored(last, boxes, tmp_path, split, capsys):
    data, expected = only(boxes, tmp_path / "data", split), score(last, data=boxes, out=tmp_path / "one")
    table = score(last, data=data, split=split, out=tmp_path / "two")
    assert table.scores["bbox"].AP == expected.scores["bbox"].AP > 0
    assert main(["check", str(data)]) == 0
    assert f"holds only {split}: it can be scored, not trained on" in capsys.readouterr().out
    training = ["train", "retinanet-fpn-r18_bccd", "--data", str(data), "--work-dir", str(tmp_path / "run")]
    assert main(training) == 2
    assert f"holds only {split}: it can be scored, not trained on" in capsys.readouterr().err


def test_classes_that_are_spelt_differently_are_the_same(last, boxes, tmp_path, caplog):
    def change(category):  # other ids and another order too
        return {**category, "name": {"sun": "Sun", "sea": " SEA", "grass": "grass"}[category["name"]]}

    whole = score(last, data=boxes, out=tmp_path / "one")
    table = score(last, data=only(boxes, tmp_path / "data", "val", change), out=tmp_path / "two")
    assert repr(table.scores["bbox"]) == repr(whole.scores["bbox"])  # NaN is not itself
    assert "class names are spelt differently, taken as one: 'Sun' is 'sun', 'SEA' is 'sea'" in caplog.text


def test_a_class_that_the_data_lack_gets_no_score(last, boxes, tmp_path, caplog):
    def change(category):
        return {**category, "name": category["name"] * (category["name"] != "sun")}

    whole = score(last, data=boxes, out=tmp_path / "one").scores["bbox"].per_class
    table = score(last, data=only(boxes, tmp_path / "data", "val", change), out=tmp_path / "two").scores["bbox"]
    assert all(table.per_class[name]["AP"] == whole[name]["AP"] for name in ("grass", "sea"))
    assert table.per_class["sun"]["objects"] == 0
    assert "has no class 'sun', which gets no score" in caplog.text
    rows = json.loads((tmp_path / "two" / "detections.json").read_text())
    assert {row["category_id"] for row in rows} <= {1, 2, 3}


def test_the_fold_of_a_run_is_scored(boxes, detection_config, tmp_path, caplog, capsys):
    files = sorted(path.name for path in boxes.rglob("*.png"))
    table = tmp_path / "patients.csv"
    table.write_text("file,patient,age\n" + "".join(f"{name},p{n // 2},{n}\n" for n, name in enumerate(files[:-1])))
    config = detection_config(max_epochs=1)
    run = train(config, data=boxes, work_dir=tmp_path / "run", folds=3, fold=1, table=table)
    said = capsys.readouterr().out
    assert "fold 1 of 3 (from 0)" in said and "by patient" in said and "meta-information of 17 images: age" in said
    last = tmp_path / "run" / "last.pth"
    carried = load_checkpoint(last).meta["settings"]
    assert (carried["folds"], carried["fold"], carried["table"]) == (3, 1, str(table))
    assert run.train_dataloader.dataset[0]["data_samples"].metainfo["meta"].shape == (1,)
    score(last, out=tmp_path / "own")
    assert "were trained on" not in caplog.text
    score(last, out=tmp_path / "other", fold=0)
    assert "were trained on" in caplog.text
    with pytest.raises(ConfigError, match="fold=3: of folds=3 there are 0 to 2"):
        score(last, fold=3)


def test_a_fold_is_one_of_a_number(boxes, detection_config):
    with pytest.raises(ConfigError, match="folds=None, fold=1: give how many there are and which one"):
        train(detection_config(), data=boxes, fold=1)
