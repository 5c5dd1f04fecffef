import os
import pickle
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS as MMDET_TRANSFORMS
from mmdet.structures.bbox import HorizontalBoxes
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from densekit.datasets.transforms import albumentations_bridge
from densekit.datasets.transforms.albumentations_bridge import Albumentations
from densekit.errors import ConfigError, DataError
from densekit.registry import TRANSFORMS

HEIGHT, WIDTH = 60, 80
BOXES = ((4, 6, 24, 26), (30, 10, 50, 50), (60, 40, 78, 58))
FLIP = {"type": "HorizontalFlip", "p": 1}


def sample(boxes=BOXES, *, masks=True):
    """What a pipeline carries: noise, and objects 7, 8, 9 of which the second is to be ignored."""
    n = len(boxes)
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    results = {
        "img": image,
        "img_shape": (HEIGHT, WIDTH),
        "img_path": "some/image.jpg",
        "gt_bboxes": HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        "gt_bboxes_labels": np.arange(7, 7 + n),
        "gt_ignore_flags": np.arange(n) == 1,
    }
    if masks:
        bitmaps = np.zeros((n, HEIGHT, WIDTH), dtype=np.uint8)
        for bitmap, (x1, y1, x2, y2) in zip(bitmaps, boxes, strict=True):
            bitmap[int(y1) : int(y2), int(x1) : int(x2)] = 1
        results["gt_masks"] = BitmapMasks(bitmaps, HEIGHT, WIDTH)
    return results


def boxes_of(results):
    return results["gt_bboxes"].tensor.numpy()


def around(mask):
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


# --- everything that belongs to an object follows it ------------------------------------------------------------------
def test_boxes_and_masks_move_with_the_image():
    results = Albumentations([FLIP])(sample())
    expected = [(WIDTH - x2, y1, WIDTH - x1, y2) for x1, y1, x2, y2 in BOXES]
    assert boxes_of(results) == pytest.approx(np.array(expected), abs=1e-3)
    assert [around(mask) for mask in results["gt_masks"].masks] == expected
    assert (results["img"] == sample()["img"][:, ::-1]).all()
    assert results["gt_bboxes_labels"].tolist() == [7, 8, 9]


def test_what_leaves_the_image_takes_everything_of_it_along():
    crop = {"type": "Crop", "x_min": 28, "y_min": 20, "x_max": 80, "y_max": 60, "p": 1}
    results = Albumentations([crop])(sample())
    assert results["img_shape"] == results["img"].shape[:2] == (40, 52)
    assert boxes_of(results) == pytest.approx(np.array([(2, 0, 22, 30), (32, 20, 50, 38)]), abs=1e-3)
    assert results["gt_bboxes_labels"].tolist() == [8, 9]
    assert results["gt_ignore_flags"].tolist() == [True, False]
    assert results["gt_masks"].masks.shape == (2, 40, 52)
    assert [around(mask) for mask in results["gt_masks"].masks] == [(2, 0, 22, 30), (32, 20, 50, 38)]


@pytest.mark.parametrize(("visible", "kept"), [(0.24, [7, 8]), (0.26, [8])])
def test_an_object_of_which_too_little_stays_is_dropped(visible, kept):
    crop = {"type": "Crop", "x_min": 19, "y_min": 0, "x_max": 55, "y_max": 60, "p": 1}  # a quarter of the first
    results = Albumentations([crop], min_visibility=visible)(sample())
    assert results["gt_bboxes_labels"].tolist() == kept


def test_an_object_that_a_rectangle_covers_is_dropped():
    cover = {"type": "Erasing", "scale": [1, 1], "ratio": [4 / 3, 4 / 3], "p": 1}
    assert len(Albumentations([cover])(sample())["gt_bboxes"]) == 0
    assert len(Albumentations([cover], min_visibility=0)(sample())["gt_bboxes"]) == 3


def test_an_object_whose_box_alone_reaches_into_the_image_is_gone():
    results = sample([(0, 0, 40, 40)])
    corner = np.tri(40, 40, -20, dtype=bool)[:, ::-1].astype(np.uint8)  # an object at the lower right of its box
    results["gt_masks"].masks[0, :40, :40] = corner
    crop = {"type": "Crop", "x_min": 0, "y_min": 0, "x_max": 20, "y_max": 20, "p": 1}
    results = Albumentations([crop])(results)
    assert len(results["gt_bboxes"]) == len(results["gt_masks"]) == len(results["gt_bboxes_labels"]) == 0


