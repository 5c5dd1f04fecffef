"""The page about a data set: what is wrong, with pictures, and nothing that a name could smuggle in."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.detection import inspect_detection
from densekit.visualization.detection.dataset_report import write_dataset_report

BOX = [4, 4, 10, 12]


@pytest.fixture
def page(tmp_path):
    """The page about a data set of one image of 64 x 48 pixels."""

    def write(name, objects, classes):
        folder = tmp_path / "data"
        folder.mkdir()
        Image.new("RGB", (64, 48), (60, 90, 120)).save(folder / name)
        rows = [
            {"id": n, "image_id": 1, "category_id": label, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
            for n, (label, box) in enumerate(objects, start=1)
        ]
        content = {
            "images": [{"id": 1, "file_name": name, "width": 64, "height": 48}],
            "annotations": rows,
            "categories": [{"id": n, "name": text} for n, text in enumerate(classes, start=1)],
        }
        (folder / "result.json").write_text(json.dumps(content))
        write_dataset_report(tmp_path / "out" / "check.html", inspect_detection(folder, cache=None))
        return (tmp_path / "out" / "check.html").read_text()

    return write


def test_errors_and_repairs_are_shown_with_pictures(page):
    html = page("a.jpg", [(1, BOX), (1, [60, 40, 10, 10]), (1, [5, 5, 0, 0]), (9, BOX)], ("cat",))
    assert "Errors: these stop a training (1)" in html
    assert len(re.findall(r'src="data:image/', html)) >= 3  # two repairs, the image with its labels


def test_names_are_escaped(page):
    html = page("<b>x.jpg", [(1, [5, 5, 0, 0]), (1, BOX)], ("<script>alert(1)</script>",))
    assert "<script>alert" not in html
    assert "<b>x" not in html


def test_boxes_in_another_convention_are_shown_in_both_readings(page):
    corners = [[30, 20, 50, 40], [10, 10, 60, 45], [40, 5, 63, 25], [2, 2, 8, 9]]
    html = page("a.png", [(1, box) for box in corners], ("cat",))
    assert "red: as it stands, yellow: as it is likely meant" in html
    pictures = re.findall(r'src="data:image/webp;base64,([^"]+)"', html)[:3]
    for picture in pictures:
        seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), dtype=int)
        red, green, blue = np.moveaxis(seen, -1, 0)
        assert ((red > 180) & (green < 120)).any()  # as it stands
        assert ((red > 180) & (green > 180) & (blue < 150)).any()  # as it is likely meant
    assert len(pictures) == 3
