"""``import densekit as dk``: the verbs as functions, models and results as objects, mistakes in one line."""

import json
import shutil
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from mmdet.models.detectors import RetinaNet
from mmengine.registry import DefaultScope
from PIL import Image

import densekit as dk
from densekit.errors import CheckpointError, ConfigError, DataError, DensekitError, OutputError
from densekit.inference.predictor import Result
from densekit.models.assemble.backbone import backbone_part
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS
from densekit.package import checkpoint as checkpoints
from densekit.registry import MODELS
from densekit.tasks import load_config

from .inference.detection.conftest import checkpoint, detector_registered  # noqa: F401
from .volume_runs import config, make_case, prepared, short_run  # noqa: F401


@pytest.fixture
def model(short_run):  # noqa: F811
    return dk.load(short_run[1] / "best.pth", device="cpu")


@pytest.fixture
def scan(tmp_path):
    """A scan of an oblique grid of which no axis is one of RAS or LPS, as a file."""
    source, _ = make_case(tmp_path, "case", 3)
    angle = 0.3
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    axes = np.array([[0, 0, -1.0], [1, 0, 0], [0, -1, 0]])
    affine = nib.affines.from_matvec(turn @ axes @ np.diag([1.5, 2.0, 1.5]), [5, 6, 7])
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(np.asarray(nib.load(source).dataobj), affine), path)
    return path


@pytest.fixture
def detector(checkpoint):  # noqa: F811
    return dk.load(checkpoint(masks=True), device="cpu")


class TestImport:
    def test_it_is_cheap_silent_and_complete(self):
        code = "import densekit as dk, sys; print('torch' in sys.modules, 'numpy' in sys.modules, *dir(dk))"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        heavy, numpy, *names = run.stdout.split()
        assert (heavy, numpy, run.stderr) == ("False", "False", "")
        assert set(dk.__all__) <= set(names)

    def test_every_name_is_there_and_documented(self):
        for name in dk.__all__:
            assert getattr(dk, name).__doc__

    def test_another_name_is_not(self):
        with pytest.raises(AttributeError, match="no attribute 'predct'"):
            dk.predct  # noqa: B018


class TestModel:
    def test_it_says_what_it_is(self, model):
        assert (model.task, model.labels) == ("volume", ["background", "near", "far"])
        assert isinstance(model.network, torch.nn.Module) and not model.network.training
        card = model.card
        assert (card["config"], card["dataset"], card["seed"]) == ("tiny.py", "blobs", 0)
        assert card["versions"]["densekit"] == dk.__version__ and card["inference"]["window"]
        json.dumps(card)
        assert "near" in repr(model) and "\n" not in repr(model)

    def test_the_checkpoint_is_read_once(self, short_run, scan, tmp_path, monkeypatch):  # noqa: F811
        read, calls = checkpoints._read, []
        monkeypatch.setattr(checkpoints, "_read", lambda *a, **how: calls.append(a) or read(*a, **how))
        model = dk.load(short_run[1] / "best.pth", device="cpu")
        model.predict(scan)
        model.predict_many(scan, out=tmp_path / "out")
        assert len(calls) == 1

    def test_options_are_those_of_the_task(self, short_run):  # noqa: F811
        assert dk.load(short_run[1] / "best.pth", device="cpu", overlap=0.25).predictor.settings.overlap == 0.25
        with pytest.raises(ConfigError, match="threshold: is for a checkpoint that finds objects"):
            dk.load(short_run[1] / "best.pth", threshold=0.5)

    @pytest.mark.parametrize(
        ("name", "message"), [("gone.pth", "no such checkpoint"), ("text.pth", "is no checkpoint")]
    )
    def test_what_is_no_checkpoint(self, tmp_path, name, message):
        (tmp_path / "text.pth").write_text("weights")
        with pytest.raises(CheckpointError, match=message):
            dk.load(tmp_path / name)


