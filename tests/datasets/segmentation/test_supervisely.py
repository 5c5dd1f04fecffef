import base64
import json
import zlib

import cv2
import numpy as np

from tests.datasets.segmentation.conftest import found, labels

META = {
    "classes": [
        {"title": "road", "shape": "polygon", "color": "#0A141E", "id": 77},
        {"title": "car", "shape": "bitmap", "color": "#C80000", "id": 78},
    ]
}


def bitmap(mask):
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[mask] = 255
    return base64.b64encode(zlib.compress(cv2.imencode(".png", pixels)[1].tobytes())).decode()


def annotated(maker, name, *objects, tags=()):
    folder, _, file = name.rpartition("/")
    maker.image(f"{folder}/img/{file}")
    content = {"size": {"height": 12, "width": 16}, "tags": [{"name": tag} for tag in tags], "objects": objects}
    maker.text(f"{folder}/ann/{file}.json", json.dumps(content))


def test_polygons_with_holes_and_bitmaps_are_drawn(maker):
    maker.text("meta.json", json.dumps(META))
    road = {
        "classTitle": "road",
        "geometryType": "polygon",
        "points": {"exterior": [[0, 0], [9, 0], [9, 11], [0, 11]], "interior": [[[3, 3], [6, 3], [6, 6], [3, 6]]]},
    }
    data = {"data": bitmap(np.ones((12, 3), bool)), "origin": [13, 0]}
    car = {"classTitle": "car", "geometryType": "bitmap", "bitmap": data}
    line = {"classTitle": "car", "geometryType": "line", "points": {"exterior": [[0, 0], [1, 1]], "interior": []}}
    annotated(maker, "ds0/a.png", road, car, line, tags=["train"])
    annotated(maker, "ds0/b.png", car, tags=["val"])
    data = maker.prepare()
    assert data.format == "supervisely" and data.classes == ("background", "road", "car")
    assert data.colours[1:] == ((10, 20, 30), (200, 0, 0))
    assert labels(data) == [1, 0, 2] and labels(data, "val") == [0, 2]
    assert data.read_labels(data.splits["train"][0])[4].tolist() == [1] * 4 + [0] * 2 + [1] * 4 + [0] * 3 + [2] * 3
    assert found(data)["object-without-outline"] == ("warning", 1)


def test_a_class_that_is_not_in_meta_is_said(maker):
    maker.text("meta.json", json.dumps(META))
    annotated(maker, "ds0/a.png", {"classTitle": "bus", "geometryType": "bitmap", "bitmap": {}})
    annotated(maker, "ds0/b.png")
    (finding,) = (f for f in maker.read().findings if f.code == "annotation-unreadable")
    assert "the class 'bus', which the class list lacks" in finding.examples[0].where
