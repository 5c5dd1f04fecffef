from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from densekit.datasets.segmentation import prepare_segmentation, read_segmentation

SIZE = (16, 12)


def scene(seed: int, size: tuple[int, int] = (160, 120)) -> tuple[np.ndarray, np.ndarray]:
    """An image of rectangles of two classes on a third, each class in its colour with noise; and its labels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((size[1], size[0]), np.uint8)
    for n in range(8):
        x, y = rng.integers(0, size[0] - 30), rng.integers(0, size[1] - 30)
        labels[y : y + rng.integers(12, 40), x : x + rng.integers(12, 40)] = 1 + n % 2
    colours = rng.permutation(np.array([(60, 60, 70), (120, 150, 90), (200, 180, 210)]))
    image = colours[labels] + rng.normal(0, 12, (*labels.shape, 3))
    return image.clip(0, 255).astype(np.uint8), labels


class Maker:
    """Writes tiny data sets below a folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.images = root, 0

    def path(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def image(self, *names: str, size: tuple[int, int] = SIZE, mode: str = "RGB") -> None:
        """Images of noise, another one each time."""
        for name in names:
            self.images += 1
            noise = np.random.default_rng(self.images).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(noise).convert(mode).save(self.path(name))

    def mask(self, *names: str, values=(0, 1), size: tuple[int, int] = SIZE, dtype=np.uint8) -> None:
        """Index masks with stripes of some values; colours if the values are triples."""
        for name in names:
            columns = np.array([values[x * len(values) // size[0]] for x in range(size[0])], dtype)
            Image.fromarray(np.repeat(columns[None], size[1], axis=0)).save(self.path(name))

    def pairs(self, *stems: str, folder: str = "", values=(0, 1), **more) -> None:
        """``images/<stem>.png`` and ``masks/<stem>.png``."""
        for stem in stems:
            self.image(f"{folder}images/{stem}.png")
            self.mask(f"{folder}masks/{stem}.png", values=values, **more)

    def scenes(
        self, number: int, *, done=lambda labels: labels, first: int = 0, folder: str = "", channels: int = 3
    ) -> None:
        """Pairs of :func:`scene`; ``done`` is done to each mask. Other than three channels are pages of 16 bits."""
        for seed in range(first, first + number):
            image, labels = scene(seed)
            if channels == 3:
                Image.fromarray(image).save(self.path(f"{folder}images/{seed}.png"))
            else:
                pages = [Image.fromarray(image[..., n % 3] * np.uint16(200)) for n in range(channels)]
                path = self.path(f"{folder}images/{seed}.tif")
                pages[0].save(path, save_all=True, append_images=pages[1:])
            Image.fromarray(np.ascontiguousarray(done(labels))).save(self.path(f"{folder}masks/{seed}.png"))

    def text(self, name: str, text: str) -> Path:
        path = self.path(name)
        path.write_text(text)
        return path

    def prepare(self, **more):
        return prepare_segmentation(self.root, cache=self.root.parent / "cache", **more)

    def read(self, **more):
        return read_segmentation(self.root, cache=self.root.parent / "cache", **more)


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "data")


def labels(data, split="train", number=0):
    """Labels of a pair's first row, each once, in their order."""
    row = data.read_labels(data.splits[split][number])[0].tolist()
    return [value for n, value in enumerate(row) if n == 0 or value != row[n - 1]]


def found(data):
    """Severity and count of each finding."""
    return {finding.code: (finding.severity, finding.count) for finding in data.findings}
