"""A test of a detector: every image goes the way of prediction."""

import csv
import json
from dataclasses import replace

import pytest
import torch

from densekit.cli import main
from densekit.errors import CheckpointError, ConfigError, DataError
from densekit.inference import image_run
from densekit.package import load_checkpoint
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
    honest, whole = image_run.load_image, score(last, data=boxes, out=tmp_path / "whole")

    def gone(path):
        if path.name == "val1.png":
            raise DataError(f"{path}: cannot be read (it went away meanwhile)")
        return honest(path)

    monkeypatch.setattr(image_run, "load_image", gone)
    assert main(["test", str(last), "--data", str(boxes), "--out", str(tmp_path / "scores")]) == 3
    shown = capsys.readouterr().out
    assert "failed, its objects count as not found: val2017/val1.png: " in shown and "went away meanwhile" in shown
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
    def gone(path):
        raise DataError(f"{path}: cannot be read")

    monkeypatch.setattr(image_run, "load_image", gone)
    table = score(last, data=boxes, out=tmp_path)
    assert len(table.failures) == 5 and table.scores["bbox"].AP == 0


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
