"""Every kind of image file comes out upright in 8-bit RGB as a training reads it, or is refused in one line."""

import io

import cv2
import mmcv
import numpy as np
import pytest
from PIL import Image, ImageOps

from densekit.errors import DataError
from densekit.io.images import as_image, load_image


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
def test_pixels_are_those_that_a_training_reads(image_file, suffix):
    path = image_file(f"a.{suffix}")
    read = load_image(path)
    assert np.array_equal(read.pixels, mmcv.imread(str(path)))  # what MMDetection's LoadImageFromFile does
    assert read.notes == () and read.size == (96, 64)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_image_in_all_formats(tmp_path, scene, suffix, orientation):
    path, exif = tmp_path / f"a.{suffix}", Image.Exif()
    exif[0x0112] = orientation
    scene().save(path, exif=exif)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
        given = as_image(image)
    for read in (load_image(path), given):
        assert read.pixels.shape == expected.shape
        assert np.abs(read.pixels[..., ::-1] - expected).mean() < 1.5
    assert any("EXIF" in note for note in load_image(path).notes) == (orientation != 1)


def test_an_impossible_orientation_is_no_orientation(tmp_path, scene):
    exif = Image.Exif()
    exif[0x0112] = 77
    scene().save(tmp_path / "a.jpg", exif=exif)
    read = load_image(tmp_path / "a.jpg")
    assert read.size == (96, 64) and read.notes == ()


@pytest.mark.parametrize(
    ("mode", "note"),
    [
        ("L", "grey: read as three equal channels"),
        ("1", "black and white"),
        ("P", "palette"),
        ("RGBA", "transparency is ignored"),
        ("LA", "transparency is ignored"),
    ],
)
def test_other_kinds_are_read_as_rgb_and_said(image_file, scene, mode, note):
    path = image_file("a.png", scene().convert(mode))
    read = load_image(path)
    assert any(note in words for words in read.notes)
    with Image.open(path) as image:
        assert np.array_equal(read.pixels[..., ::-1], np.asarray(image.convert("RGB")))
        assert np.array_equal(as_image(image).pixels, read.pixels)


def test_cmyk_is_converted_and_said(image_file, scene):
    read = load_image(image_file("a.jpg", scene().convert("CMYK")))
    assert read.notes == ("CMYK: converted to RGB",)
    assert read.pixels[15, 20].argmax() == 2  # red, in blue-green-red


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_16_bits_become_8_as_in_training(tmp_path, suffix, channels):
    values = (np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) * 10)[..., None].repeat(channels, axis=2)
    path = tmp_path / f"deep.{suffix}"
    cv2.imwrite(str(path), values)
    read = load_image(path)
    assert read.notes == ("16 bits per channel: of 65536 steps the 256 of the upper 8 are left, as in training",)
    assert np.array_equal(read.pixels, mmcv.imread(str(path)))
    assert np.abs(read.pixels - (values >> 8).astype(int)).max() <= 1  # OpenCV rounds in TIFF files of three channels
    if channels == 1:
        with Image.open(path) as image:
            assert np.array_equal(as_image(image).pixels, read.pixels)


@pytest.mark.parametrize(("dtype", "words"), [(np.float32, "floating-point"), (np.int32, "32-bit")])
def test_pixels_without_a_range_are_refused(tmp_path, dtype, words):
    image = Image.fromarray(np.linspace(0, 1000, 64 * 96).reshape(64, 96).astype(dtype))
    image.save(tmp_path / "a.tif")
    for given in (tmp_path / "a.tif", image):
        with pytest.raises(DataError, match=f"{words} pixels have no fixed range.*save it as 8 or 16 bit"):
            as_image(given)


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_of_several_images_in_a_file_the_first_is_read_and_said(tmp_path, scene, suffix):
    more = [scene(red=None), scene(green=None)]
    scene().save(tmp_path / f"a.{suffix}", save_all=True, append_images=more, lossless=True)
    read = load_image(tmp_path / f"a.{suffix}")
    assert any("only the first is read" in note for note in read.notes)
    assert np.array_equal(read.pixels[..., ::-1], np.asarray(scene()))


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("kept", [0.5, 0.97])
def test_a_file_that_is_cut_short_is_refused(image_file, suffix, kept):
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    path = image_file(f"a.{suffix}", Image.fromarray(noise))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match=r"fetch it again|check what the file is") as error:
        load_image(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_what_opencv_would_fill_up_with_grey_is_refused(image_file, monkeypatch):
    """Some versions of OpenCV give an image for half a JPEG."""
    path = image_file("a.jpg", Image.effect_noise((96, 64), 80))
    path.write_bytes(path.read_bytes()[:900])
    grey = np.full((64, 96, 3), 128, np.uint8)
    monkeypatch.setattr(cv2, "imdecode", lambda *_: grey)
    with pytest.raises(DataError, match="damaged or cut short"):
        load_image(path)


def test_a_jpeg_with_something_behind_it_is_whole(image_file):
    """Cameras append previews and depth maps."""
    path = image_file("a.jpg")
    whole = load_image(path).pixels
    path.write_bytes(path.read_bytes() + bytes(10_000))
    assert np.array_equal(load_image(path).pixels, whole)


@pytest.mark.parametrize(
    ("data", "words"), [(b"", r"the file is empty \(0 bytes\)"), (b"nothing at all", "not an image that can be read")]
)
def test_no_image(tmp_path, data, words):
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(DataError, match=words):
        load_image(tmp_path / "a.jpg")


def test_a_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"none\.jpg: cannot be read \(No such file"):
        load_image(tmp_path / "none.jpg")


def test_an_image_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DataError, match="cut it into tiles"):
        load_image(tmp_path / "a.png")


def test_arrays_are_rgb_or_grey(scene):
    rgb = np.asarray(scene())
    assert np.array_equal(as_image(rgb).pixels, rgb[..., ::-1])
    grey = as_image(rgb[..., 0])
    assert np.array_equal(grey.pixels, rgb[..., :1].repeat(3, axis=2)) and "grey" in grey.notes[0]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), "type float32, expected uint8; bring its values to 0-255"),
        (np.zeros((3, 4, 4), np.uint8), r"shape \(3, 4, 4\), expected \(H, W, 3\)"),
        (np.zeros((4, 4, 4), np.uint8), r"shape \(4, 4, 4\)"),
        (np.zeros((0, 4, 3), np.uint8), r"shape \(0, 4, 3\)"),
        ([1, 2], "list given, expected a path"),
        (io.BytesIO(), "BytesIO given"),
    ],
)
def test_what_is_no_image_in_python_is_refused(image, words):
    with pytest.raises(DataError, match=words):
        as_image(image)


def test_opencv_is_as_talkative_afterwards_as_before(image_file):
    before = cv2.getLogLevel()
    load_image(image_file())
    assert cv2.getLogLevel() == before
