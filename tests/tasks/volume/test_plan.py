"""Every key is checked, every override works, and what follows from the data is derived."""

import json
import shutil
from pathlib import Path

import pytest

from densekit.errors import ConfigError, DataError
from densekit.registry import MODELS
from densekit.tasks import load_config, make_plan
from densekit.tasks.volume.settings import SETTINGS

CONFIGS = Path(__file__).parents[3] / "configs"


def plan(config, prepared, *options):
    return make_plan(load_config(config, options), prepared)


def check(config, prepared, *options):
    """All that is checked before a training starts."""
    p = plan(config, prepared, *options)
    p.check_training()
    p.pipeline()
    p.model()


def test_counts_come_from_the_data_set(config, prepared):
    model = plan(config(), prepared).model()
    assert model["backbone"]["in_channels"] == 1
    assert model["head"]["num_classes"] == 3


def test_a_count_that_is_not_the_data_sets_is_refused(config, prepared):
    with pytest.raises(ConfigError, match=r"num_classes=14, but .* has 3 classes .*leave the key out"):
        plan(config(), prepared, "model.head.num_classes=14").model()


def test_overrides_reach_what_is_derived_from_them(config, prepared):
    p = plan(config(), prepared, "max_epochs=7", "patch_size=(16,16,16)", "optimizer.lr=0.5", "clip_grad=None")
    assert p.schedule() == [{"by_epoch": True, "type": "PolyLR", "power": 0.9, "eta_min": 0.0, "end": 8}]
    assert p.inference().window == (16, 16, 16)
    assert p.pipeline()[0]["patch_size"] == [16, 16, 16]
    assert p.config.optimizer["lr"] == 0.5
    assert p.config.clip_grad is None


def test_the_mirror_of_the_training_follows_the_config(config, prepared):
    def mirror(*options):
        return next((t for t in plan(config(), prepared, *options).pipeline() if t["type"] == "AnatomicalMirror"), None)

    assert mirror()["labels"] == ["background", "near", "far"]
    assert mirror('mirror_axes=("superior-inferior",)')["axes"] == ["superior-inferior"]
    assert mirror("mirror_axes=()") is None
    assert mirror("mirror_relabel=False")["relabel"] is False


def test_schedules_by_iteration_end_with_the_training(config, prepared):
    more = 'schedule = [dict(type="LinearLR", end=3, by_epoch=False), dict(type="CosineAnnealingLR", by_epoch=False)]'
    warmup, cosine = plan(config(more=more), prepared).schedule()
    assert warmup["end"] == 3
    assert (cosine["end"], cosine["T_max"]) == (16, 16)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("batch_sizee=3", r"unknown key 'batch_sizee'; did you mean 'batch_size'"),
        ("optimiser.lr=1", r"there is no 'optimiser' in the config; did you mean 'optimizer'"),
        ("optimizer.learning_rate=1", r"SGD|AdamW takes no argument 'learning_rate'"),
        ("optimizer.type=AdamWW", r"'AdamWW' is not a registered optimizer; did you mean 'AdamW'"),
        ("schedule.0.type=PolyLRR", r"'PolyLRR' is not a registered schedule; did you mean 'PolyLR'"),
        ("amp=fp8", r"amp='fp8', expected one of"),
        ("patch_size=(8,8)", r"patch_size=\(8, 8\), expected three positive whole numbers"),
        ("batch_size=0", r"batch_size=0, expected a positive whole number"),
        ("train_split=trian", r"no split 'trian'; did you mean 'train'"),
        ("train_pipeline=nnunett", r"train_pipeline='nnunett'; did you mean 'nnunet'"),
        ("justakey", r"expected key=value"),
        ("batch_size.x=1", r"batch_size is 2, it has no 'x'"),
        ('inference.mirror_axes=("left-rihgt",)', r"unknown axis 'left-rihgt'.*did you mean 'left-right'"),
        ("inference.mirror_axes=left-right", r"inference.mirror_axes='left-right', expected a list of axes"),
        ("inference.overlapp=0.5", r"inference: unknown setting 'overlapp'; did you mean 'overlap'"),
        ("inference.overlap=1.5", r"overlap=1.5: expected a fraction"),
        ("inference.window=None", r"window=None: expected three voxel counts"),
        ("inference.weights=gausian", r"did you mean 'gaussian'"),
        ("convention=strickt", r"did you mean 'strict'"),
        ("val_split=vall", r"no split 'vall'; did you mean 'val'"),
        ("accumulate=3", r"iterations_per_epoch=4 is not a multiple of accumulate=3"),
        ("optimizer=SGD", r"optimizer='SGD', expected a dict"),
        ("optimizer.type=None", r"config of a optimizer needs a type"),
        ("optimizer.type=3", r"type=3 is not a optimizer"),
        ("optimizer.lr=fast", r"optimizer=.*'fast'.* cannot be used"),
        ("optimizer.lr=-1", r"optimizer=.* cannot be used: Invalid learning rate: -1"),
        ('schedule=[{"type":"MultiStepLR"}]', r"schedule.0=.* cannot be used: .*milestones"),
        ('schedule=[{"type":"PolyLR","power":"x"}]', r"schedule.0=.* cannot be used"),
        ("schedule.3.type=PolyLR", r"there is no 'schedule.3' in the config"),
        ("schedule.3=1", r"schedule is a list of 1, name its item by number from 0"),
        ('custom_hooks=[{"type":"EMAHok"}]', r"'EMAHok' is not a registered hook; did you mean 'EMAHook'"),
        ("model.head.type=None", r"config of a model needs a type"),
        ("model.backbone=None", r"model needs a backbone and a head"),
    ],
)
def test_what_cannot_be_is_said_with_the_close_names(config, prepared, option, message):
    with pytest.raises(ConfigError, match=message) as caught:
        check(config(), prepared, option)
        MODELS.build(plan(config(), prepared, option).model())
    assert "\n" not in str(caught.value)


