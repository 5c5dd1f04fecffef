import base64
import io
import json

import numpy as np
from PIL import Image

from tests.datasets.segmentation.conftest import found, labels


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, **more}


def labelme(maker, stem, *shapes, folder=""):
    maker.image(f"{folder}{stem}.png")
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{stem}.png", "imageData": None}
    maker.text(f"{folder}{stem}.json", json.dumps(content))


def test_shapes_are_drawn_in_their_order(maker):
    png = io.BytesIO()
    Image.fromarray(np.full((12, 2), 255, np.uint8)).save(png, "PNG")
    mask = base64.b64encode(png.getvalue()).decode()
    labelme(
        maker,
        "a",
        shape("roof", [[0, 0], [8, 0], [8, 12], [0, 12]]),
        shape("car", [[4, 0], [10, 12]], "rectangle"),
        shape("__ignore__", [[14, 0], [15, 11]], "mask", mask=mask),
        shape("car", [[1, 1], [2, 2]], "line"),
        folder="train/",
    )
    labelme(maker, "b", shape("roof", [[8, 6], [8, 26]], "circle"), folder="val/")
    maker.image("val/c.png")
    data = maker.prepare()
    assert data.format == "labelme" and data.classes == ("background", "car", "roof")
    assert labels(data) == [2, 1, 0, 255] and (data.read_labels(data.splits["val"][0]) == 2).all()
    codes = found(data)
    assert codes["object-without-outline"] == codes["image-unannotated"] == ("warning", 1)
    maker.text("labels.txt", "__ignore__\n_background_\nroof\ncar\n")
    assert maker.prepare().classes == ("_background_", "roof", "car")


def test_what_cannot_be_read_is_said(maker):
    labelme(maker, "a", shape("roof", [[0, 0], [8, 0]]))
    labelme(maker, "b", shape("roof", [[0, 0], [8, 0], [8, 8]]))
    assert found(maker.read())["annotation-unreadable"] == ("error", 1)