class TestVolumes:
    def test_a_scan_is_not_written_over(self, model, scan, tmp_path):
        before = scan.read_bytes()
        for found in (model.predict(scan), model.predict(nib.load(scan)), model.predict([scan])):
            for write in (found.save, found.draw):
                with pytest.raises(OutputError, match="is what was predicted itself; choose another output path"):
                    write(scan)
        with pytest.raises(OutputError, match=r"\.txt is no format of a picture; take \.png or \.jpg"):
            found.draw(tmp_path / "a.txt")
        assert scan.read_bytes() == before

    def test_all_forms_of_an_oblique_scan_give_the_same_voxels(self, model, scan):
        image = nib.load(scan)
        expected = model.predict(scan)
        assert expected.geometry.orientation not in ("RAS", "LPS") and expected.labels.any()
        forms = [str(scan), [scan], image, sitk.ReadImage(str(scan)), (np.asarray(image.dataobj), image.affine)]
        for source in forms:
            found = model.predict(source)
            np.testing.assert_array_equal(found.labels, expected.labels)
            np.testing.assert_array_equal(found.label_map, expected.label_map)
            assert found.label_map.shape == image.shape
            assert found.volumes_ml == pytest.approx(expected.volumes_ml)

    def test_a_result_goes_back_to_where_it_came_from(self, model, scan):
        image, itk = nib.load(scan), sitk.ReadImage(str(scan))
        found = model.predict(itk)
        np.testing.assert_allclose(found.to_nibabel().affine, image.affine, atol=1e-4)
        np.testing.assert_array_equal(np.asarray(found.to_nibabel().dataobj), found.label_map)
        back = found.to_sitk()
        back.CopyInformation(itk)  # refuses other sizes
        assert found.to_sitk().GetOrigin() == pytest.approx(itk.GetOrigin(), abs=1e-4)
        assert found.to_sitk().GetDirection() == pytest.approx(itk.GetDirection(), abs=1e-4)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(back).T, found.label_map)

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
    def test_what_came_from_memory_is_saved_on_its_grid(self, model, scan, tmp_path, suffix):
        image, out = nib.load(scan), tmp_path / f"out{suffix}"
        found = model.predict((np.asarray(image.dataobj), image.affine))
        found.save(out)
        written = sitk.ReadImage(str(out))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(written).T, found.label_map)
        assert written.GetOrigin() == pytest.approx(sitk.ReadImage(str(scan)).GetOrigin(), abs=1e-4)
        assert json.loads((tmp_path / "out.labels.json").read_text())["1"] == "near"

    def test_results_share_what_they_can(self, model, scan, tmp_path):
        found = model.predict(scan)
        assert isinstance(found, Result) and isinstance(found.draw(), Image.Image)
        assert found.draw(tmp_path / "a.png").size == Image.open(tmp_path / "a.png").size
        said = json.loads(json.dumps(found.to_dict()))
        assert {s["name"]: s["volume_ml"] for s in said["structures"]} == pytest.approx(found.volumes_ml)
        assert said["shape"] == list(found.label_map.shape) and said["notes"] == list(found.notes)
        assert set(said["seconds"]) == {"read", "prepare", "predict", "measure"}
        assert len(repr(found)) < 2000

    def test_the_scan_itself_is_not_overwritten(self, model, scan):
        with pytest.raises(OutputError, match="is what was predicted itself"):
            model.predict(scan).save(scan)

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            ("gone.nii.gz", "gone.nii.gz: "),
            ("photo.png", "segments volumes"),
            (np.zeros((4, 4, 4)), "an array alone does not say where its voxels are"),
            (Image.new("RGB", (8, 8)), "Image given, expected a file"),
            ([], "list given, expected a file"),
            (None, "scan: None given, expected a file"),
            ([(np.ones((4, 4, 4)), np.eye(4))] * 2, "2 image channels given, the network expects 1 (MR)"),
        ],
    )
    def test_what_is_no_scan(self, model, source, message):
        with pytest.raises(DataError) as caught:
            model.predict(source)
        assert message in str(caught.value) and "\n" not in str(caught.value)

    def test_many(self, model, scan, tmp_path):
        (tmp_path / "scans").mkdir()
        scan.rename(tmp_path / "scans" / "a.nii.gz")
        (tmp_path / "scans" / "b.nii.gz").write_text("no scan")
        run = model.predict_many([tmp_path / "scans"], out=tmp_path / "out")
        assert [(row.case.id, row.status) for row in run.rows] == [("a", "ok"), ("b", "failed")]
        assert (tmp_path / "out" / "a.nii.gz").is_file() and (tmp_path / "out" / "report.html").is_file()


