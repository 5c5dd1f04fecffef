"""One image: known answers in pixels of the upright image, and checkpoints that cannot be right."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from PIL import Image

from densekit.errors import CheckpointError, ConfigError, DataError
from densekit.inference.detection import DetectionPredictor
from densekit.inference.volume import VolumePredictor
from densekit.io.images import as_image
from densekit.models.assemble import model_config
from densekit.ops import run_lengths
from densekit.package import load_checkpoint
from densekit.package.checkpoint import write_checkpoint
from densekit.registry import MODELS

COLOURS = ("red", "green", "blue")
PIPELINES = {
    "none": [],
    "resize": [{"type": "Resize", "scale": [48, 48], "keep_ratio": True}],
    "resize and pad": [
        {"type": "mmdet.Resize", "scale": (192, 192), "keep_ratio": True},
        {"type": "mmdet.Pad", "size": [256, 256]},
    ],
    "stretch": [{"type": "Resize", "scale": [96, 96], "keep_ratio": False}],
}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
def test_boxes_are_in_pixels_of_the_image_whatever_the_transforms(checkpoint, image_file, pipeline):
    predictor = DetectionPredictor.from_checkpoint(checkpoint(pipeline=pipeline, masks=True), device="cpu")
    found = predictor.predict(image_file(blue=(0, 48, 16, 64)))
    assert [found.names[label] for label in found.labels] == ["red", "green", "blue"]
    assert np.allclose(found.boxes, [[8, 8, 40, 24], [56, 24, 88, 56], [0, 48, 16, 64]], atol=1)
    assert np.allclose(found.scores, [1, 0.8, 0.2], atol=0.02)
    assert found.scores.dtype == np.float32
    masks = found.bitmaps()
    assert masks.shape == (3, 64, 96) and masks.dtype == bool
    assert abs(int(masks[0].sum()) - 32 * 16) <= 80
    assert found.size == (96, 64)


def test_all_forms_of_an_image_give_the_same(checkpoint, image_file):
    predictor = DetectionPredictor.from_checkpoint(checkpoint(), device="cpu")
    path = image_file()
    with Image.open(path) as image:
        forms = [path, str(path), image, np.asarray(image)]
        found = [predictor.predict(form) for form in forms]
    for one in found[1:]:
        assert np.array_equal(one.boxes, found[0].boxes) and np.array_equal(one.scores, found[0].scores)
    assert found[0].masks is None


def test_boxes_of_a_turned_image_are_upright(checkpoint, tmp_path, scene):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise
    scene(green=None).save(tmp_path / "a.png", exif=exif)
    found = DetectionPredictor.from_checkpoint(checkpoint(), device="cpu").predict(tmp_path / "a.png")
    assert found.size == (64, 96)
    assert np.allclose(found.boxes, [[64 - 24, 8, 64 - 8, 40]], atol=1)
    assert "EXIF" in found.notes[0]


def test_the_threshold_is_the_checkpoints_unless_given(checkpoint, image_file):
    path = checkpoint(inference={"score_threshold": 0.9})
    assert DetectionPredictor.from_checkpoint(path, device="cpu").threshold == 0.9
    assert DetectionPredictor.from_checkpoint(path, device="cpu", threshold=0).threshold == 0
    found = DetectionPredictor.from_checkpoint(path, device="cpu").predict(image_file())
    assert len(found) == 2 and len(found.above(0.9)) == 1  # predict() leaves nothing out
    assert found.above(0.9).counts() == {"red": 1, "green": 0, "blue": 0}
    assert len(found.above(float(found.scores[1]))) == 2  # "or more"


@pytest.mark.parametrize("threshold", [-0.1, 1.5, "high", float("nan"), True])
def test_thresholds_that_are_no_scores_are_refused(checkpoint, threshold):
    with pytest.raises(ConfigError, match="expected a score from 0 to 1"):
        DetectionPredictor.from_checkpoint(checkpoint(), device="cpu", threshold=threshold)


def test_an_image_without_objects(checkpoint, image_file):
    found = DetectionPredictor.from_checkpoint(checkpoint(masks=True), device="cpu").predict(
        image_file(red=None, green=None)
    )
    assert len(found) == 0 and found.boxes.shape == (0, 4) and found.bitmaps().shape == (0, 64, 96)
    assert found.to_list() == [] and sum(found.counts().values()) == 0
    assert found.draw_on(Image.new("RGB", (96, 64))).size == (96, 64)


def test_what_is_found_as_plain_values(checkpoint, image_file):
    found = DetectionPredictor.from_checkpoint(checkpoint(masks=True), device="cpu").predict(image_file(green=None))
    row = found.to_list()[0]
    assert (row["class"], row["label"], row["score"], row["box"]) == ("red", 0, 1.0, [8.0, 8.0, 40.0, 24.0])
    assert row["mask_area"] == 512 and np.array_equal(run_lengths.decode(row["mask"]), found.bitmaps()[0])


def test_what_is_found_is_drawn_where_it_is(checkpoint, image_file):
    path = image_file(size=(400, 300), red=(100, 100, 200, 200), green=None)
    found = DetectionPredictor.from_checkpoint(checkpoint(), device="cpu").predict(path)
    with Image.open(path) as image:
        before, after = np.asarray(image, int), np.asarray(found.draw_on(image), int)
    y, x = np.nonzero(np.abs(after - before).sum(axis=2))
    assert x.min() >= 95 and x.max() <= 205 and y.min() >= 70 and y.max() <= 205


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": ["red", "green"], "num_classes": 3}, r"model\.num_classes is 3, but the label list has 2"),
        ({"task": "volume"}, "of the task 'volume'"),
        ({"pipeline": [{"type": "Resise", "scale": [9, 9]}]}, r"pipeline\.0: unknown transform 'Resise'.*'Resize'"),
        ({"pipeline": [{"type": "os.system", "command": "ls"}]}, r"unknown transform 'os\.system'"),
        ({"pipeline": [{"scale": [9, 9]}]}, "unknown transform None"),
        (
            {"pipeline": [{"type": "RandomApply", "transforms": [{"type": "shutil.rmtree"}]}]},
            r"unknown transform 'shutil\.rmtree'",
        ),
        ({"pipeline": [{"type": "Resize", "scal": [9, 9]}]}, r"pipeline\.0: Resize cannot be built here.*scal"),
        ({"pipeline": "Resize"}, "no preprocessing.pipeline"),
        ({"inference": {"score_threshold": 3}}, "expected a score from 0 to 1"),
        ({"state": {"weight": torch.full((3,), torch.nan)}}, "NaN or infinite .first: weight.*earlier checkpoint"),
    ],
    ids=lambda value: None if isinstance(value, str) else next(iter(value)),
)
def test_checkpoints_that_cannot_be_right(checkpoint, options, words):
    path = checkpoint(**options)
    with pytest.raises((CheckpointError, ConfigError), match=words) as error:
        DetectionPredictor.from_checkpoint(path, device="cpu")
    assert "\n" not in str(error.value)


def test_a_class_without_a_name_is_noticed(detector, image_file):
    predictor = DetectionPredictor(detector(), ["red"], device="cpu")
    with pytest.raises(CheckpointError, match="class number 1, but the label list has 1"):
        predictor.predict(image_file())


def test_results_that_are_no_numbers_are_refused(detector, image_file):
    broken = detector()
    with torch.no_grad():
        broken.weight.fill_(torch.nan)
    with pytest.raises(DataError, match="boxes or scores are NaN"):
        DetectionPredictor(broken, ["red", "green", "blue"], device="cpu").predict(image_file())


def test_the_networks_own_threshold_is_known(checkpoint):
    path = checkpoint(test_cfg={"rpn": {"score_thr": 0.7}, "rcnn": {"score_thr": 0.05}})
    assert DetectionPredictor.from_checkpoint(path, device="cpu").own_threshold == 0.05
    assert DetectionPredictor.from_checkpoint(checkpoint(), device="cpu").own_threshold is None


def real_model(kind):
    """A tiny real detector; its scores lie around a half, so that it finds something everywhere."""
    backbone = {"type": "mmdet.ResNet", "depth": 18, "init_cfg": None}
    parts = {"neck": {"type": "FPN", "out_channels": 16}, "head": {"type": "RetinaHead", "feat_channels": 16}}
    if kind == "masks":
        head = {
            "type": "StandardRoIHead",
            "bbox_head": {"type": "Shared2FCBBoxHead", "fc_out_channels": 16},
            "mask_head": {"type": "FCNMaskHead", "num_convs": 1, "conv_out_channels": 16},
        }
        parts = {"neck": parts["neck"], "head": head}
    config = model_config({"backbone": backbone, **parts}, 3)
    MODELS.import_all()
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmdet"):
        model = MODELS.build(ConfigDict(config))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("retina_cls.bias"):
                value.zero_()
    return config, model


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_real_detectors_from_a_checkpoint(tmp_path, kind):
    config, model = real_model(kind)
    path = tmp_path / "best.pth"
    write_checkpoint(
        path,
        task="detection",
        model_config=config,
        preprocessing={
            "pipeline": [{"type": "Resize", "scale": [96, 64], "keep_ratio": True}],
            "masks": kind == "masks",
        },
        labels=["cat", "dog", "bird"],
        inference={"score_threshold": 0.3},
        state_dict=model.state_dict(),
        meta={},
    )
    image = np.random.default_rng(0).integers(0, 255, (90, 150, 3), dtype=np.uint8)
    predictor = DetectionPredictor.from_checkpoint(path, device="cpu")
    found = predictor.predict(image)
    assert 0 < len(found) <= 100 and predictor.own_threshold == 0.05
    assert (found.boxes >= 0).all() and (found.boxes[:, 2] <= 150.01).all() and (found.boxes[:, 3] <= 90.01).all()
    assert (np.diff(found.scores) <= 0).all() and found.scores.min() >= 0.05
    assert (found.masks is not None) == (kind == "masks")
    if found.masks is not None:
        assert found.bitmaps().shape == (len(found), 90, 150)
    again = predictor.predict(image)
    assert np.array_equal(again.boxes, found.boxes) and np.array_equal(again.scores, found.scores)


@pytest.mark.parametrize("name", ["a.jpg", "grey.png", "deep.png", "turned.jpg"])
def test_the_network_gets_what_it_was_validated_on(checkpoint, image_file, scene, name):
    """The tensor and its description are bit for bit those of MMDetection's own loading."""
    from mmdet.registry import TRANSFORMS

    image, exif = scene((90, 70)), Image.Exif()
    if name == "grey.png":
        image = image.convert("L")
    if name == "deep.png":
        image = Image.fromarray(np.arange(90 * 70, dtype=np.uint16).reshape(70, 90) * 9)
    path = image_file(name, image)
    if name == "turned.jpg":
        exif[0x0112] = 8
        image.save(path, exif=exif)
    resize = {"type": "Resize", "scale": (160, 120), "keep_ratio": True}
    predictor = DetectionPredictor.from_checkpoint(checkpoint(pipeline=[resize]), device="cpu")
    given = predictor.prepare(as_image(path))
    results = {"img_path": str(path), "img_id": 0}
    with DefaultScope.overwrite_default_scope("mmdet"):
        for transform in ({"type": "LoadImageFromFile"}, resize, {"type": "PackDetInputs"}):
            results = TRANSFORMS.build(transform)(results)
    assert torch.equal(given["inputs"][0], results["inputs"])
    expected = results["data_samples"].metainfo
    sample = given["data_samples"][0].metainfo
    assert {key: sample[key] for key in ("ori_shape", "img_shape", "scale_factor")} == {
        key: expected[key] for key in ("ori_shape", "img_shape", "scale_factor")
    }