def test_boxes_beyond_the_border_are_cut_off_and_impossible_ones_dropped():
    boxes = [(-10, -5, 20, 30), (70, 50, 95, 75), (30, 30, 30, 40), (90, 10, 99, 20), (np.nan, 0, 10, 10)]
    results = Albumentations([FLIP])(sample(boxes, masks=False))
    assert boxes_of(results) == pytest.approx(np.array([(60, 0, 80, 30), (0, 50, 10, 60)]), abs=1e-3)
    assert results["gt_bboxes_labels"].tolist() == [7, 8]


@pytest.mark.parametrize("masks", [False, True])
def test_an_image_without_objects_is_changed_like_others(masks):
    results = Albumentations([FLIP, {"type": "Affine", "rotate": [20, 20], "p": 1}])(sample((), masks=masks))
    assert boxes_of(results).shape == (0, 4)
    assert len(results["gt_bboxes_labels"]) == 0
    assert not masks or results["gt_masks"].masks.shape == (0, HEIGHT, WIDTH)
    bare = Albumentations([FLIP])({"img": sample()["img"]})  # no annotations were loaded
    assert set(bare) == {"img", "img_shape"}


def test_boxes_come_back_in_the_form_they_had():
    tensor, array = sample(masks=False), sample(masks=False)
    tensor["gt_bboxes"], array["gt_bboxes"] = torch.tensor(BOXES).double(), np.array(BOXES, dtype=np.float32)
    tensor, array = (Albumentations([FLIP])(results)["gt_bboxes"] for results in (tensor, array))
    assert tensor.dtype == torch.float64 and array.dtype == np.float32
    assert tensor.numpy() == pytest.approx(array, abs=1e-3)


def test_where_nothing_can_move_boxes_and_masks_stay_as_they_were():
    given = sample([(-3.3, 1 / 3, 20.7, 99.9), (5, 5, 5, 5)], masks=False)
    given["gt_masks"] = PolygonMasks([[np.array([0, 0, 9, 0, 9, 9.0])]] * 2, HEIGHT, WIDTH)
    kept = {key: given[key] for key in given if key.startswith("gt_")}
    results = Albumentations([{"type": "RandomGamma", "gamma_limit": [50, 50], "p": 1}])(given)
    assert all(results[key] is kept[key] for key in kept)
    assert not (results["img"] == sample()["img"]).all()


def test_polygons_become_bitmaps_where_something_can_move():
    given = sample()
    outlines = [[np.array([x1, y1, x2, y1, x2, y2, x1, y2], dtype=float)] for x1, y1, x2, y2 in BOXES]
    given["gt_masks"] = PolygonMasks(outlines, HEIGHT, WIDTH)
    moved = Albumentations([FLIP])(given)["gt_masks"]
    assert isinstance(moved, BitmapMasks)
    assert moved.areas.tolist() == [400, 800, 324]


@pytest.mark.parametrize(
    "transform",
    [
        {"type": "Affine", "rotate": [30, 30], "fill": [200, 100, 50]},
        {"type": "ElasticTransform", "alpha": 60, "sigma": 6},
        {"type": "RandomResizedCrop", "size": [50, 70]},
        {"type": "CoarseDropout", "hole_height_range": [8, 12], "hole_width_range": [8, 12], "fill": [200, 100, 50]},
    ],
    ids=lambda t: t["type"],
)
def test_masks_stay_masks(transform):
    np.random.seed(0)
    results = Albumentations([{**transform, "p": 1}])(sample())
    masks = results["gt_masks"].masks
    assert len(masks) > 0 and set(np.unique(masks)) == {0, 1}
    if transform["type"] == "CoarseDropout":  # it covers objects, they are as large as before
        assert masks.sum(axis=(1, 2)).tolist() == [400, 800, 324]


