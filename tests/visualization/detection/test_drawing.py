import random

import numpy as np
import pytest
import torch
from mmengine.structures import BaseDataElement, InstanceData
from PIL import Image

from densekit.errors import DataError
from densekit.ops import run_lengths
from densekit.visualization.detection.drawing import draw_detections, training_mosaic
from densekit.visualization.shared.palette import label_color

GREY = (90, 90, 90)
NAMES = ("cat", "dog", "bird")
BOX = (20.0, 30.0, 60.0, 70.0)


def plain(width=100, height=80) -> Image.Image:
    return Image.new("RGB", (width, height), GREY)


def has(image, color) -> np.ndarray:
    return (np.asarray(image) == color).all(axis=2)


def filled(box, height=80, width=100) -> np.ndarray:
    x1, y1, x2, y2 = (int(v) for v in box)
    mask = np.zeros((height, width), dtype=bool)
    mask[y1:y2, x1:x2] = True
    return mask


# --- objects ----------------------------------------------------------------------------------------------------------
def test_a_box_has_the_color_of_its_class_and_lies_on_its_pixels():
    image = plain()
    drawn = draw_detections(image, [BOX], [1], None, None, NAMES)
    frame = has(drawn, label_color(2))
    assert drawn.size == (100, 80)
    assert frame[40, 20] and frame[40, 59] and frame[69, 40]  # the left, right and bottom edge
    assert not frame[40, 19] and not frame[40, 60] and not frame[70:].any()
    assert has(drawn, GREY)[33:67, 23:57].all()  # the inside
    assert has(image, GREY).all()  # what was given stays as it was


def test_a_box_around_the_whole_image_is_seen():
    frame = has(draw_detections(plain(), [(0, 0, 100, 80)], [0], None, None, NAMES[:1]), label_color(1))
    assert frame[0].all() and frame[-1].all() and frame[:, 0].all() and frame[:, -1].all()


def test_an_image_is_scaled_together_with_its_boxes():
    drawn = draw_detections(plain(400, 200), [(100, 50, 300, 150)], [0], None, None, NAMES[:1], size=(100, 100))
    rows, columns = np.nonzero(has(drawn, label_color(1)))
    assert drawn.size == (100, 50)
    assert (columns.min(), columns.max() + 1, rows.min(), rows.max() + 1) == (25, 75, 12, 38)
    assert draw_detections(plain(10, 10), [], [], None, None, NAMES, size=(300, 300)).size == (
        30,
        30,
    )  # 3 times at most


def test_arrays_run_lengths_and_polygons_of_one_object_look_the_same():
    x1, y1, x2, y2 = BOX
    mask = filled(BOX)
    polygons = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    pictures = [
        np.asarray(draw_detections(plain(), [BOX], [0], None, [outline], NAMES))
        for outline in (mask, run_lengths.encode(mask[None])[0], polygons, filled([2 * v for v in BOX], 160, 200))
    ]
    assert not has(pictures[0], GREY)[35:65, 25:55].any()  # laid over
    assert has(pictures[0], GREY)[72:].all()
    for picture in pictures[1:]:
        assert (picture == pictures[0]).mean() > 0.99


def test_objects_of_the_only_class_are_told_apart_by_color():
    boxes, masks = [(5, 5, 40, 75), (60, 5, 95, 75)], [filled((5, 5, 40, 75)), filled((60, 5, 95, 75))]
    alone = np.asarray(draw_detections(plain(), boxes, [0, 0], None, masks, ["nucleus"]))
    assert not (alone[40, 20] == alone[40, 80]).all()
    of_many = np.asarray(draw_detections(plain(), boxes, [0, 0], None, masks, NAMES))
    assert (of_many[40, 20] == of_many[40, 80]).all()


def test_only_what_says_something_is_written():
    def above(names, scores):
        return int((~has(draw_detections(plain(), [BOX], [0], scores, None, names), GREY))[:28].sum())

    assert above(["cat"], None) == 0  # one class, no score
    assert above(["cat"], [0.5]) > 0
    assert above(NAMES, None) > 0
    assert above(NAMES, [0.5]) > above(NAMES, None)


def test_names_of_two_boxes_in_one_place_stand_beside_each_other():
    drawn = draw_detections(plain(300, 200), [(50, 60, 250, 150)] * 2, [0, 1], None, None, NAMES)
    for label in (0, 1):
        assert has(drawn, label_color(label + 1))[:58].sum() > 100


@pytest.mark.parametrize("count", [4, 12, 40])
def test_names_never_cover_objects_smaller_than_they_are(count):
    rng = np.random.default_rng(count)
    low = np.concatenate([[[0, 0], [790, 0], [0, 588], [1, 300]], rng.integers(0, (785, 585), (count - 4, 2))])
    boxes = np.concatenate([low, low + rng.integers(5, 12, low.shape)], axis=1)
    names = [f"{name} cell" for name in NAMES]
    labels = rng.integers(0, 3, count)
    drawn = np.asarray(draw_detections(plain(800, 600), boxes, labels, [0.5] * count, None, names))
    bare = np.asarray(draw_detections(plain(800, 600), boxes, labels, None, None, [""] * 3))  # frames alone
    assert (drawn != bare).any(axis=2).sum() > 300 * count  # names are there
    for x1, y1, x2, y2 in boxes:
        assert (drawn[y1:y2, x1:x2] == bare[y1:y2, x1:x2]).all()


