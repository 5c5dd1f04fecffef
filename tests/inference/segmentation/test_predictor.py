"""One image: read in whatever form, its classes in its own size, areas, files of them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from densekit.errors import CheckpointError, ConfigError, DataError, OutputError
from densekit.inference.segmentation.predictor import SegmentationPredictor

from .conftest import NAMES, ColourSegmentor, pixels, truth


@pytest.fixture
def predictor(checkpoint):
    return SegmentationPredictor.from_checkpoint(checkpoint(), device="cpu")


def test_each_pixel_has_its_class_in_the_size_of_the_image(predictor):
    result = predictor.predict(pixels(truth()))
    assert result.labels.dtype == np.uint8 and result.labels.shape == (48, 64)
    assert (result.labels == truth()).all()
    assert list(result.pixels) == ["dark", "red", "blue"] and sum(result.pixels.values()) == 48 * 64
    assert result.areas is None and "3 of 4 classes" in repr(result)
    rows = result.to_dict()["classes"]
    assert [row["class"] for row in rows] == ["dark", "red", "blue"] and rows[1]["pixels"] == result.pixels["red"]
    json.dumps(result.to_dict())


def test_a_transform_that_scales_does_not_change_the_size_of_the_result(checkpoint):
    path = checkpoint(pipeline=[{"type": "mmseg.Resize", "scale": [32, 32], "keep_ratio": True}])
    result = SegmentationPredictor.from_checkpoint(path, device="cpu").predict(pixels(truth(65, 47)))
    assert result.labels.shape == (47, 65) and (result.labels == truth(65, 47)).mean() > 0.9


def test_probabilities_on_request(checkpoint, tmp_path):
    predictor = SegmentationPredictor.from_checkpoint(checkpoint(), device="cpu", probabilities=True)
    result = predictor.predict(pixels(truth()))
    assert result.probabilities.shape == (4, 48, 64) and result.probabilities.dtype == np.float16
    assert np.allclose(result.probabilities.sum(0), 1, atol=0.01)
    assert (result.probabilities.argmax(0) == result.labels).mean() > 0.99
    result.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz") as file:
        assert list(file["names"]) == NAMES and (file["probabilities"] == result.probabilities).all()


def test_scales_and_mirror_images_are_averaged_if_asked_for(checkpoint):
    predictor = SegmentationPredictor.from_checkpoint(checkpoint(), device="cpu", tta=True)
    assert (predictor.predict(pixels(truth())).labels == truth()).mean() > 0.95
    sizes = [shape[2:] for shape in predictor.model.seen]
    assert len(sizes) == 12 and (24, 32) in sizes and (84, 112) in sizes


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "I;16", "1", "P"])
def test_images_of_every_mode(predictor, tmp_path, mode):
    """What a file was is said, and what is predicted is what it looks like."""
    image = Image.fromarray(pixels(truth()))
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 256)
    else:
        image = image.convert(mode)
    image.save(path)
    result = predictor.predict(path)
    said = {"L": "grey", "RGBA": "transparency", "CMYK": "CMYK", "I;16": "0-255", "1": "black", "P": "palette"}[mode]
    assert any(said in note for note in result.notes), result.notes
    assert result.labels.shape == (48, 64)
    if mode in ("RGBA", "CMYK", "P"):
        assert (result.labels == truth()).mean() > 0.95


def test_an_image_smaller_than_the_tiles_is_padded_and_that_is_said(predictor):
    predictor.use({"mode": "slide", "crop": [96, 100]})
    result = predictor.predict(pixels(truth()))
    assert result.notes == ("smaller than the tiles of 100 x 96: padded to that size",)
    assert predictor.model.seen == [(1, 3, 96, 100)] and result.labels.shape == (48, 64)
    predictor.use({"mode": "slide", "crop": [32, 32]})
    assert predictor.predict(pixels(truth())).notes == ()


def test_other_channels_than_the_networks_are_one_line(predictor, checkpoint, tmp_path):
    with pytest.raises(DataError, match=r"\(48, 64, 5\), expected \(H, W, 3\)"):
        predictor.predict(np.zeros((48, 64, 5), np.uint8))
    five = SegmentationPredictor.from_checkpoint(checkpoint(channels=5), device="cpu")
    Image.fromarray(pixels(truth())).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match=r"rgb\.png: has 3 channels, expected 5"):
        five.predict(tmp_path / "rgb.png")
    with pytest.raises(DataError, match="image: has 3 channels, the network takes 5"):
        five.predict(pixels(truth()))
    many = np.concatenate([pixels(truth()), np.zeros((48, 64, 2), np.uint8)], 2)
    result = five.predict(many)
    assert (result.labels == truth()).all() and result.draw().height > 48


@pytest.mark.parametrize(
    ("inference", "labels", "said"),
    [
        ({"mode": "tiles"}, None, "inference mode='tiles'"),
        (None, ["a", "b"], r"the network has 4 classes, the label list 2 \(a, b\)"),
    ],
)
def test_what_does_not_fit_together_is_said_of_the_checkpoint(checkpoint, inference, labels, said):
    path = checkpoint(inference=inference, labels=labels)
    with pytest.raises(CheckpointError, match=f"best.pth: {said}"):
        SegmentationPredictor.from_checkpoint(path, device="cpu")


def test_unsound_checkpoints(checkpoint):
    with pytest.raises(CheckpointError, match="task 'detection'"):
        SegmentationPredictor.from_checkpoint(checkpoint(task="detection"))
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        SegmentationPredictor.from_checkpoint(checkpoint(state={"weight": torch.tensor([float("nan")])}))
    with pytest.raises(CheckpointError, match=r"pipeline\.0: unknown transform 'os\.system'"):
        SegmentationPredictor.from_checkpoint(checkpoint(pipeline=[{"type": "os.system"}]), device="cpu")
    with pytest.raises(ConfigError, match="unknown setting 'modus'"):
        SegmentationPredictor(ColourSegmentor(), NAMES, device="cpu").use({"modus": "whole"})


def test_files_of_a_result(predictor, tmp_path):
    Image.fromarray(pixels(truth())).save(tmp_path / "a.png")
    result = predictor.predict(tmp_path / "a.png")
    for name in ("mask.png", "mask.tif"):
        result.save(tmp_path / name)
        with Image.open(tmp_path / name) as file:
            assert file.mode == "P" and (np.asarray(file) == result.labels).all()
            assert len(file.convert("RGB").getcolors()) == 3
    result.save(tmp_path / "picture.jpg")
    with Image.open(tmp_path / "picture.jpg") as picture:
        assert picture.width >= 64 and picture.height > 48  # with a legend
    result.save(tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["width"] == 64
    with pytest.raises(OutputError, match="is what was predicted itself"):
        result.save(tmp_path / "a.png")
    with pytest.raises(OutputError, match="no probabilities were asked for"):
        result.save(tmp_path / "p.npz")
    with pytest.raises(OutputError, match=r"\.txt, expected"):
        result.save(tmp_path / "a.txt")
