"""Training detectors from a flat config and a data set."""

import csv
import json
import shutil

import pytest
import torch

from densekit.cli import main
from densekit.errors import CheckpointError, ConfigError, DataError
from densekit.package import load_checkpoint
from densekit.tasks import load_config, make_plan, train
from densekit.tasks import test as score
from densekit.tasks.detection.report import DetectionReport

MASKS = """
from mmdet.models import FCNMaskHead, StandardRoIHead
model = dict(
    backbone=dict(type=ResNet, depth=18, base_channels=8),
    neck=dict(type=FPN, out_channels=16),
    head=dict(
        type=StandardRoIHead,
        bbox_head=dict(fc_out_channels=32),
        mask_head=dict(type=FCNMaskHead, num_convs=1, conv_out_channels=16),
    ),
    train_cfg=dict(rpn_proposal=dict(max_per_img=50), rcnn=dict(sampler=dict(num=32))),
    test_cfg=dict(rpn=dict(max_per_img=50)),
)
"""
STILL = """
model["backbone"]["norm_eval"] = True
"""
"""Weights do not move at a learning rate of 0, and nor do the statistics of batch norms."""


def plan(path, data, *options):
    return make_plan(load_config(path, options), data)


def weights(folder, name="last.pth"):
    return load_checkpoint(folder / name).state_dict


def scores(folder):
    with (folder / "scalars.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "val"]
    return {(int(row["epoch"]), row["name"]): float(row["value"]) for row in rows}


@pytest.fixture(scope="module")
def run(boxes, detection_config, launcher, tmp_path_factory):
    """A finished run with everything that is drawn, long enough to find something."""
    folder = tmp_path_factory.mktemp("run")
    path = detection_config(pictures=2, max_epochs=24, val_interval=12, optimizer={"type": "AdamW", "lr": 2e-3})
    done = launcher.command("train", path, "--data", boxes, "--work-dir", folder).wait()
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_leaves_all_that_is_promised(run):
    for name in ("best.pth", "last.pth", "config.json", "config.txt", "scalars.csv", "curves.png", "report.html"):
        assert (run / name).stat().st_size > 0, name
    assert (run / "pictures" / "training.png").is_file()
    assert [p.name for p in sorted((run / "pictures").glob("epoch_*"))] == ["epoch_0012.png", "epoch_0024.png"]
    assert {name for epoch, name in scores(run) if epoch == 24} >= {"AP", "AP50", "AP_small", "AP/sun", "AP/sea"}


def test_a_checkpoint_says_what_prediction_needs(run):
    checkpoint = load_checkpoint(run / "best.pth")
    assert (checkpoint.task, checkpoint.labels) == ("detection", ["grass", "sun", "sea"])  # by category id: 3, 7, 9
    assert checkpoint.preprocessing["pipeline"] == [{"type": "mmdet.Resize", "scale": (96, 64), "keep_ratio": True}]
    assert checkpoint.inference == {"score_threshold": 0.3}
    model = checkpoint.build_model()
    assert not model.training
    assert model.bbox_head.num_classes == 3


def test_what_happened_is_told(boxes, detection_config, tmp_path, capsys):
    train(detection_config(lr_batch=16, max_epochs=1), data=boxes, work_dir=tmp_path)
    told = capsys.readouterr().out
    assert "train: 13 images, " in told
    assert "2 background images (kept)" in told
    assert "3 classes: grass, sun, sea" in told
    assert "batch 4, 1 epochs of 4 iterations (3 images taken twice, so that every batch is full)" in told
    assert "learning rate 0.001 is for 16 images a step, this run has 4: 0.00025" in told
    assert "NormalInit" not in told
    assert "creating index" not in told


def test_every_value_is_written_with_its_origin(boxes, detection_config, tmp_path):
    path = detection_config()
    train(path, data=boxes, work_dir=tmp_path, seed=5, options=["max_epochs=1", "lr_batch=8", "val_split=None"])
    lines = (tmp_path / "config.txt").read_text().splitlines()
    values = json.loads((tmp_path / "config.json").read_text())

    def origin(start):
        return next(line for line in lines if line.startswith(start)).partition("# ")[2]

    assert origin("seed = 5") == "--seed"
    assert origin("max_epochs = 1") == "--cfg-options max_epochs=1"
    assert origin("data_root = ") == "--data"
    assert "tiny_detector.py:" in origin("batch_size = 4")
    assert origin("clip_grad = None") == "default"
    assert origin("classes = ") == "from the data set"
    assert any("lr=0.0005" in line and "0.001 for 8 images a step, here 4" in line for line in lines)
    assert values["optimizer"]["lr"] == 0.0005
    assert values["classes"] == ["grass", "sun", "sea"]


def test_the_learning_rate_follows_the_images_of_a_step(boxes, detection_config):
    def rate(*options):
        return plan(detection_config(lr_batch=16), boxes, *options).optimizer()["lr"]

    assert rate("batch_size=16") == pytest.approx(1e-3)
    assert rate("batch_size=2") == pytest.approx(1e-3 / 8)
    assert rate("batch_size=2", "accumulate=4") == pytest.approx(1e-3 / 2)
    assert rate("lr_batch=None") == pytest.approx(1e-3)


def test_epochs_are_whole_steps(boxes, detection_config, tmp_path):
    from densekit.engine.runner import build_runner

    tried = plan(detection_config(), boxes, "batch_size=2", "accumulate=3", "repeat=2", "val_split=None")
    runner = build_runner(tried, tmp_path)
    loader = runner.build_dataloader(runner._train_dataloader, seed=0)
    batches = [len(batch["inputs"]) for batch in loader]
    assert batches == [2] * 15  # 26 images in steps of 6
    assert tried.iterations_per_epoch == len(loader) == 15


def test_a_resumed_run_is_bit_equal(boxes, detection_config, tmp_path, monkeypatch):
    path = detection_config(ema=0.1, max_epochs=2, val_interval=2)
    train(path, data=boxes, work_dir=tmp_path / "whole")
    stop = 'custom_hooks = [dict(type="StopHook", epoch=1)]'
    from mmengine.hooks import Hook

    from densekit.registry import HOOKS

    class StopHook(Hook):
        priority = "LOWEST"

        def __init__(self, epoch):
            self.epoch = epoch

        def after_train_epoch(self, runner):
            if runner.epoch + 1 == self.epoch:
                raise KeyboardInterrupt

    HOOKS.register_module(name="StopHook", module=StopHook, force=True)
    stopping = detection_config(
        ema=0.1, max_epochs=2, val_interval=2, more=stop.replace("StopHook", "densekit.StopHook")
    )
    with pytest.raises(KeyboardInterrupt):
        train(stopping, data=boxes, work_dir=tmp_path / "parts")
    # workers or not makes no difference to what is seen
    train(path, data=boxes, work_dir=tmp_path / "parts", resume=True, options=["num_workers=2"])
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[key], parts[key]) for key in whole)


