"""Every kind of image file comes out upright in 8-bit RGB as a training reads it, or is refused in one line."""

import io
import struct

import cv2
import mmcv
import numpy as np
import pytest
import tifffile
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
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_deep_images_are_read_by_the_bits_that_they_use(tmp_path, suffix, channels, bits):
    values = np.linspace(0, 2**bits - 1, 64 * 96).reshape(64, 96).astype(np.uint16)
    values = np.stack([values, values[::-1], values.T.reshape(64, 96), values], axis=2)[..., :channels]
    path = tmp_path / f"deep.{suffix}"
    cv2.imwrite(str(path), values)
    read = load_image(path)
    assert f"values of {bits} bits (0 to {2**bits - 1:,}) are brought to 0-255" in read.notes[-1]
    assert np.array_equal(read.pixels, np.broadcast_to(values[..., :3] >> (bits - 8), (64, 96, 3)))
    with Image.open(path) as image:
        assert np.array_equal(as_image(image).pixels, read.pixels)


RAW = [cv2.IMWRITE_TIFF_COMPRESSION, 1]  # colours of floating point would be coded as logarithms


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        (np.int16, -1000, 3000),
        (np.int32, 0, 100_000),
        (np.float32, 0, 1),
        (np.float32, 0, 255),
        (np.float32, -5, 7),
        (np.float64, 0, 1e6),
    ],
)
def test_tiff_of_any_range_is_brought_to_8_bits(tmp_path, channels, dtype, low, high):
    shares = np.linspace(0, 1, 64 * 96).reshape(64, 96)
    shares = shares if channels == 1 else np.stack([shares, shares[::-1], shares**2], axis=2)
    cv2.imwrite(str(tmp_path / "a.tif"), (low + shares * (high - low)).astype(dtype), RAW)
    read = load_image(tmp_path / "a.tif")
    expected = 255 * shares.reshape(64, 96, channels)
    assert np.abs(read.pixels - expected).max() <= 1 and "are brought to 0-255" in read.notes[-1]


def write_tiff(path, values, **tags):
    """Write a grey or planar TIFF, uncompressed, of types that neither Pillow nor OpenCV writes."""
    kinds = {"u": 1, "i": 2, "f": 3}
    planes = values.reshape(-1, *values.shape[-2:])
    count, (height, width) = len(planes), planes.shape[1:]
    entries = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: 2 if count == 3 else 1, 277: count}
    entries |= {278: height, 284: 2 if count > 1 else 1, 339: kinds[values.dtype.kind]} | tags.get("more", {})
    size, start = planes[0].nbytes, 8 + values.nbytes
    table = sorted([*((tag, 3, 1, value) for tag, value in entries.items()), (273, 4, count, 8), (279, 4, count, size)])
    extra, place = b"", start + 2 + 12 * len(table) + 4
    if count > 1:  # lists of several values stand behind the table
        lists = {273: [8 + size * i for i in range(count)], 279: [size] * count}
        table = [(tag, kind, n, place + (0 if tag == 273 else 4 * count) if n > 1 else v) for tag, kind, n, v in table]
        extra = b"".join(struct.pack(f"<{count}I", *lists[tag]) for tag in (273, 279))
    head = b"II*\0" + struct.pack("<I", start) + values.tobytes() + struct.pack("<H", len(table))
    path.write_bytes(head + b"".join(struct.pack("<HHII", *entry) for entry in table) + bytes(4) + extra)


def test_32_bits_without_a_sign(tmp_path):
    values = np.arange(64 * 96, dtype=np.uint32).reshape(64, 96) * 600_000  # beyond what a signed integer holds
    write_tiff(tmp_path / "a.tif", values)
    assert np.abs(load_image(tmp_path / "a.tif").pixels[..., 0] - values / values.max() * 255).max() <= 0.51


def test_where_0_is_white(tmp_path):
    values = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96) * 10
    write_tiff(tmp_path / "a.tif", values, more={262: 0})
    assert np.array_equal(load_image(tmp_path / "a.tif").pixels[..., 1], 255 - (values >> 8))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.ones((3, 8, 8), np.uint16), "planes of their own, is not read; save it with interleaved channels"),
        (np.ones((3, 8, 8), np.float32), "planes of their own"),
        (
            np.ones((8, 8), np.float16),
            "a TIFF of this kind, 16 bits per channel, is not read; save it with 8 or 16 bits",
        ),
        (np.ones((8, 8), np.uint64), "a TIFF of this kind, 64 bits per channel"),
    ],
)
def test_what_cannot_be_read_truthfully_is_refused(tmp_path, values, words):
    write_tiff(tmp_path / "a.tif", values)
    with pytest.raises(DataError, match=words):
        load_image(tmp_path / "a.tif")


def test_more_channels_than_colours_are_refused_as_such(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.ones((8, 8, 5), np.uint16), planarconfig="contig")
    with pytest.raises(DataError, match=r"a\.tif: has 5 channels, expected 1 to 4; a network for so many"):
        load_image(tmp_path / "a.tif")


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_pixels_that_are_no_numbers_are_refused(tmp_path, wrong):
    values = np.ones((8, 8), np.float32)
    values[2, 3] = wrong
    cv2.imwrite(str(tmp_path / "a.tif"), values)
    for given in (tmp_path / "a.tif", Image.fromarray(values)):
        with pytest.raises(DataError, match="1 of 64 values are NaN or infinite; replace them"):
            as_image(given)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_deep_images(tmp_path, suffix, orientation):
    values = np.arange(64 * 96, dtype=np.uint16).reshape(64, 96)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}", exif=exif)
    Image.fromarray((values >> 6).astype(np.uint8)).save(tmp_path / f"a.{suffix}", exif=exif)  # of 14 bits the upper 8
    pixels = load_image(tmp_path / f"deep.{suffix}").pixels
    assert pixels.shape[:2] == ((64, 96) if orientation < 5 else (96, 64))
    assert np.array_equal(pixels, load_image(tmp_path / f"a.{suffix}").pixels)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's, of a TIFF whose table is cut off
@pytest.mark.parametrize("kept", [0.5, 0.97])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_deep_file_that_is_cut_short_is_refused(tmp_path, dtype, kept):
    cv2.imwrite(str(tmp_path / "a.tif"), np.random.default_rng(0).integers(0, 4000, (64, 96)).astype(dtype))
    data = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError):
        load_image(tmp_path / "a.tif")


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
    with pytest.raises(DataError, match=r"none\.jpg: no such file; check the path"):
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
        (None, "image: None given, expected a path"),
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
