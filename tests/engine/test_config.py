"""Every key is checked, every override works, and what follows from the data is derived."""

from pathlib import Path

import pytest

from densekit.engine.config import VolumePlan, load_config
from densekit.errors import ConfigError, DataError

CONFIGS = Path(__file__).parents[2] / "configs"


def plan(config, prepared, *options):
    return VolumePlan(load_config(config, options), prepared)


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
    assert p.inference()["window"] == [16, 16, 16]
    assert p.pipeline()[0]["patch_size"] == [16, 16, 16]
    assert p.config.optimizer["lr"] == 0.5
    assert p.config.clip_grad is None


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
    ],
)
def test_what_cannot_be_is_said_with_the_close_names(config, prepared, option, message):
    with pytest.raises(ConfigError, match=message) as caught:
        p = plan(config(), prepared, option)
        p.pipeline()
        p.inference()
    assert "\n" not in str(caught.value)


def test_a_missing_config_names_its_neighbours():
    with pytest.raises(ConfigError, match=r"no such config file; did you mean 'dformer_synapse'"):
        load_config(CONFIGS / "dformer_synaps.py")


def test_a_config_with_a_mistyped_import_fails_at_load(config):
    path = config(more="from densekit.models.backbones.dformer import DFormr\nx = DFormr")
    with pytest.raises(ConfigError, match=r"cannot be read.*DFormr"):
        load_config(path)


def test_missing_data_says_how_to_get_and_prepare_it(config, tmp_path):
    with pytest.raises(DataError, match=r"no such folder; get the raw data.*densekit prepare"):
        plan(config(), tmp_path / "nothing")


def test_a_config_without_data_root_asks_for_data(config):
    with pytest.raises(ConfigError, match="--data PATH"):
        VolumePlan(load_config(config()))


def test_test_time_mirroring_is_anatomical(config, prepared):
    p = plan(config(), prepared, 'inference.mirror_axes=("left-right","superior-inferior")')
    assert p.inference()["mirror_axes"] == [2, 0]
    assert p.inference()["mirror_swaps"] == []


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.py")), ids=lambda p: p.stem)
def test_every_shipped_config_loads_and_names_its_data(path):
    config = load_config(path)
    assert config.data_root.startswith("data/")
    assert "densekit prepare" in path.read_text()