def test_a_checkpoint_of_the_other_task_is_refused(checkpoint):
    loaded = load_checkpoint(checkpoint(task="volume"))
    with pytest.raises(CheckpointError, match=r"best\.pth: is a checkpoint of the task 'volume', one of 'detection'"):
        loaded.require_task("detection")
    loaded.require_task("volume")


def test_a_detector_does_not_segment_volumes(checkpoint):
    with pytest.raises(CheckpointError, match=r"of the task 'detection', one of 'volume' is needed"):
        VolumePredictor.from_checkpoint(checkpoint(), device="cpu")


def test_deep_images_are_read_by_the_ranges_in_the_checkpoint(checkpoint, scene, tmp_path):
    """Also a dark one: its red is half as bright as the training's brightest, and so is its score."""
    path = checkpoint(pipeline=[])
    described = torch.load(path, weights_only=True)
    values = np.asarray(scene(green=None)).astype(np.uint16) * 64  # of 14 bits
    cv2.imwrite(str(tmp_path / "dark.png"), values[..., ::-1])
    for ranges, score, words in (
        ({"integer": [0, 32767]}, 127 / 255, "as in training"),
        ({}, 255 / 255, "each image's own"),
    ):
        described["densekit"]["preprocessing"]["ranges"] = ranges
        torch.save(described, path)
        found = DetectionPredictor.from_checkpoint(path, device="cpu").predict(tmp_path / "dark.png")
        assert found.scores[0] == pytest.approx(score, abs=0.01) and words in found.notes[-1]


def test_a_whole_test_pipeline_of_mmdetection_is_taken(detector, image_file):
    from mmcv.transforms import LoadImageFromFile
    from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, Resize

    short = [{"type": "Resize", "scale": (96, 96), "keep_ratio": True}]
    names = [{"type": "LoadImageFromFile"}, *short, {"type": "mmdet.LoadAnnotations"}, {"type": "PackDetInputs"}]
    classes = [
        {"type": LoadImageFromFile, "backend_args": None},
        {"type": Resize, "scale": (96, 96), "keep_ratio": True},
        {"type": LoadAnnotations, "with_bbox": True},
        {"type": PackDetInputs, "meta_keys": ("img_id", "ori_shape")},
    ]
    image = image_file("a.png")
    found = [DetectionPredictor(detector(), COLOURS, p, device="cpu").predict(image) for p in (short, names, classes)]
    assert len(found[0])
    for other in found[1:]:
        np.testing.assert_array_equal(other.boxes, found[0].boxes)


def test_a_class_that_is_no_transform_is_never_built(detector):
    with pytest.raises(ConfigError, match="unknown transform <class 'dict'>"):
        DetectionPredictor(detector(), COLOURS, [{"type": dict}], device="cpu")