WRONG = {
    "data_root": 5,
    "train_split": None,
    "val_split": 3,
    "patch_size": 8,
    "batch_size": 2.0,
    "iterations_per_epoch": "many",
    "foreground_ratio": 1.5,
    "num_workers": -1,
    "train_pipeline": 3,
    "mirror_axes": "left-right",
    "mirror_relabel": "yes",
    "model": None,
    "max_epochs": True,
    "optimizer": "SGD",
    "clip_grad": 0,
    "accumulate": 0,
    "schedule": None,
    "amp": "fp8",
    "ema": 1.0,
    "compile": "maybe",
    "channels_last": 1,
    "load_from": 3,
    "val_interval": 0,
    "inference": None,
    "convention": 3,
    "surface_metrics": "yes",
    "seed": -1,
    "deterministic": "maybe",
    "log_interval": 0,
    "checkpoint_interval": 0,
    "pictures": -1,
    "custom_hooks": None,
    "fold": -1,
}


@pytest.mark.parametrize("key", list(SETTINGS))
def test_a_value_of_the_wrong_kind_is_refused_for_every_key(config, prepared, key):
    given = load_config(config())
    given[key] = WRONG[key]
    with pytest.raises(ConfigError, match=rf"tiny\.py: {key}=.*, expected ") as caught:
        make_plan(given, prepared)
    assert "\n" not in str(caught.value)


def test_an_item_of_a_list_is_overridden_by_its_number(config, prepared):
    p = plan(config(), prepared, 'schedule.0={"type":"LinearLR","end":2}')
    assert p.schedule() == [{"by_epoch": True, "type": "LinearLR", "end": 2}]


def test_a_schedule_given_as_a_class_ends_with_the_training(config, prepared):
    imports = "from mmengine.optim import CosineAnnealingLR, PolyLR"
    more = f"{imports}\nschedule = [dict(type=PolyLR), dict(type=CosineAnnealingLR)]"
    poly, cosine = plan(config(more=more), prepared).schedule()
    assert poly["end"] == 5
    assert (cosine["end"], cosine["T_max"]) == (4, 4)


