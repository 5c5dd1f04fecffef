"""Training segmentors from a flat config and a data set, scoring and predicting with them: from the command line on."""

import csv
import json
import shutil

import numpy as np
import pytest
import tifffile
from PIL import Image

from densekit.cli import main
from densekit.errors import CheckpointError, ConfigError, DataError
from densekit.package import load_checkpoint
from densekit.tasks import test as score
from densekit.tasks import train

from .conftest import draw


@pytest.fixture(scope="module")
def run(areas, segmentation_config, tmp_path_factory):
    """A finished run with everything that is drawn, long enough to learn the colours."""
    folder = tmp_path_factory.mktemp("run")
    train(segmentation_config(pictures=2, max_iters=40, max_epochs=2), data=areas, work_dir=folder)
    return folder


def scores(folder):
    with (folder / "scalars.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    return {(int(row["epoch"]), row["name"]): float(row["value"]) for row in rows}


def test_a_run_leaves_all_that_is_promised(run):
    for name in ("best.pth", "last.pth", "config.json", "config.txt", "scalars.csv", "report.html"):
        assert (run / name).stat().st_size > 0, name
    assert sorted(p.name for p in (run / "pictures").iterdir()) == ["epoch_0001.png", "epoch_0002.png", "training.png"]
    assert {name for epoch, name in scores(run) if epoch == 2} >= {"mIoU", "mAcc", "aAcc", "boundary_IoU", "mIoU/sea"}


def test_it_learns(run):
    assert scores(run)[2, "mIoU"] > 0.8


def test_a_checkpoint_says_what_prediction_needs(run):
    checkpoint = load_checkpoint(run / "best.pth")
    assert (checkpoint.task, checkpoint.labels) == ("segmentation", ["sand", "grass", "sea"])
    assert checkpoint.preprocessing["pipeline"] == [{"type": "mmseg.Resize", "scale": (64, 48), "keep_ratio": True}]
    assert checkpoint.preprocessing["channels"] == 3
    assert checkpoint.inference["mode"] == "whole"
    assert not checkpoint.build_model().training


def test_a_test_gives_the_score_of_the_validation(run, areas, tmp_path):
    table = score(run / "best.pth", out=tmp_path)
    best = max(value for (_, name), value in scores(run).items() if name == "mIoU")
    assert table.scores.mIoU == pytest.approx(best, abs=5e-4)
    assert "sea" in table.render()
    for name in ("scores.csv", "scores.json", "segmentation.npz", "report.html"):
        assert (tmp_path / name).stat().st_size > 0
    assert json.loads((tmp_path / "scores.json").read_text())["mIoU"] == pytest.approx(table.scores.mIoU)


def test_classes_are_matched_by_name(run, areas, tmp_path):
    """The same masks whose values stand for the classes in another order."""
    other = tmp_path / "other"
    shutil.copytree(areas, other)
    for mask in other.rglob("masks/*.png"):
        labels = np.asarray(Image.open(mask))
        Image.fromarray(np.array([2, 0, 1, *[255] * 253], np.uint8)[labels]).save(mask)
    (other / "classes.csv").write_text("name,value\ngrass,0\nsea,1\nsand,2\n")
    first = score(run / "best.pth", data=areas, out=tmp_path / "a")
    options = [f"classes={other / 'classes.csv'}"]
    second = score(run / "best.pth", data=other, options=options, out=tmp_path / "b")
    assert second.scores.per_class["sea"] == first.scores.per_class["sea"]


def test_other_classes_are_refused(run, areas, tmp_path):
    (tmp_path / "names.txt").write_text("sand\ngrass\nsnow\n")
    with pytest.raises(CheckpointError, match="snow"):
        score(run / "best.pth", data=areas, options=[f"classes={tmp_path / 'names.txt'}"], out=tmp_path / "out")


def test_predicting_writes_masks_pictures_and_areas(run, areas, tmp_path, capsys):
    assert main(["predict", str(run / "best.pth"), str(areas / "val" / "images"), "--out", str(tmp_path)]) == 0
    truth = np.asarray(Image.open(areas / "val" / "masks" / "val0.png"))
    found = np.asarray(Image.open(tmp_path / "masks" / "val0.png"))
    assert (found == truth)[truth != 255].mean() > 0.9
    assert (tmp_path / "pictures" / "val0.jpg").is_file()
    assert "sea" in (tmp_path / "areas.csv").read_text()
    assert (tmp_path / "report.html").stat().st_size > 0


def test_a_run_can_be_stopped_and_goes_on_bit_for_bit(areas, segmentation_config, tmp_path):
    """One epoch and then another is two epochs."""
    config = segmentation_config(augment="light", val_split=None)
    train(config, data=areas, work_dir=tmp_path / "whole")
    train(config, data=areas, work_dir=tmp_path / "parts", options=["max_epochs=1"])
    train(config, data=areas, work_dir=tmp_path / "parts", resume=True)
    whole, parts = (load_checkpoint(tmp_path / name / "last.pth").state_dict for name in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all((whole[key] == parts[key]).all() for key in whole)


def test_a_frozen_encoder_is_asked_once(areas, segmentation_config, tmp_path, monkeypatch):
    from densekit.models.assemblies.kept_features import FeatureStore

    frozen = {"type": "TimmBackbone", "name": "test_convnext", "frozen": True}
    config = segmentation_config(
        model={"backbone": frozen, "head": {"type": "FCNHead", "channels": 8}},
        train_pipeline=[{"type": "mmseg.Resize", "scale": (64, 48)}],
        val_split=None,
        max_epochs=3,
    )
    asked, maps = [], FeatureStore.maps

    def counted(self, names, inputs, encode):
        return maps(self, names, inputs, lambda x: (asked.extend(names), encode(x))[1])

    monkeypatch.setattr(FeatureStore, "maps", counted)
    train(config, data=areas, work_dir=tmp_path)
    assert len(asked) == len(set(asked)) == 8
    assert not (tmp_path / "features").exists()


def test_classes_of_the_same_name_keep_what_was_learned(run, areas, segmentation_config, tmp_path, capsys):
    """Of four classes in another order, three are those of the checkpoint."""
    (tmp_path / "names.csv").write_text("name,value\nsea,2\nsnow,7\nsand,0\ngrass,1\n")
    config = segmentation_config(
        classes=str(tmp_path / "names.csv"),
        load_from=str(run / "best.pth"),
        max_epochs=1,
        val_split=None,
        optimizer={"type": "SGD", "lr": 0.0},
        model={"backbone": "test_convnext", "head": {"type": "SegformerHead", "channels": 16, "dropout_ratio": 0}},
    )
    train(config, data=areas, work_dir=tmp_path / "out")
    assert "snow" in capsys.readouterr().out
    before, after = (
        load_checkpoint(path).state_dict["decode_head.conv_seg.weight"]
        for path in (run / "best.pth", tmp_path / "out" / "last.pth")
    )
    assert (after[[2, 3, 0]] == before).all()


def test_a_dry_run_says_whether_it_fits_and_writes_nothing(areas, segmentation_config, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(segmentation_config()), "--data", str(areas), "--dry-run"]) == 0
    assert "4 images of 3x32x32" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_images_of_many_channels_are_seen_in_pictures_and_report(segmentation_config, tmp_path, caplog):
    for n in range(3):
        draw(tmp_path / "data", str(n), n)
        image = np.asarray(Image.open(tmp_path / "data" / "images" / f"{n}.png")).astype(np.uint16) * 9
        (tmp_path / "data" / "images" / f"{n}.png").unlink()
        tifffile.imwrite(
            tmp_path / "data" / "images" / f"{n}.tif", np.concatenate([image, image[..., :2]], 2), planarconfig="contig"
        )
    config = segmentation_config(pictures=1, max_epochs=1, classes=None)
    train(config, data=tmp_path / "data", work_dir=tmp_path / "run")
    assert (tmp_path / "run" / "pictures" / "epoch_0001.png").is_file()
    assert "cannot be read" not in caplog.text
    draw(tmp_path / "rgb" / "val", "0", 0)
    with pytest.raises(DataError, match=r"images have 3 channels, the network of .*best\.pth takes 5; score it on"):
        score(
            tmp_path / "run" / "best.pth",
            data=tmp_path / "rgb",
            options=["classes=['0','1','2']"],
            out=tmp_path / "out",
        )
    assert not (tmp_path / "out").exists()


def test_a_check_can_be_told_the_layout(areas, capsys):
    assert main(["check", str(areas), "--format", "pairs", "--classes", str(areas / "classes.csv")]) == 0
    assert "sea" in capsys.readouterr().out
    assert main(["check", str(areas), "--task", "segmentation", "--format", "pears"]) == 2
    assert "format='pears': expected one of ade20k" in capsys.readouterr().err


def test_a_run_goes_on_with_epochs_of_its_own_length(areas, segmentation_config, tmp_path):
    config = segmentation_config(max_iters=4, max_epochs=2)
    train(config, data=areas, work_dir=tmp_path)
    with pytest.raises(ConfigError, match=r"max_iters=4 in max_epochs=4 makes epochs of another length .* in proport"):
        train(config, data=areas, work_dir=tmp_path, resume=True, options=["max_epochs=4"])
    train(config, data=areas, work_dir=tmp_path, resume=True, options=["max_epochs=3", "max_iters=6"])
    assert load_checkpoint(tmp_path / "last.pth").meta["epoch"] == 3