class TestDetections:
    def test_what_is_found(self, detector, scene):
        found = detector.predict(np.asarray(scene()))
        assert [found.names[label] for label in found.labels] == ["red", "green"]
        np.testing.assert_allclose(found.boxes, [[8, 8, 40, 24], [56, 24, 88, 56]], atol=1.5)
        np.testing.assert_array_equal(detector.predict(scene()).boxes, found.boxes)

    def test_to_coco(self, detector, scene):
        rows = detector.predict(scene()).to_coco(image_id=7, ids=[30, 10, 20])
        assert [(row["image_id"], row["category_id"]) for row in rows] == [(7, 30), (7, 10)]
        assert rows[0]["bbox"] == pytest.approx([8, 8, 32, 16], abs=1.5)
        assert rows[0]["segmentation"]["size"] == [64, 96]
        assert [row["category_id"] for row in detector.predict(scene()).to_coco()] == [1, 2]
        json.dumps(rows)

    def test_unsure_ones_are_kept_but_not_drawn(self, detector, scene):
        found = detector.predict(scene(blue=(0, 48, 16, 64)))
        assert found.scores.min() < 0.3 and len(found) == 3
        sure = found.above(0.3)
        assert len(sure) == 2
        np.testing.assert_array_equal(np.asarray(found.draw()), np.asarray(sure.draw()))

    def test_supervision_is_said_to_be_missing_in_one_line(self, detector, scene, monkeypatch):
        monkeypatch.setitem(sys.modules, "supervision", None)
        with pytest.raises(ConfigError, match=r"needs supervision: pip install 'densekit\[supervision\]'"):
            detector.predict(scene()).to_supervision()

    def test_supervision_is_given_what_it_names(self, detector, scene, monkeypatch):
        class StandIn:
            class Detections:
                def __init__(self, xyxy, *, mask, confidence, class_id, data):
                    self.__dict__.update(xyxy=xyxy, mask=mask, confidence=confidence, class_id=class_id, data=data)

        monkeypatch.setitem(sys.modules, "supervision", StandIn)
        found = detector.predict(scene())
        check_supervision(found.to_supervision(), found)

    def test_supervision_itself_takes_it(self, detector, scene):
        pytest.importorskip("supervision")
        found = detector.predict(scene())
        given = found.to_supervision()
        check_supervision(given, found)
        assert len(given[given.confidence > 0.5]) == 2
        assert len(found.above(1.0).to_supervision()) == 0


def check_supervision(given, found):
    np.testing.assert_allclose(given.xyxy, found.boxes)
    np.testing.assert_allclose(given.confidence, found.scores)
    assert given.class_id.tolist() == found.labels.tolist() and given.mask.shape == (2, 64, 96)
    assert given.mask[0, 16, 24] and not given.mask[0, 40, 70]
    assert list(given.data["class_name"]) == ["red", "green"]


