"""Whatever kind of image: check, training, validation, test and prediction read the same pixels, or all refuse it."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from densekit.datasets.detection import inspect_detection, prepare_detection
from densekit.datasets.shared.image_loading import LoadUprightImage
from densekit.errors import DataError
from densekit.inference.images import ImagePredictor
from densekit.visualization.shared.thumbnails import open_upright

WIDTH, HEIGHT = 64, 48


def shares(number: int) -> np.ndarray:
    """An image of noise, another for each number; the first reaches from 0 to 1."""
    values = np.random.default_rng(number).random((HEIGHT, WIDTH, 3)) * (1 if number == 0 else 0.4)
    values[0, :2] = ((1,), (0,)) if number == 0 else 0.3
    return values


def of_bits(bits, channels, suffix):
    return suffix, lambda s: (s * (2**bits - 1)).astype(np.uint16)[..., :channels], lambda v: v >> (bits - 8)


def of_span(dtype, low, high, channels):
    values = lambda s: (low + s * (high - low)).astype(dtype)[..., :channels]  # noqa: E731
    return "tif", values, lambda v: np.rint((v.astype(np.float64) - low) / (high - low) * 255)


KINDS = {
    **{
        f"{bits} bits {channels} {suffix}": of_bits(bits, channels, suffix)
        for bits in (8, 10, 12, 16)
        for channels in (1, 3, 4)
        for suffix in ("png", "tif")
    },
    **{f"int32 to {high} {c}": of_span(np.int32, 0, high, c) for high in (100_000,) for c in (1, 3)},
    **{f"int16 {c}": of_span(np.int16, -1000, 3000, c) for c in (1, 3)},
    **{
        f"{t.__name__} to {h} {c}": of_span(t, 0, h, c)
        for t in (np.float32, np.float64)
        for h in (1, 255)
        for c in (1, 3)
    },
    "float32 of its own": of_span(np.float32, -5, 95, 3),
}


class Reader(ImagePredictor):
    """The reading part of a predictor."""

    task, from_checkpoint = "", None

    def prepare(self, image):
        return {}

    def predict_prepared(self, data, image):
        return image

    def __init__(self, ranges):
        self.ranges = ranges


def data_set(make, suffix, write):
    """Four images that train, two that validate; each is written by ``write(path, number)``."""
    names = {"train": [f"{n}.{suffix}" for n in range(4)], "val": [f"{n}.{suffix}" for n in range(4, 6)]}
    for split, files in names.items():
        make.coco(f"annotations/instances_{split}2017.json", files, [(0, 0, [4, 4, 10, 12]), (1, 1, [5, 5, 9, 9])])
        (make.root / f"{split}2017").mkdir()
        for file in files:
            write(make.root / f"{split}2017" / file, int(Path(file).stem))
    return make.root


def read_by_all(root, cache):
    """Each image of both splits, as (path, pixels that training and validation read, pixels that prediction reads)."""
    data = prepare_detection(root, cache=cache)
    load, reader = LoadUprightImage(data.ranges), Reader(data.ranges)
    for path in sorted(root.rglob("*2017/*")):
        trained = load.transform({"img_path": str(path)})["img"]
        with Image.open(path) if path.suffix == ".png" else path.open("rb") as file:
            given = file if path.suffix == ".png" else str(path)
            yield path, trained, [reader.predict(path).pixels, reader.predict(given).pixels]


@pytest.mark.parametrize("kind", KINDS)
def test_deep_images_are_read_alike_by_the_range_of_the_data_set(make, tmp_path, kind):
    suffix, values, eight = KINDS[kind]
    raw = [cv2.IMWRITE_TIFF_COMPRESSION, 1] if suffix == "tif" else []
    stored = {}

    def write(path, number):
        s = shares(number)
        stored[path.name] = values(np.dstack([s, s[..., :1]]))
        cv2.imwrite(str(path), stored[path.name], raw)

    root = data_set(make, suffix, write)
    inspection = inspect_detection(root, cache=tmp_path / "cache")
    (finding,) = [f for f in inspection.findings if f.code.startswith("image-")]
    assert (finding.code, finding.count, inspection.status) == ("image-16bit", 6, 0)
    assert "are brought to 0-255, in training as in prediction" in finding.message
    for path, trained, predicted in read_by_all(root, tmp_path / "cache"):
        expected = np.broadcast_to(eight(stored[path.name][..., :3]), (HEIGHT, WIDTH, 3))
        assert np.abs(trained - expected.astype(int)).max() <= (0 if "bits" in kind else 1)
        assert all(np.array_equal(pixels, trained) for pixels in predicted)
        assert open_upright(str(path)).size == (WIDTH, HEIGHT)
    assert trained.max() < 130  # the dark images are dark: not each is stretched


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "1", "CMYK"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_images_of_8_bits_are_read_alike_and_nothing_is_said(make, tmp_path, mode, suffix):
    if (suffix == "jpg" and mode in ("RGBA", "LA", "P", "1")) or (suffix == "png" and mode == "CMYK"):
        pytest.skip(f"no {mode} in {suffix}")

    def write(path, number):
        Image.fromarray((shares(number) * 255).astype(np.uint8)).convert(mode).save(path)

    root = data_set(make, suffix, write)
    assert not {f.code for f in inspect_detection(root, cache=None).findings} & {"image-16bit", "image-unreadable"}
    assert prepare_detection(root, cache=tmp_path / "cache").ranges == {}
    for _, trained, predicted in read_by_all(root, tmp_path / "cache"):
        assert trained.shape == (HEIGHT, WIDTH, 3) and all(np.array_equal(pixels, trained) for pixels in predicted)


@pytest.mark.parametrize("orientation", [3, 6, 8])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_turned_deep_images_have_the_size_that_training_reads(make, tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation

    def write(path, number):
        values = (shares(number)[..., 0] * 4095).astype(np.uint16)
        Image.fromarray(values if orientation == 3 else values.T.copy()).save(path, exif=exif)

    root = data_set(make, suffix, write)
    assert "image-size" not in {f.code for f in inspect_detection(root, cache=None).findings}
    for _, trained, _ in read_by_all(root, tmp_path / "cache"):
        assert trained.shape == (HEIGHT, WIDTH, 3)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's, of a TIFF whose table is cut off
@pytest.mark.parametrize("fault", ["nan", "half", "empty", "page"])
def test_what_training_refuses_is_an_error_of_the_check_in_the_same_words(make, tmp_path, fault):
    def write(path, number):
        values = shares(number).astype(np.float32)
        if number == 1 and fault == "nan":
            values[3, 4] = np.nan
        cv2.imwrite(str(path), values, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
        if number == 1 and fault != "nan":
            whole = path.read_bytes()
            path.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "page": b"<html></html>"}[fault])

    root = data_set(make, "tif", write)
    inspection = inspect_detection(root, cache=None)
    (finding,) = [f for f in inspection.findings if f.severity == "error"]
    assert (finding.code, finding.count, inspection.status) == ("image-unreadable", 1, 2)
    with pytest.raises(DataError) as refused:
        LoadUprightImage({}).transform({"img_path": str(root / "train2017" / "1.tif")})
    where, _, why = finding.examples[0].where.partition(": ")
    assert where == "train2017/1.tif" and f"1.tif: {why}" in str(refused.value)
    with pytest.raises(DataError, match=r"1\.tif"):
        prepare_detection(root, cache=tmp_path / "cache")


def test_the_ranges_are_kept_with_what_is_prepared(make, tmp_path):
    root = data_set(make, "png", lambda p, n: cv2.imwrite(str(p), (shares(n) * 4095).astype(np.uint16)))
    for _ in range(2):  # the second time from the cache
        assert prepare_detection(root, cache=tmp_path / "cache").ranges["integer"] == [0, 4095]