def test_boxes_can_be_drawn_around_turned_masks_anew():
    turn = {"type": "Affine", "rotate": [45, 45], "p": 1}
    bar = [(10, 28, 70, 32)]
    wide, close = (Albumentations([turn], boxes_from_masks=exact)(sample(bar)) for exact in (False, True))
    assert boxes_of(close)[0].tolist() == list(around(close["gt_masks"].masks[0]))
    x1, y1, x2, y2 = boxes_of(close)[0]
    assert (x2 - x1) == pytest.approx(60 / 2**0.5, abs=5) and (y2 - y1) == pytest.approx(60 / 2**0.5, abs=5)
    still = Albumentations([{**turn, "p": 0}], boxes_from_masks=True)(sample([(10.25, 28, 70.5, 32)]))
    assert boxes_of(still)[0] == pytest.approx([10.25, 28, 70.5, 32], abs=1e-3)
    assert (boxes_of(wide)[0][2:] - boxes_of(wide)[0][:2]).min() >= (x2 - x1) - 3


def test_borders_are_filled_and_mirrored_only_if_asked_for():
    pad = {"type": "PadIfNeeded", "min_height": 160, "min_width": 160, "p": 1}
    results = Albumentations([pad])(sample())
    assert not results["img"][:50].any()
    assert results["gt_masks"].masks.sum(axis=(1, 2)).tolist() == [400, 800, 324]
    mirrored = Albumentations([{**pad, "border_mode": cv2.BORDER_REFLECT_101}])(sample())
    assert mirrored["img"][:50].any()
    boxes, masks, labels = boxes_of(mirrored), mirrored["gt_masks"].masks, mirrored["gt_bboxes_labels"]
    assert len(boxes) == len(masks) == len(labels) >= 3
    for box, mask in zip(boxes, masks, strict=True):  # each its own object, not also what is mirrored elsewhere
        assert np.abs(np.array(around(mask)) - box).max() <= 1.01


# --- images -----------------------------------------------------------------------------------------------------------
def test_albumentations_sees_red_as_red():
    red = np.zeros((HEIGHT, WIDTH, 3), dtype=np.uint8)
    red[..., 2] = 255  # BGR
    grey = {"type": "ToGray", "p": 1}
    assert Albumentations([grey])({"img": red.copy()})["img"][0, 0].tolist() == pytest.approx([76] * 3, abs=1)
    assert Albumentations([grey], bgr=False)({"img": red.copy()})["img"][0, 0].tolist() == pytest.approx(
        [29] * 3, abs=1
    )


@pytest.mark.parametrize(
    "image", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8)]
)
def test_other_images_are_refused(image):
    with pytest.raises(ConfigError, match=r"uint8 \(height, width, 3\), not .*to_float32"):
        Albumentations([FLIP])({"img": image})


def test_transforms_that_change_the_kind_of_image_are_refused():
    with pytest.raises(ConfigError, match=r"gives an image that is uint8.*not float32"):
        Albumentations([{"type": "Normalize", "p": 1}])(sample())


def test_classes_of_pixels_move_with_the_image():
    labels = np.arange(HEIGHT * WIDTH, dtype=np.uint32).reshape(HEIGHT, WIDTH) % 250
    out = Albumentations([FLIP])({**sample(), "gt_seg_map": labels.astype(np.uint8)})
    assert (out["gt_seg_map"] == labels[:, ::-1]).all()


def test_what_lies_beyond_the_border_has_no_class():
    shift = {"type": "Affine", "translate_px": {"x": (10, 10), "y": (0, 0)}, "p": 1}
    labels = np.full((HEIGHT, WIDTH), 3, np.uint8)
    labels[:5] = 255
    out = Albumentations([shift])({**sample(), "gt_seg_map": labels})["gt_seg_map"]
    assert (out[:, :10] == 255).all()
    assert (out[:5] == 255).all()
    assert (out[6:, 11:] == 3).all()


def test_a_transform_that_cannot_be_applied_names_the_image():
    with pytest.raises(DataError, match=r"some/image\.jpg: .* 80 x 60 pixels: Crop size .* Resize") as caught:
        Albumentations([{"type": "RandomCrop", "height": 500, "width": 500, "p": 1}])(sample())
    assert "\n" not in str(caught.value)