class TestWrongArguments:
    """One line each, whatever the mistake; it names the argument."""

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            (lambda: dk.load(None), "path=None, expected a path"),
            (lambda: dk.load(""), "path='', expected a path"),
            (lambda: dk.load("best.pth", device=0), "device=0, expected a text"),
            (lambda: dk.score([]), "model: list given, expected a Model or a path"),
            (lambda: dk.check(None), "path=None, expected a path"),
            (lambda: dk.check("data", foo=1), "foo: is no option of a check"),
            (lambda: dk.train(None), "config=None, expected a path"),
            (lambda: dk.train("dformer_synapse", seed="3"), "seed='3', expected a whole number"),
            (lambda: dk.train("dformer_synapse", resume="no"), "resume='no', expected True or False"),
            (lambda: dk.train("dformer_synapse", launcher="slurm"), "launcher=slurm: expected none, or pytorch"),
            (lambda: dk.create_model("dformer", num_classes=0), "num_classes=0: expected a whole number from 1 on"),
            (lambda: dk.create_model("dformer", num_classes=True), "num_classes=True, expected a whole number"),
            (lambda: dk.create_model("unet_synapse", num_classes=-1), "num_classes=-1: expected a whole number from 1"),
            (
                lambda: dk.create_model("dformer", num_classes=2, in_channels=0),
                "in_channels=0: expected a whole number",
            ),
            (lambda: dk.create_model("dformer_tiny", num_classes=2, neck=3), "neck: 3 is no part of densekit"),
            (lambda: detector_of(num_classes="3"), "num_classes='3', expected a whole number"),
            (
                lambda: detector_of(backbone="resnt50"),
                "is no part of densekit, MMDetection or MMSegmentation; did you mean 'resnet50'",
            ),
            (lambda: detector_of(neck=""), "neck: '' is no part"),
            (lambda: detector_of(train_cfg=3), "train_cfg=3: expected a dict"),
            (lambda: detector_of(nek="FPN"), "assemble() takes no argument 'nek'; did you mean 'neck'?"),
            (lambda: dk.list_parts(dims=4), "dims=4: expected 2 for images or 3 for volumes"),
            (
                lambda: dk.create_model("dformer"),
                "create_model(): missing a required argument: 'num_classes'; its argum",
            ),
            (
                lambda: dk.list_parts("heads", dim=2),
                "list_parts(): got an unexpected keyword argument 'dim'; its argum",
            ),
            (lambda: dk.list_parts(dims="3"), "dims='3', expected a whole number"),
            (lambda: dk.list_parts(fits=[]), "fits: names no part"),
            (lambda: dk.list_parts(fits=3), "backbone: 3 is no part"),
            (lambda: dk.list_parts(fits=""), "backbone: '' is no part"),
        ],
    )
    def test_of_functions(self, call, message):
        with pytest.raises(DensekitError) as caught:
            call()
        assert message in str(caught.value) and "\n" not in str(caught.value)

    def test_of_a_model_of_volumes(self, model, scan, tmp_path):
        for inputs, message in (
            ([nib.load(scan)], "Nifti1Image given, expected files, folders and globs"),
            (nib.load(scan), "Nifti1Image given, expected files"),
            (None, "^None given, expected files"),
            ("", "'' given, expected files"),
            ([], "nothing to predict"),
        ):
            with pytest.raises(DataError, match=message):
                model.predict_many(inputs, out=tmp_path / "out")
        with pytest.raises(ConfigError, match="out=None, expected a path"):
            model.predict_many([scan], out=None)
        assert not (tmp_path / "out").exists()
        with pytest.raises(ConfigError, match="strict='yes': expected True or False"):
            dk.load(model.checkpoint.path, strict="yes")
        found = model.predict(nib.load(scan))
        with pytest.raises(OutputError) as caught:
            found.save(tmp_path / "new" / "out.png")
        assert str(caught.value).startswith(f"{tmp_path / 'new' / 'out.png'}: unknown kind of volume file")
        for write, path in ((found.save, None), (found.save, 3), (found.draw, 3), (found.draw, "")):
            with pytest.raises(OutputError, match="is no path; give the file to write"):
                write(path)

    def test_of_detections(self, detector, scene, tmp_path):
        found = detector.predict(scene())
        for call, message in (
            (lambda: found.above(50), "threshold=50: expected a score from 0 to 1"),
            (lambda: found.to_coco(ids=[1]), "ids: 1 numbers for 3 labels"),
            (lambda: found.to_coco(ids="abc"), "ids='abc': expected a list of whole numbers"),
            (lambda: found.draw(size=(-1, 5)), r"size=\(-1, 5\): expected width and height"),
            (lambda: found.save(tmp_path / "a.nii.gz"), r"a.nii.gz: .gz, expected .json"),
        ):
            with pytest.raises(DensekitError, match=message):
                call()

    def test_results_of_two_tasks_do_not_mix(self, model, detector, scan, scene, tmp_path):
        model.predict_many([scan], out=tmp_path / "out")
        scene().save(tmp_path / "photo.png")
        with pytest.raises(OutputError, match="holds results of the task 'volume', these would be of 'detection'"):
            detector.predict_many([tmp_path / "photo.png"], out=tmp_path / "out", overwrite=True)


def detector_of(**changes):
    return dk.assemble(**{"backbone": "resnet18", "neck": "FPN", "head": "RetinaHead", "num_classes": 3, **changes})


class TestWords:
    """What ``print`` shows, and a notebook."""

    def test_of_a_scan(self, model, scan):
        found = model.predict(scan)
        first, *rows = str(found).splitlines()
        assert first.startswith("Prediction for scan.nii.gz: ") and first.endswith(found.geometry.orientation)
        for name, volume in found.volumes_ml.items():
            assert not volume or any(name in row and f"{volume:,.2f} ml" in row for row in rows)
        assert 1 <= len(rows) < 10

    def test_of_detections(self, detector, scene):
        found = detector.predict(scene())
        first, head, *rows = str(found).splitlines()
        assert first == "DetectionResult: 1 red, 1 green" and head.split() == ["score", "x1", "y1", "x2", "y2"]
        scores = [f"{score:.2f}" for score in found.scores]
        assert [row.split()[:2] for row in rows] == [["red", scores[0]], ["green", scores[1]]]
        nothing = found.take(np.zeros(2, dtype=bool))
        assert str(nothing) == "DetectionResult: nothing found"
        assert np.any(np.asarray(nothing.draw()) != np.asarray(scene()))  # it is written on the image

    def test_of_runs_and_scores(self, model, scan, prepared, tmp_path):  # noqa: F811
        run = model.predict_many([scan], out=tmp_path / "out")
        assert str(run) == f"1 predicted; results in {tmp_path / 'out'}"
        table = dk.score(model, data=prepared, split="val", out=tmp_path / "a", no_surface=True)
        lines = str(table).splitlines()
        assert any(line.startswith("mean") for line in lines) and any(line.startswith("near") for line in lines)
        assert not any(line.startswith("case ") for line in lines)


class TestScoreAndCheck:
    def test_a_score_of_a_model_or_of_its_file(self, model, prepared, tmp_path):  # noqa: F811
        table = dk.score(model, data=prepared, split="val", out=tmp_path / "a", no_surface=True)
        assert table.overall().dice.value == pytest.approx(model.card["best_score"])
        again = dk.score(model.checkpoint.path, data=prepared, split="val", out=tmp_path / "b", no_surface=True)
        assert again.overall() == table.overall()

    def test_a_loaded_model_is_scored_as_it_is(self, model, prepared, tmp_path, monkeypatch):  # noqa: F811
        for name in ("_read", "sha256"):
            monkeypatch.setattr(checkpoints, name, lambda *a, **how: pytest.fail("the file is read again"))
        seen, predict = [], model.predictor.predict
        monkeypatch.setattr(model.predictor, "predict", lambda case, **how: seen.append(case) or predict(case, **how))
        table = dk.score(model, data=prepared, split="val", out=tmp_path / "a", no_surface=True)
        assert len(seen) == len(table.cases) > 0

    def test_keys_that_a_test_reads_are_arguments(self, model, prepared, tmp_path):  # noqa: F811
        with pytest.raises(ConfigError, match="fold=-1, expected a whole number"):
            dk.score(model, data=prepared, fold=-1)
        with pytest.raises(ConfigError, match="max_dets: is not known"):
            dk.score(model, data=prepared, max_dets=3)

    def test_no_such_data(self, model, tmp_path):
        with pytest.raises(DataError, match="gone"):
            dk.score(model, data=tmp_path / "gone")

    def test_a_sound_data_set_and_one_that_is_not(self, prepared, tmp_path, capsys):  # noqa: F811
        found = dk.check(prepared)
        assert found.sound and found.status == 0 and str(found).startswith("CheckResult: sound")
        assert all(f["severity"] == "warning" and f["message"] in capsys.readouterr().out for f in found.findings[:1])
        broken = tmp_path / "broken"
        shutil.copytree(prepared, broken)
        next(broken.rglob("image.npy")).write_bytes(b"no array")
        found = dk.check(broken)
        assert not found.sound and any(f["severity"] == "error" for f in found.findings)


class TestTrain:
    def test_keys_are_overridden_by_values(self, config, prepared, tmp_path):  # noqa: F811
        overrides = {
            "optimizer.lr": 0.5,
            "max_epochs": 1,
            "val_interval": 1,
            "pictures": 0,
            "optimizer.betas": (0.8, 0.9),
        }
        run = dk.train(config(), data=prepared, work_dir=tmp_path / "run", seed=3, **overrides)
        assert run.folder == tmp_path / "run" and run.best.is_file()
        values = json.loads((run.folder / "config.json").read_text())
        assert values["optimizer"]["lr"] == 0.5 and values["optimizer"]["betas"] == [0.8, 0.9]
        assert (values["max_epochs"], values["seed"]) == (1, 3)
        assert "# max_epochs=1" in (run.folder / "config.txt").read_text()
        assert [line.split()[0] for line in str(run).splitlines()] == ["TrainingRun:", "trained", "best.pth"]
        assert "is of epoch 1, best score 0." in str(run)
        assert run.model is run.model and run.model.labels == ["background", "near", "far"]

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            ({"max_epoch": 1}, "unknown key 'max_epoch'; did you mean 'max_epochs'"),
            ({"optimiser.lr": 1}, "optimiser.lr=1: there is no 'optimiser' in the config; did you mean 'optimizer'"),
            ({"max_epochs": "1"}, "max_epochs='1'"),
        ],
    )
    def test_a_typo_is_one_line(self, config, prepared, tmp_path, overrides, message):  # noqa: F811
        with pytest.raises(ConfigError) as caught:
            dk.train(config(), data=prepared, work_dir=tmp_path / "run", **overrides)
        assert message in str(caught.value) and "--cfg-options" not in str(caught.value)


