"""The command: a table on the screen, JSON, a status."""

import json

from densekit.datasets.detection import check_detection, inspect_detection
from densekit.datasets.detection.check import render

SEVERITIES = ["error", "warning", "note"]


def test_table_json_and_status(flawed, tmp_path, capsys):
    path = tmp_path / "out" / "check.json"
    found = check_detection(flawed, cache=None, json_path=path)
    shown = capsys.readouterr().out
    assert found.status == 2
    severities = [finding.severity for finding in found.findings]
    assert severities == sorted(severities, key=SEVERITIES.index)
    for words in (
        "COCO JSON: annotations/instances_train2017.json (train)",
        "train       3           1        2",
        "ERROR  annotations have a class that the class list does not have: 1",
        "e.g. annotations/instances_train2017.json: category_id 6, 1 times",
        "->   complete the class list",
        "NOTE  boxes over the border of their image, clipped to it: 1",
        "cannot be trained on as it is; 1 error, ",
    ):
        assert words in shown
    content = json.loads(path.read_text())
    assert (content["status"], content["errors"], content["format"]) == (2, 1, "coco")
    assert content["findings"][0]["code"] == "category-unknown"


def test_a_sound_data_set_passes(sound, capsys):
    assert check_detection(sound, cache=None).status == 0
    assert "sound; 0 errors" in capsys.readouterr().out


def test_lines_fit_the_screen(flawed):
    inspection = inspect_detection(flawed, cache=None)
    text = render(inspection, width=70)
    paths = str(flawed)
    assert max(len(line) for line in text.splitlines() if paths not in line) <= 70
