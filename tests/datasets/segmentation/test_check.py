"""The command: a table on the screen, JSON, a status."""

import json

import numpy as np

from densekit.datasets.segmentation import check_segmentation, inspect_segmentation
from densekit.datasets.segmentation.check import render

HOW = {"input_size": (160, 120), "crop": (96, 96)}


def test_table_json_and_status(maker, tmp_path, capsys):
    maker.scenes(4, folder="train/")
    maker.scenes(3, folder="val/", first=4, done=lambda labels: labels[:, ::-1])
    path = tmp_path / "out" / "check.json"
    found = check_segmentation(maker.root, cache=tmp_path / "cache", json_path=path, **HOW)
    shown = capsys.readouterr().out
    assert found.status == 2
    for words in (
        "split  images  without a class  pixels without a class",
        "train       4                0                       –",
        "class  train: pixels  train: images  val: pixels  val: images",
        "ERROR  masks do not lie on their image, of 7 that can be judged: 3",
        "e.g. val/images/4.png: it fits if mirrored left to right",
        "->   look at the pictures of the page (--html)",
        "cannot be trained on as it is; 1 error, ",
    ):
        assert words in shown
    content = json.loads(path.read_text())
    assert (content["status"], content["errors"], content["format"]) == (2, 1, "pairs")
    assert content["findings"][0]["code"] == "mask-shifted"
    pixels = sum(entry["pixels"]["train"] for entry in content["classes"])
    assert pixels == content["splits"]["train"]["pixels"] == 4 * 160 * 120


def test_a_sound_data_set_passes(maker, tmp_path, capsys):
    maker.scenes(6)
    assert check_segmentation(maker.root, cache=tmp_path / "cache", **HOW).status == 0
    assert "sound; 0 errors, 0 warnings" in capsys.readouterr().out


def test_errors_of_reading_are_told_with_the_others(maker, tmp_path):
    maker.scenes(4)
    maker.mask("masks/0.png", size=(40, 40))
    found = inspect_segmentation(maker.root, cache=tmp_path / "cache", **HOW)
    assert found.status == 2 and "mask-size" in {finding.code for finding in found.findings}


def test_many_classes_are_summed_up_and_lines_fit_the_screen(maker, tmp_path):
    maker.scenes(2, done=lambda labels: (np.indices(labels.shape)[1] // 5).astype(np.uint8))
    text = render(inspect_segmentation(maker.root, cache=tmp_path / "cache", **HOW), width=80)
    assert "and 7 more" in text
    paths = str(maker.root)
    assert max(len(line) for line in text.splitlines() if paths not in line) <= 80