class TestParts:
    @pytest.mark.parametrize("name", ["dformer_tiny", "monai_dynunet_small"])
    def test_a_named_size_is_a_network(self, name):
        network = dk.create_model(name, num_classes=5, in_channels=2)
        with torch.no_grad():
            logits = network.eval().predict_logits(torch.zeros(1, 2, 16, 16, 16))
        assert logits.shape == (1, 5, 16, 16, 16)

    def test_every_size_says_its_decoder_or_is_a_backbone(self):
        for name, variant in VARIANTS.items():
            assert bool(variant.decoder) == (backbone_part(name, pretrained=False).dims == 3), name

    def test_the_decoder_of_a_size_is_that_of_its_config(self):
        for name, shipped in (("dformer_tiny", "dformer-tiny_phantom"), ("dformer", "dformer_synapse")):
            model, decoder = load_config(shipped).model, VARIANTS[name].decoder
            ours = dk.assemble(backbone=name, **decoder, num_classes=3)
            theirs = dk.assemble(backbone=model.backbone, neck=model.neck, head=model.head, num_classes=3)
            with on_meta():
                shapes = [{k: v.shape for k, v in MODELS.build(c).state_dict().items()} for c in (ours, theirs)]
            assert shapes[0] == shapes[1]

    def test_a_backbone_of_images_with_a_head_is_a_detector(self, capsys):
        network = dk.create_model("resnet18", neck="FPN", head="RetinaHead", num_classes=3)
        assert type(network).__name__ == "RetinaNet" and network.bbox_head.num_classes == 3
        assert network.backbone.frozen_stages == -1
        assert capsys.readouterr().out == ""

    def test_weights_start_in_the_scope_of_the_network(self, monkeypatch):
        """In that of an earlier training MMEngine warns that it finds no initializer."""
        scopes = []
        record = lambda _: scopes.append(DefaultScope.get_current_instance().scope_name)  # noqa: E731
        monkeypatch.setattr(RetinaNet, "init_weights", record)
        with DefaultScope.overwrite_default_scope("densekit"):
            dk.create_model("resnet18", neck="FPN", head="RetinaHead", num_classes=3)
        assert scopes == ["mmdet"]

    def test_a_config_is_a_network(self):
        network = dk.create_model("dformer-tiny_phantom", num_classes=4)
        assert type(network).__name__ == "VolumeSegmentor"

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("resnet18", "resnet18: is a backbone; say what follows it"),
            ("dformr", "there is no network 'dformr'; did you mean 'dformer'"),
        ],
    )
    def test_what_is_no_network(self, name, message):
        with pytest.raises(ConfigError) as caught:
            dk.create_model(name, num_classes=3)
        assert message in str(caught.value)

    def test_parts_for_volumes(self):
        assert {"DFormer", "dformer", "monai_unet"} <= set(dk.list_parts("backbones", dims=3))
        assert "resnet50" not in dk.list_parts("backbones", dims=3)
        assert dk.list_parts("necks", fits="dformer") == ["DFormerDecoder"]
        assert dk.list_parts(fits="monai_unet") == ["LogitsHead"]
        assert "DiceCELoss" in dk.list_parts("losses")

    def test_parts_for_images(self):
        necks = dk.list_parts(room="necks", dims=2, fits="resnet50")
        assert {"FPN", "PAFPN", "RCFPN"} <= set(necks)
        assert not {"SEPC", "BFP", "DFormerDecoder"} & set(necks)  # take levels of equal channels; take volumes
        assert dk.list_parts(room="necks", dims=3, fits="resnet50") == []
        assert "RetinaHead" in dk.list_parts("heads", fits=["resnet50", "FPN"])
        behind_sepc = dk.list_parts("heads", fits=["resnet50", "FPN", "SEPC"])
        assert "SEPCRetinaHead" in behind_sepc and "RetinaHead" not in behind_sepc

    def test_what_is_listed_can_be_assembled(self):
        for neck in dk.list_parts("necks", fits="resnet50"):
            head = dk.list_parts("heads", fits=["resnet50", neck])[0]
            wired = dk.assemble(backbone="resnet50", neck=neck, head=head, num_classes=3)
            assert wired.neck.type.endswith(neck)

    @pytest.mark.parametrize(
        ("question", "message"),
        [
            ({"room": "backbone"}, "'backbone' is no room; did you mean 'backbones'?; rooms: assemblies, "),
            ({"room": "losses", "dims": 3}, "dims: cannot be asked of 'losses'"),
            ({"room": "backbones", "fits": "resnet50"}, "fits: cannot be asked of 'backbones'; rooms: necks, heads"),
            ({"room": "necks", "fits": "resnt50"}, "is no part of densekit, MMDetection or MMSegmentation"),
        ],
    )
    def test_a_question_that_cannot_be_asked(self, question, message):
        with pytest.raises(ConfigError) as caught:
            dk.list_parts(**question)
        assert message in str(caught.value)
