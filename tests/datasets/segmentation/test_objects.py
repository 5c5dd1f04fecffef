import numpy as np
from PIL import Image

from tests.datasets.segmentation.conftest import labels


def test_a_mask_an_object_gives_two_classes_that_may_be_named(maker):
    for stem in ("x", "y"):
        maker.image(f"{stem}/images/{stem}.png")
        for number in range(2):
            mask = np.zeros((12, 16), np.uint8)
            mask[:, 8 * number : 8 * number + 4] = 255
            Image.fromarray(mask).save(maker.path(f"{stem}/masks/{number}.png"))
    data = maker.prepare()
    assert data.format == "objects" and data.classes == ("background", "object") and labels(data) == [1, 0, 1, 0]
    for classes in (["background", "nucleus"], ["nucleus"]):
        assert maker.prepare(classes=classes).classes == ("background", "nucleus")
