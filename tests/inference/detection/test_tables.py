"""What a run leaves for other programs and for a reader: COCO files, tables, the page."""

import base64
import contextlib
import csv
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from densekit.errors import DataError
from densekit.inference.detection import results_for
from densekit.tasks import predict


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_pycocotools_reads_the_coco_files(checkpoint, images, tmp_path):
    from pycocotools.coco import COCO

    out = tmp_path / "out"
    predict(checkpoint(), [images], out, device="cpu")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(out / "predictions_coco.json"))
        loaded = truth.loadRes(str(out / "coco_results.json"))
    assert [image["file_name"] for image in truth.dataset["images"]] == ["a.png", "b.png", "c.png"]
    assert [category["name"] for category in truth.dataset["categories"]] == ["red", "green", "blue"]
    assert len(truth.anns) == 5 and len(loaded.anns) == 8  # with the three that are unsure
    first = truth.anns[1]
    assert (first["image_id"], first["category_id"], first["bbox"], first["area"]) == (1, 1, [8, 8, 32, 16], 512)


def test_our_own_check_reads_what_a_labelling_tool_would(checkpoint, images, tmp_path):
    from densekit.datasets.detection import check_detection

    predict(checkpoint(), [images], tmp_path / "out", device="cpu")
    folder = tmp_path / "labelled"
    folder.mkdir()
    for path in images.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / "predictions_coco.json").write_bytes((tmp_path / "out" / "predictions_coco.json").read_bytes())
    found = check_detection(folder, json_path=str(tmp_path / "found.json"))
    assert found.status == 0, (tmp_path / "found.json").read_text()


def test_results_get_the_numbers_of_a_truth(checkpoint, images, tmp_path):
    out = tmp_path / "out"
    predict(checkpoint(), [images], out, device="cpu")
    truth = {
        "images": [
            {"id": 70, "file_name": "images/b.png"},
            {"id": 5, "file_name": "a.png"},
            {"id": 1, "file_name": "z"},
        ],
        "categories": [{"id": 9, "name": "blue"}, {"id": 4, "name": "red"}, {"id": 6, "name": "green"}],
    }
    found = results_for(truth, out)
    assert [(row["image_id"], row["category_id"]) for row in found] == [
        (5, 4),
        (5, 6),
        (5, 9),
        (70, 4),
        (70, 6),
        (70, 9),
    ]
    with pytest.raises(DataError, match=r"no category 'green'.*'greens'"):
        results_for({**truth, "categories": [{"id": 4, "name": "red"}, {"id": 6, "name": "greens"}]}, out)
    with pytest.raises(DataError, match="none of its images is in the truth"):
        results_for({**truth, "images": [{"id": 1, "file_name": "z.png"}]}, out)
    with pytest.raises(DataError, match=r"a\.png could be any of 2 images"):
        results_for({**truth, "images": [{"id": i, "file_name": f"{i}/a.png"} for i in (1, 2)]}, out)


def test_masks_are_written_drawn_and_measured(checkpoint, images, tmp_path):
    out = tmp_path / "out"
    predict(checkpoint(masks=True), [images], out, device="cpu")
    assert [r["mask_area"] for r in table(out / "detections.csv")] == ["512", "1024", "512", "1024", "512"]
    coco = json.loads((out / "predictions_coco.json").read_text())
    assert coco["annotations"][0]["segmentation"]["size"] == [64, 96] and coco["annotations"][0]["area"] == 512
    assert all("segmentation" in row for row in json.loads((out / "coco_results.json").read_text()))


def test_names_that_a_page_must_not_believe(checkpoint, image_file, tmp_path):
    image_file("images/<img src=x onerror=alert(1)> & co.png")
    predict(checkpoint(labels=["<b>red</b>", "green", "blue"]), [tmp_path / "images"], tmp_path / "out", device="cpu")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<img src=x" not in page and "<b>red" not in page
    assert 'href="pictures/%3Cimg' in page and page.count("data:image") == 1


def test_the_gallery_of_many_shows_some(checkpoint, images, tmp_path, monkeypatch):
    from densekit.visualization.shared import gallery

    monkeypatch.setattr(gallery, "SHOWN", 2)
    predict(checkpoint(), [images], tmp_path / "out", device="cpu")
    page = (tmp_path / "out" / "report.html").read_text()
    assert "2 of 3 files, evenly chosen" in page and page.count("data:image") == 2


def test_pictures_of_the_page_show_what_was_found(checkpoint, images, tmp_path):
    predict(checkpoint(), [images], tmp_path / "out", device="cpu")
    page = (tmp_path / "out" / "report.html").read_text()
    embedded = re.findall(r"data:image/\w+;base64,([^\"]+)", page)
    assert len(embedded) == 3
    with Image.open(io.BytesIO(base64.b64decode(embedded[0]))) as small:
        pixels = np.asarray(small.convert("RGB"), int)
    assert (np.abs(pixels - (255, 0, 0)).sum(axis=2) < 60).sum() > 1000  # the red rectangle
    assert "1 red" in page or "1 green" in page
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched
