"""Training end to end on a tiny data set: the files of a run, what it learns, switches, scoring."""

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from densekit.engine.hooks import CsvLogHook
from densekit.engine.runner import Runner, build_runner
from densekit.package import load_checkpoint
from densekit.tasks import load_config, make_plan, train
from densekit.tasks import test as score
from densekit.visualization.shared.curves import ScoreCurve

from ..volume_runs import assert_bit_equal, weights

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_run_leaves_what_the_readme_promises(trained):
    _, folder, output = trained
    names = {p.name for p in folder.iterdir()}
    assert {"best.pth", "last.pth", "scalars.csv", "curves.png", "config.json", "pictures"} <= names
    assert sorted(p.name for p in (folder / "pictures").iterdir()) == ["epoch_0002.png", "epoch_0004.png"]
    assert Image.open(folder / "curves.png").width > 100
    assert list(folder.glob("*/vis_data/events.out.tfevents*"))
    for word in ("eta:", "loss:", "lr:", "dice:", "4 training cases"):
        assert word in output
    assert not list(folder.rglob(".densekit-*"))


def test_scalars_are_one_row_each(trained):
    with (trained[1] / "scalars.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {r["step"] for r in rows if r["name"] == "loss"} == {"2", "4", "6", "8", "10", "12", "14", "16"}
    assert [r["step"] for r in rows if r["name"] == "dice"] == ["8", "16"]
    losses = [float(r["value"]) for r in rows if r["name"] == "loss"]
    assert losses[-1] < losses[0]


def test_scalars_are_utf8_whatever_the_locale(tmp_path, monkeypatch):
    honest = Path.open

    def in_an_ascii_locale(self, mode="r", *arguments, encoding=None, **options):
        encoding = encoding if "b" in mode else encoding or "ascii"
        return honest(self, mode, *arguments, encoding=encoding, **options)

    monkeypatch.setattr(Path, "open", in_an_ascii_locale)
    runner = SimpleNamespace(
        work_dir=tmp_path, resuming=False, iter=4, epoch=1, train_loop=SimpleNamespace(unvalidated=False, batch=0)
    )
    hook = CsvLogHook(["background", "Gefäß"], ScoreCurve("dice", "Dice", "per structure"))
    hook.before_train(runner)
    hook.after_val_epoch(runner, {"dice/Gefäß": 0.5})
    runner.resuming = True
    hook.before_train(runner)
    rows = ["step,epoch,split,name,value", "4,1,val,dice/Gefäß,0.5"]
    assert (tmp_path / "scalars.csv").read_text(encoding="utf-8").splitlines() == rows


def test_the_learning_rate_follows_nnunets_rule(trained):
    with (trained[1] / "scalars.csv").open() as file:
        rates = {int(r["epoch"]): float(r["value"]) for r in csv.DictReader(file) if r["name"] == "lr"}
    assert rates == {e + 1: pytest.approx(1e-2 * (1 - e / 4) ** 0.9, rel=1e-4) for e in range(4)}


def test_best_holds_no_optimizer_and_is_smaller(trained):
    best, last = (load_checkpoint(trained[1] / name) for name in ("best.pth", "last.pth"))
    assert best.training == {} and "optimizer" in last.training
    assert best.path.stat().st_size < last.path.stat().st_size


def test_the_checkpoint_says_all_that_prediction_needs(trained, prepared):
    checkpoint = load_checkpoint(trained[1] / "best.pth")
    assert checkpoint.labels == ["background", "near", "far"]
    assert checkpoint.inference["window"] == [8, 12, 12]
    assert checkpoint.preprocessing["normalization"] == "zscore"
    assert checkpoint.meta["scored"] == ["near", "far"]
    logits = checkpoint.build_model().predict_logits(torch.zeros(1, 1, 8, 12, 12))
    assert logits.shape == (1, 3, 8, 12, 12)


def test_workers_do_not_change_the_result(trained, prepared, tmp_path):
    config, undisturbed, _ = trained
    train(config, data=prepared, work_dir=tmp_path, options=["num_workers=2", "pictures=0"])
    assert_bit_equal(weights(tmp_path), weights(undisturbed))


def test_another_seed_is_another_result(trained, prepared, tmp_path):
    config, undisturbed, _ = trained
    train(config, data=prepared, work_dir=tmp_path, seed=1, options=["max_epochs=1", "val_split=None"])
    key = "backbone.embedding.proj.weight"
    assert not torch.equal(weights(tmp_path)[key], weights(undisturbed)[key])


@pytest.mark.parametrize(
    "options",
    [
        ["accumulate=2"],
        ["ema=0.1"],
        ["amp=bf16"],
        ["channels_last=True"],
        ["deterministic=True"],
        ["train_pipeline=None", "clip_grad=None"],
        ["surface_metrics=True"],
    ],
    ids=lambda o: o[0],
)
def test_switches_train_and_predict(config, prepared, tmp_path, options):
    runner = train(
        config(), data=prepared, work_dir=tmp_path, options=["max_epochs=1", "val_interval=1", "pictures=0", *options]
    )
    # a kernel that has no deterministic form is a warning, not the end of the run
    assert torch.is_deterministic_algorithms_warn_only_enabled() == ("deterministic=True" in options)
    torch.use_deterministic_algorithms(False)
    assert runner.epoch == 1
    assert ("surface_dice" in (tmp_path / "scalars.csv").read_text()) == ("surface_metrics=True" in options)
    table = score(tmp_path / "best.pth", data=prepared, no_surface=True)
    assert not table.failures
    assert 0 <= table.overall().dice.value <= 1


def test_accumulation_steps_once_per_so_many_iterations(config, prepared, tmp_path):
    runner = train(
        config(), data=prepared, work_dir=tmp_path, options=["max_epochs=1", "val_split=None", "accumulate=4"]
    )
    steps = {int(state["step"]) for state in runner.optim_wrapper.optimizer.state.values()}
    assert steps == {1}


def test_the_average_of_the_weights_is_what_is_used(config, prepared, tmp_path):
    train(config(), data=prepared, work_dir=tmp_path, options=["max_epochs=1", "val_split=None", "ema=0.0001"])
    content = load_checkpoint(tmp_path / "last.pth")
    averaged, trained_now = (
        content.state_dict["head.classifiers.0.expand.weight"],
        content.training["ema_state_dict"]["module.head.classifiers.0.expand.weight"],
    )
    assert not torch.equal(averaged, trained_now)


def test_training_starts_from_given_weights(trained, prepared, tmp_path):
    config, folder, _ = trained
    options = ["max_epochs=1", "optimizer.lr=0.0", "val_split=None"]
    train(config, data=prepared, work_dir=tmp_path, load_from=folder / "last.pth", options=options)
    assert_bit_equal(weights(tmp_path), weights(folder))


def test_test_scores_on_the_scans_own_grid(trained, prepared, tmp_path):
    config, folder, _ = trained
    table = score(folder / "best.pth", config=config, data=prepared, out=tmp_path)
    assert table.cases == ["case6", "case7"] or list(table.cases) == ["case6", "case7"]
    assert (tmp_path / "scores.csv").exists()
    assert (tmp_path / "scores.json").exists()
    assert np.isfinite(table.overall().dice.value)


def test_scores_of_each_split_have_a_folder_of_their_own_beside_the_checkpoint(trained, prepared, tmp_path, caplog):
    best = Path(shutil.copy(trained[1] / "best.pth", tmp_path))
    for split, cases in (("test", 2), ("val", 2)):
        with caplog.at_level("INFO", "densekit"):
            table = score(best, split=split, no_surface=True)
        assert len(table.cases) == cases
        assert caplog.messages[-1] == f"scores.csv and scores.json are in {tmp_path / f'test_best_{split}'}"
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")) == [
        "best.pth",
        *(f"test_best_{split}{file}" for split in ("test", "val") for file in ("", "/scores.csv", "/scores.json")),
    ]


