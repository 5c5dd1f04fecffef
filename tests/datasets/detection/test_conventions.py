"""Boxes in another convention than their layout's are an error that names the likely one; sane data never are."""

import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from densekit.datasets.detection.conventions import PLAIN, READINGS, Fits, are_percent, judge, look, read_as, stored_as
from densekit.structures.detections import Detections

W, H = 160, 120
SHAPES = ((24, 24), (26, 20), (44, 14))
LAYOUTS = {"coco": "corner", "yolo": "centre", "voc": "corners"}


@dataclass
class Scenes:
    """Images of a disc, a square and a bar each on noise, and where these are."""

    images: list[Image.Image]
    xywh: np.ndarray
    image_index: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        return np.tile([float(W), float(H)], (len(self.xywh), 1))

    def pixels(self, place: int) -> np.ndarray:
        return np.asarray(self.images[place], dtype=np.float32)

    def judge(self, stored, own, *, seen=True):
        a = Detections(self.image_index, np.zeros(len(stored)), read_as(stored, own))
        fits = look(a, stored, self.sizes, own, self.pixels) if seen else Fits.none(len(stored))
        return judge(stored, self.sizes, own, fits)


def draw_scenes(count, contrast=120, seed=0):
    rng = np.random.default_rng(seed)
    images, boxes = [], []
    for number in range(count):
        image = Image.fromarray(rng.integers(60, 110, (H, W, 3), dtype=np.uint8))
        draw = ImageDraw.Draw(image)
        for k in range(3):
            w, h = SHAPES[(number + k) % 3]
            x, y = min(int(rng.integers(2 + k * W // 3, 8 + k * W // 3)), W - w - 2), int(rng.integers(3, H - h - 3))
            shape = draw.ellipse if (number + k) % 3 == 0 else draw.rectangle
            shape((x, y, x + w - 1, y + h - 1), fill=(85 + contrast, 85, 85))
            boxes.append((x, y, w, h))
        images.append(image)
    return Scenes(images, np.array(boxes, dtype=np.float64), np.repeat(np.arange(count), 3))


@pytest.fixture(scope="module")
def scenes():
    return draw_scenes(60)


def wrong_rows(count, share):
    rows = np.zeros(count, dtype=bool)
    rows[np.random.default_rng(1).permutation(count)[: round(share * count)]] = True
    return rows


def in_both(scenes, own, reading, share):
    rows = wrong_rows(len(scenes.xywh), share)
    return np.where(rows[:, None], stored_as(scenes.xywh, reading), stored_as(scenes.xywh, own)), rows


OTHERS = [(own, reading) for own in PLAIN for reading in READINGS if own != reading]


@pytest.mark.parametrize("reading", READINGS)
def test_numbers_are_read_as_they_were_written(scenes, reading):
    np.testing.assert_allclose(read_as(stored_as(scenes.xywh, reading), reading), scenes.xywh)


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
@pytest.mark.parametrize(("own", "reading"), OTHERS)
def test_edges_name_the_convention_and_the_share_of_wrong_rows(scenes, own, reading, share):
    share = max(share, 0.1) if reading == f"{own}, y first" else share  # a mirror image: more of these are luck
    stored, rows = in_both(scenes, own, reading, share)
    verdict = scenes.judge(stored, own)
    assert verdict.reading == reading
    assert verdict.share == pytest.approx(share, abs=0.03)  # near the origin [x1, y1, x2, y2] is [x, y, width, height]
    assert rows[verdict.rows].mean() > 0.95


@pytest.mark.parametrize(("own", "reading"), OTHERS)
def test_borders_name_the_convention_where_no_image_can_be_seen(scenes, own, reading):
    verdict = scenes.judge(stored_as(scenes.xywh, reading), own, seen=False)
    assert (verdict.reading, verdict.share) == (reading, 1.0)
    assert "as they stand, none if read so" in verdict.words


@pytest.mark.parametrize(("own", "reading"), [pair for pair in OTHERS if "corners" in pair and pair[1] in PLAIN])
def test_impossible_boxes_among_right_ones_are_told_without_images(scenes, own, reading):
    stored, rows = in_both(scenes, own, reading, 0.2)
    verdict = scenes.judge(stored, own, seen=False)
    assert verdict.reading == reading
    assert rows[verdict.rows].all()


@pytest.mark.parametrize("own", PLAIN)
def test_faint_objects_suffice(own):
    scenes = draw_scenes(60, contrast=25, seed=3)
    assert scenes.judge(stored_as(scenes.xywh, own), own) is None
    for reading in READINGS:
        if reading != own:
            assert scenes.judge(stored_as(scenes.xywh, reading), own).reading == reading


def test_outlines_are_witnesses_where_images_are_blank(scenes):
    polygons = [[[x, y, x + w, y, x + w, y + h, x, y + h]] for x, y, w, h in scenes.xywh.tolist()]
    stored, _ = in_both(scenes, "corner", "centre", 0.5)
    a = Detections(scenes.image_index, np.zeros(len(stored)), stored, masks=polygons)
    verdict = judge(stored, scenes.sizes, "corner", look(a, stored, scenes.sizes, "corner", lambda _: None))
    assert (verdict.reading, verdict.share) == ("centre", pytest.approx(0.5))


# --- sane data ----------------------------------------------------------------------------------------------------
def boxes_of(kind, rng, count=60):
    """Boxes of one kind of sane data, in an image of W x H."""
    size = np.array([W, H], dtype=np.float64)
    if kind == "anywhere":
        low = rng.random((count, 2)) * 0.8 * size
        return np.hstack([low, np.maximum(rng.random((count, 2)) * (size - low), 3)])
    if kind == "tiny":
        return np.hstack([rng.random((count, 2)) * (size - 4), np.full((count, 2), 3.0)])
    if kind == "huge":
        low = rng.random((count, 2)) * 0.1 * size
        return np.hstack([low, size * (0.8 + 0.1 * rng.random((count, 2)))])
    if kind == "whole image":
        return np.tile([0, 0, W, H], (count, 1)).astype(np.float64)
    if kind == "at the borders":
        low = rng.random((count, 2)) * (size - 30)
        return np.hstack([np.where(rng.random((count, 2)) < 0.5, rng.choice([0, 1], (count, 2)) * (size - 30), low),
                          np.full((count, 2), 30.0)])  # fmt: skip
    if kind == "centred":
        side = size * (0.3 + 0.6 * rng.random((count, 2)))
        return np.hstack([(size - side) / 2, side])
    if kind == "cut by all borders":
        side = np.full((count, 2), 30.0)
        return np.hstack([rng.random((count, 2)) * size - 15, side])
    middle = rng.random((count, 2)) * size * (1, 0.3)  # "at the top": the sky, ceiling lamps; over one border
    return np.hstack([middle - 8, np.full((count, 2), 16.0)])


KINDS = ["anywhere", "tiny", "huge", "whole image", "at the borders", "centred", "cut by all borders", "at the top"]
PAPER = {
    "blank": lambda rng: np.full((H, W, 3), 128.0, dtype=np.float32),
    "noise": lambda rng: rng.integers(0, 256, (H, W, 3)).astype(np.float32),
    "blotches": lambda rng: np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((20, 20, 1))).astype(np.float32),
}


@pytest.mark.parametrize("paper", PAPER)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("own", PLAIN)
def test_sane_boxes_raise_nothing_whatever_is_in_the_images(own, kind, paper):
    for seed, per_image in enumerate((1, 9, 9)):
        rng = np.random.default_rng(seed)
        xywh = boxes_of(kind, rng)
        images = np.arange(len(xywh)) // per_image
        pixels = [PAPER[paper](rng) for _ in range(images.max() + 1)]
        stored, sizes = stored_as(xywh, own), np.tile([float(W), float(H)], (len(xywh), 1))
        a = Detections(images, np.zeros(len(xywh)), xywh)
        assert judge(stored, sizes, own, look(a, stored, sizes, own, pixels.__getitem__)) is None


def test_right_boxes_of_visible_objects_raise_nothing(scenes):
    for own in PLAIN:
        assert scenes.judge(stored_as(scenes.xywh, own), own) is None


def test_exchanged_corners_are_no_sizes(scenes):
    exchanged = scenes.xywh[:, [0, 1, 0, 1]] + np.pad(scenes.xywh[:, 2:], ((0, 0), (0, 2)))
    rows = wrong_rows(len(exchanged), 0.2)
    stored = np.where(rows[:, None], exchanged, stored_as(scenes.xywh, "corners"))
    assert scenes.judge(stored, "corners") is None


# --- through the layouts ------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def drawn(tmp_path_factory, scenes):
    folder = tmp_path_factory.mktemp("drawn")
    for number, image in enumerate(scenes.images):
        image.save(folder / f"{number:03}.jpg", quality=90)
    return folder


def write(layout, root, drawn, scenes, rows, reading, unit):
    """Write the scenes in a layout; the objects in ``rows`` are in another convention."""
    own = LAYOUTS[layout]
    scale = np.array([W, H])
    shares, part = scenes.xywh / np.tile(scale, 2), {"as fractions": 1, "in percent": 100}
    stored = stored_as(shares if layout == "yolo" else scenes.xywh, own)
    stored[rows] = (stored_as(shares, reading) * part[unit] if unit else stored_as(scenes.xywh, reading))[rows]
    shutil.copytree(drawn, root / "images")
    labels = root / ("labels" if layout == "yolo" else "annotations")
    labels.mkdir()
    objects = [stored[scenes.image_index == number].tolist() for number in range(len(scenes.images))]
    for number, boxes in enumerate(objects):
        if layout == "yolo":
            text = "\n".join("0 " + " ".join(f"{v:.6f}" for v in box) for box in boxes)
            (labels / f"{number:03}.txt").write_text(text)
        elif layout == "voc":
            keys = ("xmin", "ymin", "xmax", "ymax")
            items = ("".join(f"<{k}>{v}</{k}>" for k, v in zip(keys, box, strict=True)) for box in boxes)
            items = "".join(f"<object><name>thing</name><bndbox>{item}</bndbox></object>" for item in items)
            (labels / f"{number:03}.xml").write_text(
                f"<annotation><filename>{number:03}.jpg</filename>"
                f"<size><width>{W}</width><height>{H}</height></size>{items}</annotation>"
            )
    if layout == "yolo":
        (root / "data.yaml").write_text("train: images\nnames: [thing]\n")
    if layout == "coco":
        images = [{"id": n, "file_name": f"{n:03}.jpg", "width": W, "height": H} for n in range(len(objects))]
        rows = [{"image_id": n, "bbox": box} for n, boxes in enumerate(objects) for box in boxes]
        rows = [{"id": n, "category_id": 1, "iscrowd": 0, "area": 400.0, **row} for n, row in enumerate(rows, start=1)]
        content = {"images": images, "annotations": rows, "categories": [{"id": 1, "name": "thing"}]}
        (root / "annotations" / "all.json").write_text(json.dumps(content))
    return root


FRACTIONS, PERCENT = "as fractions", "in percent"
CASES = [
    (layout, reading, unit)
    for layout, own in LAYOUTS.items()
    for reading in READINGS
    for unit in ("", FRACTIONS)
    if (reading != own or (unit and layout != "yolo")) and (unit or layout != "yolo")
]


def check_format(found, reading, unit, rows):
    finding = found["box-format"]
    assert finding.severity == "error"
    assert f"most likely {READINGS[reading]} {unit + ' of the image' if unit else 'in pixels'}" in finding.message
    assert finding.count == pytest.approx(rows.sum(), abs=0.04 * len(rows))
    assert ("% of the boxes are in another format" in finding.message) == (not rows.all())
    assert all(len(example.boxes) == len(example.likely) == 1 for example in finding.examples)
    assert not {"box-over-border", "box-inverted", "box-outside"} & found.keys()


@pytest.mark.parametrize(
    ("layout", "reading", "unit", "share"),
    [(*case, share) for case in CASES for share in ((0.05, 0.5, 1.0) if case[1] in PLAIN else (0.2,))],
)
def test_every_layout_tells_every_convention(tmp_path, drawn, scenes, load, layout, reading, unit, share):
    rows = wrong_rows(len(scenes.xywh), share)
    _, found = load(write(layout, tmp_path / "data", drawn, scenes, rows, reading, unit))
    check_format(found, reading, unit, rows)


@pytest.mark.parametrize("reading", PLAIN)
@pytest.mark.parametrize("layout", ["coco", "voc"])
def test_percent_are_told(tmp_path, drawn, scenes, load, layout, reading):
    rows = np.ones(len(scenes.xywh), dtype=bool)
    _, found = load(write(layout, tmp_path / "data", drawn, scenes, rows, reading, PERCENT))
    check_format(found, reading, PERCENT, rows)


def test_boxes_in_a_corner_are_percent_only_if_they_are_many_and_no_image_says_otherwise():
    boxes = boxes_of("anywhere", np.random.default_rng(0)) * 100 / np.array([W, H, W, H])  # none beyond 100 pixels
    sizes = np.full((len(boxes), 2), 640.0)
    blank = lambda numbers: Fits.none(len(numbers))  # noqa: E731
    on_edges = lambda numbers: replace(blank(numbers), own=np.full((6, len(numbers)), 2.0 * (numbers.max() < 101)))  # noqa: E731
    assert are_percent(boxes, sizes, blank)
    assert not are_percent(boxes, sizes, on_edges)
    assert not are_percent(boxes[:9], sizes[:9], blank)
    assert not are_percent(boxes, sizes / 5, blank)
    assert not are_percent(boxes + [50, 0, 0, 0], sizes, blank)
    assert not are_percent(boxes * [0.1, 0.1, 1, 1], sizes, blank)  # a time stamp, a logo


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize(("layout", "reading"), [("coco", "corners"), ("yolo", "corners")])
def test_each_of_a_few_impossible_boxes_is_a_finding(tmp_path, drawn, scenes, load, layout, reading, count):
    far = read_as(stored_as(scenes.xywh, reading), LAYOUTS[layout])
    far = np.flatnonzero((far[:, :2] + far[:, 2:] > np.array([W, H]) * 1.15).any(axis=1))[:count]
    rows = np.isin(np.arange(len(scenes.xywh)), far)
    unit = FRACTIONS if layout == "yolo" else ""
    _, found = load(write(layout, tmp_path / "data", drawn, scenes, rows, reading, unit))
    assert not {"box-format", "box-over-border"} & found.keys()
    assert found["box-impossible"].count == count
    places = [example.where for example in found["box-impossible"].examples]
    assert len(places) == min(count, 3)
    assert all("px over; [x1, y1, x2, y2]?" in place for place in places)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_few_boxes_over_all_borders_stay_a_repair(tmp_path, drawn, scenes, load, layout):
    moved = scenes.xywh.copy()
    moved[:6, 0], moved[12:15, 1] = -6, -5
    moved[6:12, 0], moved[15:20, 1] = W - 0.7 * moved[6:12, 2], H - 0.7 * moved[15:20, 3]
    moved = Scenes(scenes.images, moved, scenes.image_index)
    nothing = np.zeros(len(moved.xywh), dtype=bool)
    _, found = load(write(layout, tmp_path / "data", drawn, moved, nothing, "corner", ""))
    assert "box-format" not in found
    assert found["box-over-border"].count == 20
    assert "box-impossible" not in found


def test_exchanged_corners_in_voc_are_put_in_order(tmp_path, drawn, scenes, load):
    root = write("voc", tmp_path / "data", drawn, scenes, np.zeros(len(scenes.xywh), dtype=bool), "corner", "")
    file = root / "annotations" / "000.xml"
    text = file.read_text()
    for low, high in (("xmin", "xmax"), ("ymin", "ymax")):
        text = text.replace(low, "swap").replace(high, low).replace("swap", high)
    file.write_text(text)
    dataset, found = load(root)
    assert found["box-inverted"].count == 3
    np.testing.assert_allclose(dataset.annotations.xywh[:3], scenes.xywh[:3])


@pytest.mark.parametrize("numbers", [[0, 0, 1, 1], [0.5, 0.5, 0.2, 0.2]])
def test_two_boxes_of_a_pixel_are_not_fractions(make, load, numbers):
    root = make.two_splits([(0, 0, [4, 4, 10, 12]), (1, 0, numbers), (2, 0, numbers)], [])
    assert "box-format" not in load(root)[1]