def test_a_split_without_cases_names_those_with_cases(config, prepared, tmp_path):
    folder = shutil.copytree(prepared, tmp_path / "data")
    contents = json.loads((folder / "splits.json").read_text())
    contents["splits"]["train"] = []
    (folder / "splits.json").write_text(json.dumps(contents))
    with pytest.raises(DataError, match=r"split 'train' has no cases \(it has train: 0, val: 2, test: 2\)"):
        check(config(), folder)
    assert plan(config(), folder).cases("test+test") == ["case6", "case7"]


def test_a_missing_config_names_its_neighbours():
    with pytest.raises(ConfigError, match=r"no such config, .*; did you mean 'dformer_synapse'"):
        load_config(CONFIGS / "dformer_synaps.py")


def test_a_config_with_a_mistyped_import_fails_at_load(config):
    path = config(more="from densekit.models.backbones.dformer import DFormr\nx = DFormr")
    with pytest.raises(ConfigError, match=r"cannot be read.*DFormr"):
        load_config(path)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("division.py", "x = 1 / 0", "ZeroDivisionError"),
        ("lookup.py", "model = dict()\nmodel['head']['type'] = 1", "KeyError"),
        ("notes.md", "# no config", "OSError"),
    ],
)
def test_a_config_that_cannot_be_run_is_one_line(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=rf"{name}: cannot be read: {reason}: ") as caught:
        load_config(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_missing_data_says_how_to_get_and_prepare_it(config, tmp_path):
    with pytest.raises(DataError, match=r"no such folder; get the raw data.*densekit prepare"):
        plan(config(), tmp_path / "nothing")


def test_a_config_without_data_root_asks_for_data(config):
    with pytest.raises(ConfigError, match="with data=PATH"):
        make_plan(load_config(config()))


def test_test_time_mirroring_is_anatomical(config, prepared):
    p = plan(config(), prepared, 'inference.mirror_axes=("left-right","superior-inferior")')
    assert p.inference().mirror_axes == (2, 0)
    assert p.inference().mirror_swaps == ()


@pytest.mark.parametrize(
    "path", [p for p in sorted(CONFIGS.glob("*.py")) if load_config(p).task == "volume"], ids=lambda p: p.stem
)
def test_every_shipped_volume_config_loads_and_names_its_data(path):
    config = load_config(path)
    assert config.data_root.startswith("data/")
    assert "densekit prepare" in path.read_text()


def test_the_keys_of_a_config_are_those_of_its_task(config):
    assert load_config("retinanet-fpn-r50_coco").task == "detection"
    assert load_config(config()).task == "volume"
    with pytest.raises(ConfigError, match=r"unknown key 'patch_siz'.*`densekit config detection` prints all keys"):
        load_config(CONFIGS / "retinanet-fpn-r50_coco.py", ["patch_siz=(8,8,8)"])
    with pytest.raises(ConfigError, match=r"unknown key 'test_pipeline'.*`densekit config volume` prints all keys"):
        load_config(config(), ["test_pipeline=[]"])


def test_a_config_without_a_task_says_what_to_start_it_with(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("max_epochs = 3\n")
    with pytest.raises(ConfigError, match=r"does not say its task; add a line such as task = 'volume'"):
        load_config(path)


def test_a_training_starts_from_weights_for_other_structures(short_run, prepared, tmp_path):
    data = shutil.copytree(prepared, tmp_path / "data")
    description = json.loads((data / "dataset.json").read_text())
    renamed = {"near": "Near", "far": "distant"}
    for key in ("labels", "scored"):
        description[key] = [renamed.get(name, name) for name in description[key]]
    (data / "dataset.json").write_text(json.dumps(description))
    p = plan(short_run[0], data)
    (first, classes) = p.load_weights(p.network(fresh=False), short_run[1] / "best.pth")
    assert "start fresh" not in first
    assert classes == "classes: 2 of 3 keep what was learned (background, Near); new: distant; dropped: far"


def test_another_width_is_said(config, short_run, prepared):
    p = plan(config(more="model['backbone']['widths'] = (8, 32)\nmodel['neck']['in_channels'] = (8, 32)"), prepared)
    (first, _) = p.load_weights(p.network(fresh=False), short_run[1] / "best.pth")
    assert "start fresh" in first