def test_compile_compiles_backbone_and_neck_once(config, prepared, tmp_path, monkeypatch):
    ran = []

    def eager(function, **options):
        """Stands for torch.compile, which takes minutes: counts the calls of what was compiled."""

        def call(*arguments, **keywords):
            ran.append(type(function.__self__).__name__)
            return function(*arguments, **keywords)

        return call

    monkeypatch.setattr(torch, "compile", eager)
    options = ["max_epochs=1", "iterations_per_epoch=3", "val_split=None"]
    train(config(), data=prepared, work_dir=tmp_path / "off", options=options)
    assert not ran
    train(config(), data=prepared, work_dir=tmp_path / "on", options=[*options, "compile=True"])
    assert ran == ["DFormer", "DFormerDecoder"] * 3
    assert_bit_equal(weights(tmp_path / "on"), weights(tmp_path / "off"))


def test_intervals_and_hooks_of_ones_own(config, prepared, tmp_path):
    more = "from mmengine.hooks import EmptyCacheHook\ncustom_hooks = [dict(type=EmptyCacheHook, after_iter=True)]"
    options = ["max_epochs=3", "val_split=None", "checkpoint_interval=2", "log_interval=4"]
    written = []

    class Recorder(Runner):
        def write_checkpoint(self, path, *, epoch, resumable):
            written.append((path.name, epoch))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("densekit.engine.runner.Runner", Recorder)
        runner = train(config(more=more), data=prepared, work_dir=tmp_path, options=options)
    assert written == [("last.pth", 2), ("last.pth", 3), ("best.pth", 3)]
    assert any(type(hook).__name__ == "EmptyCacheHook" for hook in runner.hooks)
    steps = [line.split(",")[0] for line in (tmp_path / "scalars.csv").read_text().splitlines() if ",loss," in line]
    assert steps == ["4", "8", "12"]


def test_sampling_and_scoring_follow_the_config(config, prepared, tmp_path):
    options = [
        "foreground_ratio=1",
        "train_split=train+test",
        "val_split=test",
        "convention=transunet",
        "num_workers=0",
    ]
    plan = make_plan(load_config(config(), options), prepared)
    runner = build_runner(plan, tmp_path)
    samples = runner.build_dataloader(runner._train_dataloader).dataset
    assert (samples.foreground_per_batch, len(samples.cases), len(samples)) == (2, 6, 8)
    assert [case.id for case in runner.val_dataloader.dataset.cases] == ["case6", "case7"]
    assert runner.val_evaluator.metrics[0].settings["convention"] == "transunet"
    assert runner.described["meta"]["convention"] == "transunet"


def test_pictures_show_so_many_cases(config, prepared, tmp_path):
    for cases in (1, 2):
        train(config(), data=prepared, work_dir=tmp_path / f"{cases}", options=["max_epochs=1", f"pictures={cases}"])
    one, two = (Image.open(tmp_path / f"{cases}" / "pictures" / "epoch_0001.png").size for cases in (1, 2))
    assert one != two


def test_nothing_is_written_beside_the_work_folder(config, prepared, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    train(config(), data=prepared, work_dir=tmp_path / "run", options=["max_epochs=1"])
    assert not list((tmp_path / "here").iterdir())
