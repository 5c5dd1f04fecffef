"""MMDetection's own configs, as it ships them: what is taken of them, what is told, what is refused."""

import json
import logging
from pathlib import Path

import mmdet
import pytest
from mmengine.config import Config

from densekit.cli import main
from densekit.config_tree import plain, types, walk
from densekit.engine.folder import check_continued
from densekit.engine.origin import origins
from densekit.errors import ConfigError
from densekit.package import load_checkpoint
from densekit.tasks import load_config, make_plan
from densekit.tasks.detection.mmdetection import READ_FROM, name_of

SHIPPED = Path(mmdet.__file__).parent / ".mim" / "configs"
FAMILIES = [
    "atss/atss_r50_fpn_1x_coco",
    "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco",
    "centernet/centernet_r18_8xb16-crop512-140e_coco",
    "deformable_detr/deformable-detr_r50_16xb2-50e_coco",
    "detr/detr_r50_8xb2-150e_coco",
    "dino/dino-4scale_r50_8xb2-12e_coco",
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco",
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco",
    "gfl/gfl_r50_fpn_1x_coco",
    "retinanet/retinanet_r50_fpn_1x_coco",
    "rtmdet/rtmdet_tiny_8xb32-300e_coco",
    "ssd/ssd300_coco",
    "tood/tood_r50_fpn_1x_coco",
    "yolo/yolov3_d53_8xb8-ms-608-273e_coco",
    "yolox/yolox_tiny_8xb8-300e_coco",
]
TINY_RTMDET = f"""
_base_ = {str(SHIPPED / "rtmdet/rtmdet_tiny_8xb32-300e_coco.py")!r}
model = dict(
    backbone=dict(widen_factor=0.125, init_cfg=None),
    neck=dict(in_channels=[32, 64, 128], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32),
)
"""
TINY_YOLOX = f"""
_base_ = {str(SHIPPED / "yolox/yolox_tiny_8xb8-300e_coco.py")!r}
model = dict(
    backbone=dict(widen_factor=0.125),
    neck=dict(in_channels=[32, 64, 128], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32),
)
"""
SMALL = ("batch_size=4", "num_workers=0", "pictures=0", "max_epochs=2", "val_interval=1", "log_interval=1")


def shipped(name):
    return SHIPPED / f"{name}.py"