def test_masks_are_trained_and_scored(outlines, detection_config, tmp_path):
    path = detection_config(more=MASKS, max_epochs=1, pictures=2, batch_size=2)
    train(path, data=outlines, work_dir=tmp_path)
    assert {"AP", "mask_AP", "mask_AP50"} <= {name for _, name in scores(tmp_path)}
    assert load_checkpoint(tmp_path / "best.pth").preprocessing["masks"] is True
    assert (tmp_path / "report.html").is_file()


def test_masks_need_outlines(boxes, detection_config):
    with pytest.raises(DataError, match=r"predicts masks, but the data have boxes without outlines; take a config"):
        plan(detection_config(more=MASKS), boxes).check_training()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["batch_sizee=2"], r"unknown key 'batch_sizee'; did you mean 'batch_size'"),
        (["classes=dog"], r"classes='dog', expected .* it needs its comma: \('dog',\)"),
        (["classes=['sun','gras']"], r"'gras'.*'grass'"),
        (["val_split=vall"], r"has no split 'vall' \(it has train, val\); did you mean 'val'"),
        (["train_pipeline.0.scal=(1,2)"], r"train_pipeline.0=.*scal"),
        (['train_pipeline=[{"type":"Resiz"}]'], r"'Resiz' is no transform .*did you mean 'Resize'"),
        (["optimizer.lrr=1"], r"'lrr'"),
        (['optimizer={"type":"AdamW"}', "lr_batch=16"], r"has no lr that lr_batch=16 could scale"),
        (["model.hed=1"], r"no argument 'hed'.*'head'"),
        (["model.head.num_classes=2"], r"num_classes"),
        (["augment=mild"], r"augment='mild', expected one of"),
        (["data_format=pascal"], r"data_format='pascal', expected"),
        (["amp=fp16"], r"needs a GPU"),
    ],
)
def test_what_cannot_be_stops_before_the_training(boxes, detection_config, tmp_path, options, message):
    if "amp=fp16" in options and torch.cuda.is_available():
        pytest.skip("fp16 works where there is a GPU")
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        train(detection_config(), data=boxes, work_dir=tmp_path / "run", options=options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.pth"))


def test_no_data_is_one_line(detection_config, tmp_path, capsys):
    assert main(["train", str(detection_config()), "--data", str(tmp_path / "none")]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_an_override_is_never_dead(boxes, detection_config, tmp_path):
    from densekit.engine.runner import build_runner

    other = '[{"type": "Resize", "scale": (48, 32), "keep_ratio": True}]'
    tried = plan(detection_config(), boxes, f"train_pipeline={other}", f"test_pipeline={other}", "pictures=0")
    runner = build_runner(tried, tmp_path)
    batch = next(iter(runner.build_dataloader(runner._train_dataloader, seed=0)))
    assert {tuple(image.shape) for image in batch["inputs"]} == {(3, 32, 48)}
    batch = next(iter(runner.build_dataloader(runner._val_dataloader, seed=0)))
    assert tuple(batch["inputs"][0].shape) == (3, 32, 48)
    assert tried.described()["preprocessing"]["pipeline"][0]["scale"] == (48, 32)


def test_the_number_of_classes_follows_the_data(boxes, detection_config):
    whole = plan(detection_config(), boxes).model()
    assert whole["bbox_head"]["num_classes"] == 3
    two = plan(detection_config(), boxes, "classes=['sea','sun']")
    assert two.model()["bbox_head"]["num_classes"] == 2
    assert two.class_names == ["sea", "sun"]
    # a whole model config with a count of its own
    written = repr(whole).replace("'num_classes': 3", "'num_classes': 80")
    assert plan(detection_config(more=f"model = {written}"), boxes).model()["bbox_head"]["num_classes"] == 3


def test_a_network_is_never_trained_without_its_initialisation(boxes, detection_config):
    """MMDetection leaves it to the caller; without it DETR's queries are what was in the memory."""
    head = plan(detection_config(), boxes).network().bbox_head
    assert head.retina_cls.bias.detach().tolist() == pytest.approx([-4.59512] * 27, abs=1e-4)  # -log((1 - 0.01) / 0.01)


def test_the_same_seed_draws_the_same_network(boxes, detection_config):
    first, second, other = (
        plan(detection_config(), boxes, f"seed={seed}").network().state_dict() for seed in (3, 3, 4)
    )
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["backbone.conv1.weight"], other["backbone.conv1.weight"])


def test_a_dry_run_writes_nothing_and_says_go(boxes, detection_config, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", str(detection_config()), "--data", str(boxes), "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "verdict                      go" in told
    assert "4 images padded to 96x64, at most 3 objects" in told
    assert not list(tmp_path.iterdir())
    assert (
        main(
            ["train", str(detection_config()), "--data", str(boxes), "--dry-run", "--cfg-options", "optimizer.lr=1e30"]
        )
        == 2
    )


def test_two_processes_score_what_one_scores(run, launcher, boxes, detection_config, tmp_path):
    """An odd number of validation images: one is given to both processes, and counted once."""
    path = detection_config(more=STILL)
    still = ["max_epochs=1", "optimizer.lr=0.0", "optimizer.weight_decay=0.0"]
    train(path, data=boxes, work_dir=tmp_path / "one", load_from=run / "last.pth", options=still)
    command = ["train", path, "--data", boxes, "--work-dir", tmp_path / "two"]
    command += ["--load-from", run / "last.pth", "--launcher", "pytorch", "--cfg-options", *still]
    for done in launcher.pair(*command):
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = scores(tmp_path / "one"), scores(tmp_path / "two")
    assert one.keys() == two.keys()
    assert one[1, "AP"] > 0
    for key in one:
        assert two[key] == pytest.approx(one[key], nan_ok=True), key


def test_weights_of_other_classes_give_their_rows_by_name(run, boxes, detection_config, tmp_path, capsys):
    options = ["max_epochs=1", "val_split=None", "optimizer.lr=0.0", "classes=['sea','sun']"]
    train(detection_config(), data=boxes, work_dir=tmp_path, load_from=run / "last.pth", options=options)
    assert "classes: 2 of 2 keep what was learned (sea, sun); dropped: grass" in capsys.readouterr().out
    before = weights(run)["bbox_head.retina_cls.bias"].view(9, 3)  # anchors x (grass, sun, sea)
    after = weights(tmp_path)["bbox_head.retina_cls.bias"].view(9, 2)
    assert torch.equal(after, before[:, [2, 1]])


def test_published_weights_that_are_not_there_are_asked_for_in_one_line(boxes, detection_config, tmp_path, monkeypatch):
    def no_network(*_args, **_options):
        raise OSError("Network is unreachable")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(CheckpointError, match=r"resnet18-.*\.pth could not be downloaded .*pretrained=PATH"):
        options = ["model.backbone=resnet18"]
        train(detection_config(pretrained=True), data=boxes, work_dir=tmp_path / "run", options=options)


def test_a_run_goes_on_with_its_classes_and_its_network_only(run, boxes, detection_config):
    path = detection_config(max_epochs=24, optimizer={"type": "AdamW", "lr": 2e-3})
    before = (run / "config.json").read_bytes()
    again = {"data": boxes, "work_dir": run, "resume": True}
    with pytest.raises(CheckpointError, match=r"another order: label 0 is 'grass', here 'sea'"):
        train(path, **again, options=["classes=['sea','sun','grass']"])
    with pytest.raises(CheckpointError, match=r"it has 'grass', which are not here"):
        train(path, **again, options=["classes=['sun','sea']"])
    with pytest.raises(CheckpointError, match=r"checkpoint of another architecture"):
        train(path, **again, options=["model.head.feat_channels=8"])
    assert (run / "config.json").read_bytes() == before


def test_a_run_that_could_not_start_leaves_no_folder(boxes, detection_config, tmp_path):
    (tmp_path / "random.pth").write_bytes(b"nothing")
    for wrong in ("none.pth", "random.pth"):
        with pytest.raises(CheckpointError, match=wrong):
            train(detection_config(), data=boxes, work_dir=tmp_path / "run", load_from=tmp_path / wrong)
        assert not (tmp_path / "run").exists()


def test_a_test_is_on_the_classes_of_the_checkpoint(run, boxes, detection_config, tmp_path, capsys):
    command = ["test", str(detection_config()), str(run / "best.pth"), "--data", str(boxes), "--out", str(tmp_path)]
    assert main(command) == 0
    assert "boxes  all" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} >= {"scores.csv", "scores.json", "detections.json", "report.html"}
    written = (tmp_path / "scores.csv").read_text()
    assert main([*command, "--cfg-options", "classes=['sun','sea','grass']"]) == 0
    assert (tmp_path / "scores.csv").read_text() == written  # classes are known by their names


def test_a_dry_run_looks_at_the_weights_it_would_start_from(boxes, detection_config, tmp_path, capsys):
    command = ["train", str(detection_config()), "--data", str(boxes), "--dry-run"]
    assert main([*command, "--load-from", str(tmp_path / "none.pth")]) == 2
    assert "none.pth: no such checkpoint file" in capsys.readouterr().err
    assert main([*command, "--resume"]) == 2
    assert "leave --resume out" in capsys.readouterr().err


def test_options_that_would_do_nothing_are_refused(run, boxes, detection_config, tmp_path, capsys):
    given = [str(detection_config()), "--data", str(boxes)]
    assert main(["train", *given, "--dry-run", "--resume", "--work-dir", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "writes nothing: leave --resume and --work-dir out" in error and error.count("\n") == 1
    for unread in ("test_pipeline=[]", "model.neck.out_channels=32"):
        assert main(["test", given[0], str(run / "best.pth"), *given[1:], "--cfg-options", unread]) == 2
        assert (
            f"--cfg-options {unread}: does nothing here, network and transforms are the checkpoint's"
            in capsys.readouterr().err
        )
    for option in (["--no-surface"], ["--convention", "strict"]):
        assert main(["test", str(run / "best.pth"), *given[1:], *option]) == 2
        message = (
            f"{option[0]}: is for a checkpoint that segments volumes, and {run / 'best.pth'} finds objects in images"
        )
        assert capsys.readouterr().err == f"densekit test: {message}; leave it out\n"


def test_a_test_leaves_what_the_training_wrote(run, boxes, detection_config):
    before = {path: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert main(["test", str(detection_config()), str(run / "best.pth"), "--data", str(boxes)]) == 0
    assert {path: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    written = {path.name for path in (run / "test_best_val").iterdir()}
    assert written == {"scores.csv", "scores.json", "detections.json", "report.html"}


def test_a_test_on_images_that_may_have_been_trained_on_says_so(boxes, detection_config, tmp_path, caplog):
    loose = tmp_path / "loose"
    shutil.copytree(boxes / "train2017", loose)
    shutil.copy(boxes / "annotations" / "instances_train2017.json", loose / "labels.json")
    path = detection_config()
    for split, warned in (("val_split=None", True), ("val_split=val", False)):
        run = tmp_path / split
        train(path, data=loose, work_dir=run, options=["max_epochs=1", split])
        caplog.clear()
        score(run / "last.pth", config=path, data=loose)
        assert any("may have learned some of these" in message for message in caplog.messages) == warned


def test_a_drawn_split_is_said_and_without_validation_all_images_train(boxes, detection_config, tmp_path):
    loose = tmp_path / "loose"
    shutil.copytree(boxes / "train2017", loose)
    shutil.copy(boxes / "annotations" / "instances_train2017.json", loose / "labels.json")
    path = detection_config()
    drawn = plan(path, loose)
    number = drawn.data.counts["val"]["images"]
    assert number > 0 and drawn.data.counts["train"]["images"] == 13 - number
    assert (
        f"no validation split is given: {number} of 13 images drawn for it (seed 0)"
        in DetectionReport(drawn).describe()
    )
    whole = plan(path, loose, "val_split=None")
    assert whole.data.counts["train"]["images"] == 13
    assert not any("no validation split is given" in line for line in DetectionReport(whole).describe())


def test_only_a_resize_says_how_large_the_images_are(boxes, detection_config):
    affine = {"type": "densekit.Albumentations", "transforms": [{"type": "Affine", "scale": [0.7, 1.3]}]}
    resize = {"type": "RandomChoiceResize", "scales": [(96, 64), (120, 50)], "keep_ratio": True}
    assert plan(detection_config(), boxes, f"train_pipeline=[{affine}]").input_size() == (1333, 800)
    assert plan(detection_config(), boxes, f"train_pipeline=[{affine}, {resize}]").input_size() == (96, 64)
    with pytest.raises(ConfigError, match=r"train_pipeline: a Resize has scale='1333x800', expected the longer"):
        plan(detection_config(), boxes, "train_pipeline.0.scale=1333x800")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ('model.head.loss_bbox={"type":"L1Loss","betaa":1}', r"model cannot be built: .*L1Loss.*'betaa'"),
        (
            'model.head.loss_bbox={"type":"L1Los"}',
            r"model cannot be built: 'L1Los' is not registered; did you mean 'L1Loss'",
        ),
        ('model.data_preprocessor={"sd":[1,1,1]}', r"'sd'"),
    ],
)
def test_a_part_that_cannot_be_built_is_one_line(boxes, detection_config, tmp_path, option, message):
    with pytest.raises(ConfigError, match=message):
        train(detection_config(), data=boxes, work_dir=tmp_path / "run", options=[option])
    assert not (tmp_path / "run").exists()


def test_a_smaller_batch_changes_nothing_that_counts_iterations(boxes, detection_config):
    schedule = [
        {"type": "LinearLR", "start_factor": 0.1, "end": 6, "by_epoch": False},
        {"type": "StepLR", "step_size": 1},
    ]
    lowered = plan(detection_config(ema=0.19, schedule=schedule), boxes)
    steps = lowered.iterations_per_epoch
    lowered.lower(2, 2)
    assert lowered.images_per_step == 4 and lowered.iterations_per_epoch == 2 * steps
    warm_up, drops = lowered.schedule()
    assert warm_up["end"] == 12 and drops["step_size"] == 1
    assert lowered.config.ema == pytest.approx(0.1)  # twice as often


@pytest.mark.parametrize(
    ("neck", "batch", "said"),
    [
        ({"type": "RCFPN", "out_channels": 16}, 2, "RCFPN: batch norm in the neck sees 2 images at a time"),
        ({"type": "RCFPN", "out_channels": 16}, 4, ""),
        ({"type": "RCFPN", "out_channels": 16, "norm_cfg": {"type": "GN", "num_groups": 4}}, 2, ""),
        ({"type": "FPN", "out_channels": 16}, 1, ""),
    ],
)
def test_batch_norm_in_a_neck_wants_a_batch(boxes, detection_config, neck, batch, said):
    found = DetectionReport(plan(detection_config(), boxes, f"model.neck={neck}", f"batch_size={batch}")).cautions()
    assert any(said in line for line in found) if said else not any("batch norm" in line for line in found)