# --- randomness -------------------------------------------------------------------------------------------------------
RANDOM = [
    {"type": "OneOf", "transforms": [{"type": "GaussNoise"}, {"type": "MotionBlur"}], "p": 0.5},
    {"type": "Affine", "rotate": [-30, 30], "translate_percent": [-0.1, 0.1], "p": 0.7},
    {"type": "SomeOf", "n": 1, "transforms": [{"type": "ColorJitter"}, {"type": "Sequential", "transforms": [FLIP]}]},
]


def test_the_seed_alone_decides():
    def draw(transform, seed):
        np.random.seed(seed)
        results = transform(sample())
        return results["img"].tobytes(), boxes_of(results).tolist()

    used, fresh = Albumentations(RANDOM), Albumentations(RANDOM)
    for seed in range(5):
        draw(used, seed)
    drawn = [draw(used, seed) for seed in range(8)]
    assert drawn == [draw(fresh, seed) for seed in range(8)]
    assert len({image for image, _ in drawn}) > 4
    assert draw(pickle.loads(pickle.dumps(used)), 3) == drawn[3]


def test_every_call_takes_the_same_from_the_global_generator():
    after = []
    for transforms in (RANDOM, [FLIP], []):
        np.random.seed(1)
        Albumentations(transforms)(sample())
        after.append(np.random.rand())
    np.random.seed(1)
    assert len(set(after)) == 1 and after[0] != np.random.rand()


# --- configs ----------------------------------------------------------------------------------------------------------
def test_it_is_found_by_its_name_from_densekit_and_mmdetection():
    config = {"type": "densekit.Albumentations", "transforms": [FLIP]}
    assert isinstance(TRANSFORMS.build({**config, "type": "Albumentations"}), Albumentations)
    assert isinstance(MMDET_TRANSFORMS.build(config), Albumentations)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        (
            [{"type": "RandomBrightnesContrast"}],
            r"transforms\[0\]: 'RandomBrightnesContrast' is not.*'RandomBrightnessContrast'",
        ),
        (
            [FLIP, {"type": "OneOf", "transforms": [{"type": "Blur"}, {"type": "Blurr"}]}],
            r"transforms\[1\]\.transforms\[1\]: 'Blurr' is not .* did you mean 'Blur'",
        ),
        ([{"type": "Blur", "blur_limits": 3}], r"Blur takes no argument 'blur_limits'; did you mean 'blur_limit'"),
        ([{"type": "RandomCrop", "height": 5}], r"transforms\[0\]: RandomCrop: width: Field required"),
        ([{"type": "Blur", "p": 3}], r"transforms\[0\]: Blur: p: "),
        ([{"blur_limit": 3}], r"transforms\[0\] needs a type"),
        (["Blur"], r"transforms\[0\] needs a type"),
        ([{"type": "OneOf", "transforms": {"type": "Blur"}}], r"transforms\[0\]\.transforms is a list"),
        ([{"type": "RandomCropNearBBox"}], "needs cropping_bbox, which a detection pipeline does not carry"),
        ([{"type": "CubicSymmetry"}], "does not change images together with their boxes"),
        ([{"type": "BboxParams"}], "'BboxParams' is not a transform"),
    ],
)
def test_mistakes_are_named_with_their_place(transforms, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Albumentations(transforms)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("argument", [{"min_visibility": 10}, {"min_visibility": -0.1}, {"min_size": 0}])
def test_senseless_limits_are_refused(argument):
    with pytest.raises(ConfigError, match=next(iter(argument))):
        Albumentations([FLIP], **argument)


def test_configs_are_left_as_they_are():
    config = [{"type": "OneOf", "transforms": [{"type": "Rotate", "limit": [5, 5], "p": 1}], "p": 1}]
    before = pickle.dumps(config)
    Albumentations(config)(sample())
    assert pickle.dumps(config) == before


def test_it_does_not_ask_the_network_for_a_newer_version(monkeypatch):
    monkeypatch.setattr(albumentations_bridge, "os", SimpleNamespace(environ={}))
    albumentations_bridge.albumentations.cache_clear()
    albumentations_bridge.albumentations()
    assert albumentations_bridge.os.environ == {"NO_ALBUMENTATIONS_UPDATE": "1"}
    assert os.environ.get("NO_ALBUMENTATIONS_UPDATE") == "1"  # of the import that really took place
