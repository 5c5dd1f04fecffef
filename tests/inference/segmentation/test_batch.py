"""Many images and videos: what is written of each, and of all."""

import csv
import json
import logging

import numpy as np
import pytest
import rasterio
from PIL import Image

from densekit.inference.segmentation import tiles
from densekit.tasks import predict

from ..conftest import ledger, statuses
from .conftest import NAMES, pixels, truth


def table(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def files(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}


def geotiff(path, image, crs="EPSG:32640", pixel=0.5):
    """Write an image in RGB whose pixels are half a metre wide."""
    layout = {"driver": "GTiff", "width": image.shape[1], "height": image.shape[0], "count": image.shape[2]}
    layout |= {"dtype": image.dtype, "crs": crs, "transform": rasterio.Affine(pixel, 0, 3000, 0, -pixel, 9000)}
    with rasterio.open(path, "w", **layout) as file:
        file.write(np.moveaxis(image, 2, 0))


def test_a_run_writes_masks_pictures_areas_report_and_ledger(checkpoint, images, tmp_path):
    out = tmp_path / "out"
    result = predict(checkpoint(), images, out, device="cpu")
    assert result.exit_status == 0 and statuses(result) == dict.fromkeys("abc", "ok")
    each = {f"{folder}/{name}" for name in "abc" for folder in ("pictures", "masks")}
    assert {name.partition(".")[0] for name in files(out)} == each | {"areas", "report", "predictions"}
    with Image.open(out / "masks" / "a.png") as mask:
        assert mask.mode == "P" and (np.asarray(mask) == truth()).all()
    rows = table(out / "areas.csv")
    assert [(r["image"], r["class"], r["pixels"]) for r in rows] == [
        ("a.png", "dark", "2200"),
        ("a.png", "red", "512"),
        ("a.png", "blue", "360"),
        *[("b.png", name, n) for name, n in (("dark", "2200"), ("red", "512"), ("blue", "360"))],
        ("c.png", "dark", "3072"),
    ]
    assert rows[1]["share"] == "0.166667" and rows[1]["m2"] == ""
    case = ledger(out)["cases"]["a"]
    assert case["pixels"] == {"dark": 2200, "red": 512, "blue": 360} and case["output"] == "masks/a.png"
    page = (out / "report.html").read_text()
    assert "Areas by class" in page and "Not found in any file: green" in page and page.count("<figure>") == 3


def test_a_second_run_keeps_what_is_there(checkpoint, images, tmp_path):
    path = checkpoint()
    predict(path, images, tmp_path / "out", device="cpu")
    (tmp_path / "out" / "masks" / "b.png").unlink()
    result = predict(path, images, tmp_path / "out", device="cpu")
    assert statuses(result) == {"a": "kept", "b": "ok", "c": "kept"}
    assert len(table(tmp_path / "out" / "areas.csv")) == 7


def test_a_bad_image_costs_that_image(checkpoint, images, tmp_path):
    (images / "b.png").write_bytes(b"nothing")
    result = predict(checkpoint(), images, tmp_path / "out", device="cpu")
    assert result.exit_status == 3 and statuses(result) == {"a": "ok", "b": "failed", "c": "ok"}
    row = table(tmp_path / "out" / "areas.csv")[3]
    assert row["status"] == "failed" and row["class"] == "" and "not an image" in row["reason"]
    assert "not an image" in (tmp_path / "out" / "report.html").read_text()


def test_probabilities_are_written_if_asked_for(checkpoint, images, tmp_path):
    predict(checkpoint(), images / "a.png", tmp_path / "out", device="cpu", probabilities=True)
    with np.load(tmp_path / "out" / "probabilities" / "a.npz") as file:
        assert file["probabilities"].shape == (4, 48, 64) and list(file["names"]) == NAMES


def test_a_video_has_areas_by_frame(checkpoint, video, tmp_path):
    predict(checkpoint(), video(frames=3), tmp_path / "out", device="cpu")
    rows = table(tmp_path / "out" / "videos" / "film.csv")
    assert {row["frame"] for row in rows} == {"0", "1", "2"} and {row["class"] for row in rows} >= {"red"}
    assert sum(int(row["pixels"]) for row in rows) == 3 * 96 * 64
    assert table(tmp_path / "out" / "areas.csv")[0]["frames"] == "3"
    assert (tmp_path / "out" / "videos" / "film.jpg").exists()


@pytest.mark.parametrize("large", [25_000_000, 1000], ids=["whole", "by tiles"])
def test_a_geotiff_keeps_its_place_and_has_areas_on_the_ground(checkpoint, tmp_path, large):
    geotiff(tmp_path / "ortho.tif", pixels(truth()))
    path = checkpoint(inference={"large": large, "crop": [16, 16]})
    predict(path, tmp_path / "ortho.tif", tmp_path / "out", device="cpu")
    with rasterio.open(tmp_path / "out" / "masks" / "ortho.tif") as mask, rasterio.open(tmp_path / "ortho.tif") as own:
        assert (mask.read(1) == truth()).all() and mask.crs == own.crs and mask.transform == own.transform
        assert mask.colormap(1)[1][:3] == (164, 250, 255) and mask.tags(1)["class_3"] == "blue"
    red = next(row for row in table(tmp_path / "out" / "areas.csv") if row["class"] == "red")
    assert (red["m2"], red["ha"]) == ("128.00", "0.0128")
    assert "Hectares" in (tmp_path / "out" / "report.html").read_text()


def test_areas_of_degrees_are_not_told_and_that_is_said(checkpoint, tmp_path):
    geotiff(tmp_path / "ortho.tif", pixels(truth()), crs="EPSG:4326", pixel=1e-5)
    result = predict(checkpoint(), tmp_path / "ortho.tif", tmp_path / "out", device="cpu")
    assert table(tmp_path / "out" / "areas.csv")[0]["m2"] == ""
    assert any("the coordinates are degrees" in note for note in result.rows[0].facts["notes"])


@pytest.mark.parametrize("suffix", [".tif", ".png"])
@pytest.mark.parametrize("strips", [1, 3])
def test_a_large_image_goes_by_tiles_with_the_result_of_memory(
    checkpoint, tmp_path, monkeypatch, suffix, strips, caplog
):
    """Blended as in memory, whatever the strips; its picture is small, and both are said."""
    labels = np.repeat(np.repeat(np.random.default_rng(0).integers(0, 4, (15, 20)).astype(np.uint8), 10, 0), 10, 1)
    image = Image.fromarray(np.random.default_rng(1).normal(pixels(labels), 40).clip(0, 255).astype(np.uint8))
    image.save(tmp_path / f"big{suffix}")
    if strips > 1:
        monkeypatch.setattr(tiles, "_SCORES", 5 * 2 * 4 * 4 * 48 * 48 // 16)
    monkeypatch.setattr(tiles, "_OVERVIEW", 60)
    monkeypatch.setattr(tiles, "_BAND", 32)
    settings = {"mode": "slide", "crop": [48, 48], "stride": [32, 32]}
    in_memory, by_tiles = checkpoint(inference=settings), checkpoint("t.pth", inference={**settings, "large": 1000})
    masks = []
    for path, out in ((in_memory, "memory"), (by_tiles, "tiles")):
        result = predict(path, tmp_path / f"big{suffix}", tmp_path / out, device="cpu")
        with Image.open(tmp_path / out / "masks" / f"big{suffix}") as mask:
            masks.append(np.asarray(mask))
    assert (masks[0] == masks[1]).mean() > 0.999
    facts = result.rows[0].facts
    assert facts["size"] == [200, 150] and sum(facts["pixels"].values()) == 200 * 150
    assert any("200 x 150 pixels are more than 1,000: predicted by tiles of 48 x 48" in note for note in facts["notes"])
    assert any("drawn 4 times smaller" in note for note in facts["notes"])
    with Image.open(tmp_path / "tiles" / "pictures" / "big.jpg") as picture:
        assert picture.height > 38
    assert not list((tmp_path / "tiles").glob("**/labels"))


def test_large_images_of_other_depth_and_channels(checkpoint, tmp_path):
    path = checkpoint(inference={"large": 1000, "crop": [32, 32], "stride": [16, 16]}, ranges={"integer": [0, 4080]})
    deep = (pixels(truth()).astype(np.uint16) * 16).astype(np.uint16)
    geotiff(tmp_path / "deep.tif", deep)
    geotiff(tmp_path / "five.tif", np.concatenate([pixels(truth()), pixels(truth())[..., :2]], 2))
    Image.fromarray(pixels(truth())).convert("L").save(tmp_path / "grey.png")
    inputs = [tmp_path / name for name in ("deep.tif", "five.tif", "grey.png")]
    result = predict(path, inputs, tmp_path / "out", device="cpu")
    facts = {row.case.id: row.facts for row in result.rows}
    assert facts["deep"]["pixels"] == {"dark": 2200, "red": 512, "blue": 360}
    assert any("as in training" in note for note in facts["deep"]["notes"])
    assert "five.tif: has 5 channels, the network takes 3" in facts["five"]["reason"]
    assert any("grey" in note for note in facts["grey"]["notes"])


def test_what_resizes_is_left_out_by_tiles_and_that_is_said(checkpoint, tmp_path, caplog):
    resize = [{"type": "mmseg.Resize", "scale": [32, 32], "keep_ratio": True}]
    path = checkpoint(pipeline=resize, inference={"large": 1000, "crop": [32, 32], "stride": [16, 16]})
    Image.fromarray(pixels(truth())).save(tmp_path / "a.png")
    with caplog.at_level(logging.INFO, "densekit"):
        result = predict(path, tmp_path / "a.png", tmp_path / "out", device="cpu")
    assert any("mmseg.Resize of the transforms is left out" in note for note in result.rows[0].facts["notes"])
    assert json.loads((tmp_path / "out" / "predictions.json").read_text())["status"] == "finished"
    with Image.open(tmp_path / "out" / "masks" / "a.png") as mask:
        assert (np.asarray(mask) == truth()).all()