@pytest.fixture
def written(tmp_path):
    """Writes a config file; returns it."""

    def write(text, name="mine.py"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def small(text, size=64):
    """The sizes of a config as it is read, made small, as lines of a config of densekit."""

    def change(pipeline):
        for place, value in walk(pipeline):
            if place[-1] in ("img_scale", "scale", "size", "crop_size", "border") and isinstance(value, tuple):
                node = pipeline
                for key in place[:-1]:
                    node = node[key]
                node[place[-1]] = tuple(round(side * size / 640) for side in value)
        return pipeline

    return change(text)


# --- what is taken ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_is_taken(name, boxes):
    given, config = Config.fromfile(shipped(name)), load_config(shipped(name))
    plan = make_plan(config, boxes)
    plan.check_training()
    assert config.task == "detection"
    assert plain(config.optimizer) == plain(given.optim_wrapper.optimizer)
    assert config.max_epochs == given.train_cfg.max_epochs
    assert len(config.schedule) == len(given.param_scheduler)
    assert config.batch_size == given.train_dataloader.batch_size
    loading = {"LoadImageFromFile", "LoadAnnotations", "PackDetInputs"}
    assert config.train_pipeline
    for key in ("train_pipeline", "test_pipeline"):
        assert not loading & {name_of(kind) for kind in types(config[key])}
    classes = [v for place, v in walk(plan.model()) if place[-1] == "num_classes" and "rpn_head" not in place]
    assert set(classes) == {3}


def test_masks_are_taken(outlines):
    plan = make_plan(load_config(shipped("mask_rcnn/mask-rcnn_r50_fpn_1x_coco")), outlines)
    plan.check_training()
    assert plan.masks


def test_rtmdet_key_by_key():
    config = load_config(shipped("rtmdet/rtmdet_tiny_8xb32-300e_coco"))
    assert (config.ema, config.val_interval, config.lr_batch) == (0.0002, 10, 256)
    assert [t.type for t in config.train_pipeline][:2] == ["CachedMosaic", "RandomResize"]
    assert config.final_pipeline[0].type == "RandomResize"
    assert config.final_epochs == 20
    assert plain(config.paramwise) == {"norm_decay_mult": 0, "bias_decay_mult": 0, "bypass_duplicate": True}
    assert [t.type for t in config.test_pipeline] == ["Resize", "Pad"]


def test_yolox_ends_without_mosaic_and_with_its_l1_loss():
    config = load_config(shipped("yolox/yolox_s_8xb8-300e_coco"))
    assert [t.type for t in config.train_pipeline[:3]] == ["Mosaic", "RandomAffine", "MixUp"]
    assert [t.type for t in config.final_pipeline[:2]] == ["YOLOXHSVRandomAug", "RandomFlip"]
    assert config.final_epochs == 16  # MMDetection switches one epoch before the last fifteen
    assert plain(config.custom_hooks) == [
        {"type": "densekit.FinalEpochsHook", "epochs": 16, "attribute": "bbox_head.use_l1"}
    ]
    assert config.schedule[0].type == "mmdet.QuadraticWarmupLR"


def test_what_an_optim_wrapper_says(written):
    base = f"_base_ = {str(shipped('detr/detr_r50_8xb2-150e_coco'))!r}\n"
    config = load_config(written(base + "optim_wrapper = dict(accumulative_counts=4)"))
    assert (config.clip_grad, config.accumulate, config.lr_batch) == (0.1, 4, 16)
    assert plain(config.paramwise) == {"custom_keys": {"backbone": {"lr_mult": 0.1, "decay_mult": 1.0}}}


def test_a_repeated_data_set_and_hooks_of_the_network(written):
    config = load_config(shipped("ssd/ssd300_coco"))
    assert (config.repeat, config.batch_size, config.custom_hooks) == (5, 8, [])
    base = f"_base_ = {str(shipped('tood/tood_r50_fpn_1x_coco'))!r}\n"
    config = load_config(
        written(base + "custom_hooks = [dict(type='MemoryProfilerHook'), dict(type='NumClassCheckHook')]")
    )
    assert plain(config.custom_hooks) == [{"type": "mmdet.MemoryProfilerHook"}]


def test_epochs_by_iteration_follow_from_the_data(boxes):
    plan = make_plan(load_config(shipped("yolox/yolox_tiny_8xb8-300e_coco"), ["batch_size=4"]), boxes)
    assert plan.iterations_per_epoch == 4
    warmup, cosine, _ = plan.schedule()
    assert (warmup["by_epoch"], warmup["end"]) == (False, 20)
    assert (cosine["begin"], cosine["end"], cosine["T_max"]) == (20, 1140, 1140)


def test_other_epochs_fit_the_schedule_and_what_is_switched(boxes):
    plan = make_plan(load_config(shipped("rtmdet/rtmdet_tiny_8xb32-300e_coco"), ["max_epochs=30", *SMALL[:1]]), boxes)
    warmup, cosine = plan.schedule()
    assert warmup["end"] == 1000  # iterations
    assert (cosine["begin"], cosine["end"]) == (60, 120)
    assert (plan.config.final_epochs, plan.config.max_epochs) == (2, 30)


@pytest.mark.parametrize("epochs", [(2, 4), (12, 4), (4, 12)])
@pytest.mark.parametrize("name", ["retinanet/retinanet_r50_fpn_1x_coco", "rtmdet/rtmdet_tiny_8xb32-300e_coco"])
def test_a_resumed_run_may_have_other_epochs_though_its_steps_move(boxes, tmp_path, monkeypatch, name, epochs):
    monkeypatch.setattr("densekit.engine.folder._check_epochs", lambda folder, max_epochs: None)

    def run(max_epochs, *options):
        plan = make_plan(load_config(shipped(name), [f"max_epochs={max_epochs}", "batch_size=4", *options]), boxes)
        return plan.resolved(), plan.iterations_per_epoch

    before, after = epochs
    (tmp_path / "config.json").write_text(json.dumps(run(before)[0]))
    said = check_continued(tmp_path, *run(after))
    assert f"changed since the run was started: max_epochs={after} (was {before})" in said
    assert any("milestones" in line or "begin" in line for line in said)
    step = "milestones=[3,9]" if "retinanet" in name else "begin=1"
    with pytest.raises(ConfigError, match=r"resume: schedule.1"):
        check_continued(tmp_path, *run(after, f"param_scheduler.1.{step}"))


def test_options_of_both_kinds(boxes):
    path = shipped("retinanet/retinanet_r50_fpn_1x_coco")
    options = ["optim_wrapper.optimizer.lr=0.5", "model.backbone.depth=18", "batch_size=7"]
    config = load_config(path, options)
    assert (config.optimizer.lr, config.model.backbone.depth, config.batch_size) == (0.5, 18, 7)
    with pytest.raises(ConfigError, match=r"there is no 'optim_wraper'.*optimizer"):
        load_config(path, ["optim_wraper.optimizer.lr=0.5"])


def test_origins_name_the_file_of_mmdetection():
    path = shipped("retinanet/retinanet_r50_fpn_1x_coco")
    found = origins(path, ["optim_wrapper.optimizer.lr=0.5", "lr_batch=4"], READ_FROM)
    assert found["model"].endswith("_base_/models/retinanet_r50_fpn.py:2")
    assert found["max_epochs"].endswith("_base_/schedules/schedule_1x.py:2 (train_cfg)")
    assert "retinanet_r50_fpn_1x_coco.py" in found["optimizer"]
    assert found["optimizer"].endswith("changed by --cfg-options optim_wrapper.optimizer.lr=0.5 (optim_wrapper)")
    assert found["lr_batch"] == "--cfg-options lr_batch=4"


def test_a_config_with_read_base(written, boxes):
    written(
        "from mmdet.models import RetinaNet, ResNet, FPN, RetinaHead\n"
        "model = dict(type=RetinaNet, backbone=dict(type=ResNet, depth=18), neck=dict(type=FPN, num_outs=5,\n"
        "    in_channels=[64, 128, 256, 512], out_channels=16), bbox_head=dict(type=RetinaHead, num_classes=80,\n"
        "    in_channels=16))\n",
        "network.py",
    )
    path = written(
        "from mmengine.config import read_base\n"
        "with read_base():\n    from .network import *\n"
        "from mmcv.transforms import LoadImageFromFile, RandomResize\n"
        "from mmdet.datasets.transforms import LoadAnnotations, PackDetInputs, Resize\n"
        "from torch.optim import SGD\n"
        "test_pipeline = [dict(type=LoadImageFromFile), dict(type=Resize, scale=(96, 64), keep_ratio=True),\n"
        "    dict(type=LoadAnnotations, with_bbox=True), dict(type=PackDetInputs)]\n"
        "train_dataloader = dict(batch_size=2, dataset=dict(pipeline=[dict(type=LoadImageFromFile),\n"
        "    dict(type=LoadAnnotations, with_bbox=True),\n"
        "    dict(type=RandomResize, scale=(96, 64), ratio_range=(0.5, 1.0)), dict(type=PackDetInputs)]))\n"
        "test_dataloader = dict(dataset=dict(pipeline=test_pipeline))\n"
        "optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1))\n"
        "train_cfg = dict(max_epochs=3)\n"
    )
    config = load_config(path)
    assert [t.type.__name__ for t in config.train_pipeline] == ["RandomResize"]
    assert (config.lr_batch, config.schedule) == (16, [])
    plan = make_plan(config, boxes)
    plan.check_training()
    assert plan.described()["preprocessing"]["pipeline"][0]["type"] == "mmdet.Resize"


def test_what_it_comes_to_is_printed_as_a_config_that_comes_to_the_same(written, capsys):
    path = shipped("rtmdet/rtmdet_tiny_8xb32-300e_coco")
    assert main(["config", str(path)]) == 0
    again = load_config(written(capsys.readouterr().out))
    first = load_config(path)
    assert {key: plain(value) for key, value in again.items()} == {key: plain(value) for key, value in first.items()}


# --- what is told and refused -----------------------------------------------------------------------------------------
def test_what_is_not_taken_is_told_once_with_its_reason(written, caplog):
    path = written(
        f"_base_ = {str(shipped('rtmdet/rtmdet_tiny_8xb32-300e_coco'))!r}\nload_from = 'https://host/file.pth'\n",
        "mine_8xb32.py",
    )
    with caplog.at_level(logging.WARNING, logger="densekit"):
        config = load_config(path)
    assert config.load_from is None
    (told,) = [record.message for record in caplog.records]
    for said in (
        "not taken from mine_8xb32.py:",
        "load_from: nothing is downloaded; fetch https://host/file.pth and give it with --load-from FILE",
        "auto_scale_lr.base_batch_size=16: its name says 8xb32, so 256",
        "train_cfg.dynamic_intervals: ",
        "filter_cfg.filter_empty_gt: ",
    ):
        assert said in told


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("soft_teacher/soft-teacher_faster-rcnn_r50-caffe_fpn_180k_semi-0.1-coco", "without labels"),
        ("htc/htc_r50_fpn_1x_coco", "with_seg"),
        ("fast_rcnn/fast-rcnn_r50_fpn_1x_coco", "proposals"),
        ("glip/glip_atss_swin-t_a_fpn_dyhead_16xb2_ms-2x_funtune_coco", "text"),
        ("qdtrack/qdtrack_faster-rcnn_r50_fpn_8xb2-4e_mot17halftrain_test-mot17halfval", "no detector"),
        (
            "simple_copy_paste/mask-rcnn_r50_fpn_rpn-2conv_4conv1fc_syncbn-all_32xb2-ssj-scp-90k_coco",
            "counts 270000 iterations.*max_epochs=12",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(name, reason):
    with pytest.raises(ConfigError, match=reason) as error:
        load_config(shipped(name))
    assert shipped(name).name in str(error.value)
    assert "\n" not in str(error.value)


def test_configs_of_mmdetection_2_and_others_are_refused(written):
    old = "model = dict(type='RetinaNet')\ndata = dict(train=dict())\nlr_config = dict(policy='step')\n"
    with pytest.raises(ConfigError, match="MMDetection 2"):
        load_config(written(old))
    with pytest.raises(ConfigError, match="EncoderDecoder is no detector of MMDetection 3"):
        load_config(written("model = dict(type='EncoderDecoder')\noptim_wrapper = dict()\n"))
    with pytest.raises(ConfigError, match="does not say its task"):
        load_config(written("a = 1\n"))


def test_a_base_that_is_not_there_is_named_with_its_line(written):
    with pytest.raises(ConfigError, match=r"mine.py:2: there is no base 'gone'"):
        load_config(written("_base_ = [\n    './gone.py',\n]\n"))


# --- from a config to predictions -------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", [TINY_RTMDET, TINY_YOLOX], ids=["rtmdet", "yolox"])
def test_train_and_predict(text, written, boxes, tmp_path, capsys):
    path = written(text, "tiny_8xb4.py")
    config = load_config(path)
    pipelines = {key: small(plain(config[key])) for key in ("train_pipeline", "final_pipeline", "test_pipeline")}
    options = [*SMALL, "final_epochs=1", *(f"{key}={value!r}" for key, value in pipelines.items())]
    run = ["train", str(path), "--data", str(boxes), "--cfg-options", *options]
    assert main([*run, "--dry-run"]) == 0
    assert "verdict" in capsys.readouterr().out
    assert main([*run, "--work-dir", str(tmp_path / "run")]) == 0
    stored = load_checkpoint(tmp_path / "run" / "best.pth").preprocessing["pipeline"]
    assert [t["type"] for t in stored] == ["Resize", "Pad"]
    said = (tmp_path / "run" / "config.txt").read_text()
    assert "rtmdet_l_8xb32" in said or "yolox_s_8xb8" in said
    images = sorted((boxes / "val2017").glob("*.png"))[:2]
    out = tmp_path / "predictions"
    assert main(["predict", str(tmp_path / "run" / "best.pth"), *map(str, images), "--out", str(out)]) == 0
    assert sorted(p.stem for p in (out / "detections").iterdir()) == sorted(p.stem for p in images)
