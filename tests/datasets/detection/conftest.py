import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.detection import read, recognize

SIZE = (64, 48)


class Maker:
    """Writes tiny data sets below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.images = 0

    def image(self, name: str, size: tuple[int, int] = SIZE, mode: str = "RGB", **saving) -> Path:
        """An image of noise, another one each time."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.images += 1
        noise = np.random.default_rng(self.images).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(path, **saving)
        return path

    def text(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def coco(self, name: str, images: list, objects: list, classes=("cat", "dog"), **changes) -> Path:
        """COCO JSON. images: names or dictionaries; objects: (image index, class index, box, further keys)."""
        content = {
            "images": [
                image if isinstance(image, dict) else {"id": n, "file_name": image, "width": SIZE[0], "height": SIZE[1]}
                for n, image in enumerate(images, start=1)
            ],
            "annotations": [
                {
                    "id": n,
                    "image_id": image + 1,
                    "category_id": label + 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                    **(more[0] if more else {}),
                }
                for n, (image, label, box, *more) in enumerate(objects, start=1)
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(classes, start=1)],
        }
        return self.text(name, json.dumps({**content, **changes}))

    def xml(self, name: str, objects: list, size: tuple[int, int] = SIZE, database: str = "Unknown") -> Path:
        """VOC XML. objects: (class, (xmin, ymin, xmax, ymax)[, difficult])."""
        items = "".join(
            f"<object><name>{label}</name><difficult>{difficult[0] if difficult else 0}</difficult><bndbox>"
            f"<xmin>{x1}</xmin><ymin>{y1}</ymin><xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
            for label, (x1, y1, x2, y2), *difficult in objects
        )
        stem = Path(name).stem
        return self.text(
            name,
            f"<annotation><filename>{stem}.jpg</filename><source><database>{database}</database></source>"
            f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>{items}</annotation>",
        )

    def two_splits(self, train: list, val: list, classes=("cat", "dog"), **changes) -> Path:
        """COCO's own layout with images 1.jpg to 3.jpg in train2017 and 4.jpg, 5.jpg in val2017."""
        for number in range(1, 6):
            self.image(f"{'train' if number < 4 else 'val'}2017/{number}.jpg")
        self.coco("annotations/instances_train2017.json", ["1.jpg", "2.jpg", "3.jpg"], train, classes, **changes)
        self.coco("annotations/instances_val2017.json", ["4.jpg", "5.jpg"], val, classes)
        return self.root


@pytest.fixture
def make(tmp_path):
    return Maker(tmp_path / "data")


@pytest.fixture
def load():
    """Read a data set: the data, and the findings of reading it by their code."""

    def load(path, format=None, **options):
        dataset = read(recognize(path, format=format), **options)
        return dataset, {finding.code: finding for finding in dataset.findings}

    return load


def boxes_of(dataset, split=None):
    """(file, class, [x, y, width, height]) of all objects, in order."""
    a = dataset.annotations
    return [
        (dataset.images[image].file, dataset.classes[label], [round(float(v), 3) for v in box])
        for image, label, box in zip(a.image_index, a.labels, a.xywh, strict=True)
        if split in (None, dataset.images[image].split)
    ]


@pytest.fixture(name="boxes_of")
def _boxes_of():
    return boxes_of


BOX = [4, 4, 10, 12]


@pytest.fixture
def flawed(make):
    """One error (an unknown category), two kinds of repair, a class without training images."""
    return make.two_splits(
        [(0, 0, BOX), (1, 0, [60, 40, 10, 10]), (1, 0, [5, 5, 0, 0]), (2, 5, BOX)],
        [(0, 1, BOX)],
        ("cat", "dog"),
    )


@pytest.fixture
def sound(make):
    return make.two_splits([(0, 0, BOX), (1, 1, BOX)], [(0, 0, BOX), (1, 1, BOX)])