def test_crowds_get_thin_lines_and_no_names_wider_than_their_objects():
    rows, columns = np.divmod(np.arange(100), 10)
    boxes = np.stack([30 * columns + 5, 30 * rows + 5, 30 * columns + 25, 30 * rows + 25], axis=1)
    drawn = draw_detections(plain(300, 300), boxes, [0] * 100, [0.5] * 100, None, NAMES)
    frame = has(drawn, label_color(1))
    assert frame[15, 5] and not frame[15, 6]
    assert frame.sum() == 100 * (4 * 20 - 4)  # the lines and nothing else


def test_what_is_ignored_is_grey_and_what_is_not_finite_is_left_out():
    nothing = draw_detections(plain(), [(np.nan, 0, 10, 10)], [0], None, None, NAMES)
    assert has(nothing, GREY).all()
    drawn = np.asarray(draw_detections(plain(), [BOX], [0], None, None, NAMES, ignored=[True]))
    changed = ~has(drawn, GREY)
    assert changed[35:65, 25:55].any() and not changed[:, :15].any()
    spread = drawn.max(axis=2).astype(int) - drawn.min(axis=2)
    assert spread.max() < 20  # nowhere the color of a class


def test_a_label_without_a_name_and_a_box_without_extent_are_drawn():
    assert not has(draw_detections(plain(), [(50, 40, 50, 40)], [7], [0.5], None, NAMES), GREY).all()


def test_sequences_that_do_not_belong_together_are_refused():
    with pytest.raises(ValueError, match="1 boxes, 2 labels"):
        draw_detections(plain(), [BOX], [0, 1], None, None, NAMES)


# --- what the network gets --------------------------------------------------------------------------------------------
class Data:
    """Items as a detection pipeline packs them; with noise drawn from all three generators."""

    def __init__(self, count=4, *, objects=1, noise=False, repeat=1):
        self.count, self.objects, self.noise, self.repeat = count, objects, noise, repeat
        self.asked: list[int] = []

    def __len__(self):
        return self.count * self.repeat

    def __getitem__(self, index):
        self.asked.append(index)
        pixels = torch.zeros(3, 80, 100, dtype=torch.uint8)
        pixels[0] = 255  # blue comes first
        if self.noise:
            pixels[1, 0, :3] = torch.tensor(
                [random.randrange(256), int(np.random.randint(256)), int(torch.randint(256, ()))]
            )
        n = self.objects
        shown = InstanceData(bboxes=torch.tensor([BOX] * n).reshape(-1, 4), labels=torch.zeros(n, dtype=torch.long))
        away = InstanceData(bboxes=torch.tensor([[70.0, 5.0, 95.0, 25.0]]), labels=torch.ones(1, dtype=torch.long))
        sample = BaseDataElement(metainfo={"img_path": f"/data/{index}.png", "ori_shape": (40, 50), "flip": True})
        sample.gt_instances, sample.ignored_instances = shown, away
        return {"inputs": pixels, "data_samples": sample}


def test_the_training_picture_shows_images_in_their_colors_with_objects_and_ignored_regions(tmp_path):
    training_mosaic(Data(1), tmp_path / "new" / "t.png", names=NAMES)
    with Image.open(tmp_path / "new" / "t.png") as picture:
        sheet = picture.convert("RGB")
    blue = has(sheet, (0, 0, 255))
    assert blue.sum() > 0.5 * 240 * 300  # enlarged three times; red and blue are not swapped
    assert has(sheet, label_color(1)).sum() > 100
    assert not has(sheet, label_color(2)).any()  # what is ignored has not the color of its class
    assert list(tmp_path.rglob("*")) == [tmp_path / "new", tmp_path / "new" / "t.png"]


def test_the_training_picture_takes_images_from_all_of_the_data(tmp_path):
    data = Data(100, objects=0, repeat=3)
    training_mosaic(data, tmp_path / "t.png", names=NAMES, images=4)
    assert data.asked == [0, 33, 66, 99]
    few = Data(3)
    training_mosaic(few, tmp_path / "t.png", names=NAMES)
    assert few.asked == [0, 1, 2]


def test_the_training_picture_is_the_same_every_time_and_changes_no_randomness(tmp_path):
    def draws():
        return random.random(), np.random.rand(), torch.rand(()).item()

    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = draws()
    pictures = []
    for start in (1, 2):
        random.seed(start), np.random.seed(start), torch.manual_seed(start)
        training_mosaic(Data(noise=True), tmp_path / "t.png", names=NAMES)
        pictures.append((tmp_path / "t.png").read_bytes())
        if start == 1:
            assert draws() == expected
    assert pictures[0] == pictures[1]


def test_randomness_is_put_back_and_nothing_is_written_if_an_image_cannot_be_read(tmp_path):
    class Broken(Data):
        def __getitem__(self, index):
            np.random.rand(5)
            raise DataError("x.jpg: damaged")

    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    with pytest.raises(DataError, match=r"x\.jpg"):
        training_mosaic(Broken(), tmp_path / "t.png", names=NAMES)
    assert np.random.rand() == expected
    assert not list(tmp_path.iterdir())


def test_no_training_images_are_reported(tmp_path):
    with pytest.raises(DataError, match="no image"):
        training_mosaic(Data(0), tmp_path / "t.png", names=NAMES)
