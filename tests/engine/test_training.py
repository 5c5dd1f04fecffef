"""Training end to end on a tiny data set: files, resume after kill -9, two processes, switches."""

import csv
import errno
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from densekit.cli import main
from densekit.engine.config import load_config
from densekit.engine.hooks import CsvLogHook, FiniteLossHook
from densekit.engine.runner import Runner, build_runner
from densekit.engine.test import test as score
from densekit.engine.train import train
from densekit.engine.volume import VolumePlan
from densekit.errors import CheckpointError, ConfigError, OutputError
from densekit.models.assemblies.volume_segmentor import VolumeSegmentor
from densekit.package import load_checkpoint


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def weights(folder, name="last.pth"):
    return load_checkpoint(folder / name).state_dict


def assert_bit_equal(one, other):
    assert one.keys() == other.keys()
    for key in one:
        assert torch.equal(one[key], other[key]), key


def command(config, prepared, work_dir, *more):
    return [
        sys.executable,
        "-m",
        "densekit.cli",
        "train",
        str(config),
        "--data",
        str(prepared),
        "--work-dir",
        str(work_dir),
        *more,
    ]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, prepared, config):
    """Config and folder of a run of four epochs that nothing disturbed."""
    path, folder = config(), tmp_path_factory.mktemp("trained")
    run = subprocess.run(
        command(path, prepared, folder), env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    return path, folder, run.stdout + run.stderr


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


def test_the_learning_rate_follows_nnunets_rule(trained):
    with (trained[1] / "scalars.csv").open() as file:
        rates = {int(r["epoch"]): float(r["value"]) for r in csv.DictReader(file) if r["name"] == "lr"}
    assert rates == {e + 1: pytest.approx(1e-2 * (1 - e / 4) ** 0.9, rel=1e-4) for e in range(4)}


def test_the_checkpoint_says_all_that_prediction_needs(trained, prepared):
    checkpoint = load_checkpoint(trained[1] / "best.pth")
    assert checkpoint.labels == ["background", "near", "far"]
    assert checkpoint.inference["window"] == [8, 12, 12]
    assert checkpoint.preprocessing["normalization"] == "zscore"
    assert checkpoint.meta["scored"] == ["near", "far"]
    logits = checkpoint.build_model().predict_logits(torch.zeros(1, 1, 8, 12, 12))
    assert logits.shape == (1, 3, 8, 12, 12)


def test_killed_and_resumed_is_bit_equal_to_undisturbed(trained, prepared, tmp_path):
    config, undisturbed, _ = trained
    # The run is slowed so that the kill lands inside the third epoch, after the checkpoint of the second.
    slow = "log_interval=1"
    process = subprocess.Popen(
        command(config, prepared, tmp_path, "--cfg-options", slow),
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    for line in process.stdout:
        if "Epoch(train) [3][1/4]" in line:
            process.send_signal(signal.SIGKILL)
            break
    assert process.wait(timeout=60) == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "last.pth").meta["epoch"] == 2
    done = subprocess.run(
        command(config, prepared, tmp_path, "--resume"),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "epoch 2 of 4" in done.stdout + done.stderr
    assert_bit_equal(weights(tmp_path), weights(undisturbed))
    assert (
        load_checkpoint(tmp_path / "last.pth").meta["best_score"]
        == load_checkpoint(undisturbed / "last.pth").meta["best_score"]
    )
    steps = [line.split(",")[0] for line in (tmp_path / "scalars.csv").read_text().splitlines() if ",loss," in line]
    assert len(steps) == len(set(steps))


def test_workers_do_not_change_the_result(trained, prepared, tmp_path):
    config, undisturbed, _ = trained
    train(config, data=prepared, work_dir=tmp_path, options=["num_workers=2", "pictures=0"])
    assert_bit_equal(weights(tmp_path), weights(undisturbed))


def test_another_seed_is_another_result(trained, prepared, tmp_path):
    config, undisturbed, _ = trained
    train(config, data=prepared, work_dir=tmp_path, seed=1, options=["max_epochs=1", "val_split=None"])
    key = "backbone.embedding.proj.weight"
    assert not torch.equal(weights(tmp_path)[key], weights(undisturbed)[key])


def test_two_processes_learn_what_one_learns(config, prepared, tmp_path):
    """Two gloo processes with batch 1 each see the samples of one process with batch 2; gradients are averaged."""
    # Neither drop path (drawn per process) nor a loss over the whole batch (per process as well) may differ.
    path = config(more="model['backbone']['drop_path'] = 0.0")
    one = ["max_epochs=2", "batch_size=2", "pictures=0"]
    two = ["max_epochs=2", "batch_size=1", "pictures=0"]
    train(path, data=prepared, work_dir=tmp_path / "one", options=one)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone"]
    arguments = command(path, prepared, tmp_path / "two", "--launcher", "pytorch", "--cfg-options", *two)[1:]
    done = subprocess.run(
        [*torchrun, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key in first:
        torch.testing.assert_close(first[key], second[key], atol=2e-4, rtol=1e-3)
    best = [load_checkpoint(tmp_path / n / "best.pth").meta["best_score"] for n in ("one", "two")]
    assert best[0] == pytest.approx(best[1], abs=1e-3)


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
    table = score(config(), tmp_path / "best.pth", data=prepared, surface=False)
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
    table = score(config, folder / "best.pth", data=prepared, out=tmp_path)
    assert table.cases == ["case6", "case7"] or list(table.cases) == ["case6", "case7"]
    assert (tmp_path / "scores.csv").exists()
    assert (tmp_path / "scores.json").exists()
    assert np.isfinite(table.overall().dice.value)


def test_bad_input_is_one_line_and_status_2(trained, prepared, tmp_path, capsys, config):
    path, folder, _ = trained
    other = config(more="model['backbone']['widths'] = (8, 32)\nmodel['neck']['in_channels'] = (8, 32)")
    calls = {
        "no such folder": ["train", path, "--data", tmp_path / "nothing"],
        "there is no last.pth": ["train", path, "--data", prepared, "--work-dir", tmp_path / "new", "--resume"],
        "no such checkpoint file": [
            "train",
            path,
            "--data",
            prepared,
            "--load-from",
            tmp_path / "x.pth",
            "--work-dir",
            tmp_path / "w",
        ],
        "another architecture": [
            "train",
            other,
            "--data",
            prepared,
            "--load-from",
            folder / "best.pth",
            "--work-dir",
            tmp_path / "w",
        ],
        "seed=5 (was 0)": ["train", path, "--data", prepared, "--work-dir", folder, "--resume", "--seed", "5"],
        "holds a run already (last.pth)": ["train", path, "--data", prepared, "--work-dir", folder],
        "contradict each other": ["train", path, "--data", prepared, "--resume", "--load-from", folder / "best.pth"],
        "cannot be made": ["train", path, "--data", prepared, "--work-dir", path / "below_a_file"],
    }
    for message, arguments in calls.items():
        assert main([str(a) for a in arguments]) == 2, message
        err = capsys.readouterr().err.splitlines()
        assert message in err[-1], err
        assert err[-1].startswith("densekit train: ")


def test_fp16_without_a_gpu_is_refused(config, prepared, tmp_path):
    if torch.cuda.is_available():
        pytest.skip("there is a GPU, fp16 works here")
    with pytest.raises(ConfigError, match="amp='fp16' needs a GPU"):
        train(config(), data=prepared, work_dir=tmp_path, amp="fp16")


def test_a_checkpoint_for_prediction_cannot_be_resumed(trained, prepared, tmp_path):
    config, folder, _ = trained
    content = torch.load(folder / "last.pth", weights_only=True)
    content["training"] = {}
    torch.save(content, tmp_path / "last.pth")
    with pytest.raises(CheckpointError, match="--load-from"):
        train(config, data=prepared, work_dir=tmp_path, resume=True)


SHORT = ["max_epochs=2", "val_interval=1", "pictures=0"]


@pytest.fixture(scope="module")
def short_run(tmp_path_factory, prepared, config):
    """Config and folder of a run of two epochs; copy the folder before changing anything in it."""
    path, folder = config(), tmp_path_factory.mktemp("short")
    train(path, data=prepared, work_dir=folder, options=SHORT)
    return path, folder


def resume(run, prepared, tmp_path, *options):
    # MMEngine tells runs of one second apart by the name of their folder
    folder = shutil.copytree(run[1], tmp_path / f"run-{tmp_path.name}")
    return folder, lambda: train(run[0], data=prepared, work_dir=folder, resume=True, options=[*SHORT, *options])


def messages(folder):
    """What the log of the newest start says."""
    return max(folder.glob("*/*.log"), key=lambda path: path.stat().st_mtime).read_text()


@pytest.mark.parametrize("options", [["ema=0.1"], ["accumulate=2", "optimizer.type=SGD"]], ids=lambda o: o[0])
def test_stopped_by_ctrl_c_and_resumed_is_bit_equal(config, prepared, tmp_path, monkeypatch, options):
    path = config()
    options = [*SHORT, "max_epochs=3", *options]
    train(path, data=prepared, work_dir=tmp_path / "whole", options=options)
    write = Runner.write_checkpoint

    def write_and_stop(runner, file, *, epoch):
        write(runner, file, epoch=epoch)
        if (file.name, epoch) == ("last.pth", 2):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Runner, "write_checkpoint", write_and_stop)
        train(path, data=prepared, work_dir=tmp_path / "run", options=options)
    train(path, data=prepared, work_dir=tmp_path / "run", resume=True, options=options)
    for name in ("last.pth", "best.pth"):
        assert_bit_equal(weights(tmp_path / "run", name), weights(tmp_path / "whole", name))
    assert (tmp_path / "run" / "scalars.csv").read_text() == (tmp_path / "whole" / "scalars.csv").read_text()


def test_resuming_a_finished_run_changes_nothing(short_run, prepared, tmp_path):
    folder, start = resume(short_run, prepared, tmp_path)
    before = {name: (folder / name).read_bytes() for name in ("last.pth", "best.pth", "scalars.csv")}
    start()
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert "the run is finished, nothing is left to train" in messages(folder)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("max_epochs=4", r"max_epochs=4 \(was 2\)"),
        ("optimizer.lr=0.5", r"optimizer.lr=0.5 \(was 0.01\)"),
        ("optimizer.type=SGD", r"optimizer.type='SGD' \(was 'AdamW'\)"),
        ("schedule=[]", r"schedule"),
        ("ema=0.1", r"ema=0.1 \(was None\)"),
    ],
)
def test_what_last_pth_holds_cannot_change_in_a_resumed_run(short_run, prepared, tmp_path, option, message):
    folder, start = resume(short_run, prepared, tmp_path, option)
    before = (folder / "config.json").read_text()
    with pytest.raises(ConfigError, match=rf"--resume: .*{message}.*--load-from .*last.pth"):
        start()
    assert (folder / "config.json").read_text() == before


def test_other_changes_of_a_resumed_run_are_said(short_run, prepared, tmp_path):
    folder, start = resume(short_run, prepared, tmp_path, "foreground_ratio=0.5", "num_workers=0", "log_interval=1")
    start()
    log = messages(folder)
    assert "changed since the run was started: foreground_ratio=0.5 (was 0.333" in log
    assert log.count("changed since") == 1


def test_another_schedule_is_noticed_without_config_json(short_run, prepared, tmp_path):
    folder, start = resume(short_run, prepared, tmp_path, "schedule=[]")
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"its optimizer or schedule is not this config's"):
        start()
    assert "config.json is gone or unreadable" in messages(folder)


def test_a_lost_best_pth_is_said_and_made_again(short_run, prepared, tmp_path):
    folder, start = resume(short_run, prepared, tmp_path)
    (folder / "best.pth").unlink()
    start()
    assert "best.pth is gone" in messages(folder)
    assert load_checkpoint(folder / "best.pth").meta["epoch"] == 2


def test_a_row_cut_short_by_a_kill_is_dropped(short_run, prepared, tmp_path):
    folder, start = resume(short_run, prepared, tmp_path)
    before = (folder / "scalars.csv").read_text()
    with (folder / "scalars.csv").open("a") as file:
        file.write("1,1,tra")
    start()
    assert (folder / "scalars.csv").read_text() == before


def test_a_loss_that_is_no_number_ends_the_run(config, prepared, tmp_path, monkeypatch):
    def no_number(model, inputs, data_samples=None, mode="tensor"):
        return {"loss": sum(weight.sum() for weight in model.parameters()) * math.nan}

    monkeypatch.setattr(VolumeSegmentor, "forward", no_number)
    with pytest.raises(ConfigError, match=r"the loss is nan in iteration 1 \(epoch 1\).*lower optimizer.lr"):
        train(config(), data=prepared, work_dir=tmp_path, options=SHORT)
    assert not (tmp_path / "last.pth").exists()


def test_fp16_may_skip_some_steps():
    hook, runner = FiniteLossHook(patience=3), SimpleNamespace(work_dir="run", iter=7, epoch=0)
    for loss in (math.nan, math.inf, 0.5, math.nan, math.nan):
        hook.after_train_iter(runner, 0, outputs={"loss": torch.tensor(loss)})
    with pytest.raises(ConfigError, match="iteration 8"):
        hook.after_train_iter(runner, 0, outputs={"loss": torch.tensor(math.nan)})


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_is_full_or_read_only_is_one_line(config, prepared, tmp_path, monkeypatch, capsys, number):
    def fail(*arguments):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(CsvLogHook, "_write", fail)
    arguments = ["train", config(), "--data", prepared, "--work-dir", tmp_path / "run", "--cfg-options", *SHORT]
    assert main([str(a) for a in arguments]) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith(f"densekit train: {tmp_path / 'run'}: cannot be written ({os.strerror(number)}); ")


def test_a_gpu_that_is_too_small_is_one_line(config, prepared, tmp_path, monkeypatch):
    def out_of_memory(*arguments, **keywords):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has ...")

    monkeypatch.setattr(VolumeSegmentor, "forward", out_of_memory)
    with pytest.raises(ConfigError, match=r"too small for this run \(CUDA out of memory\); lower batch_size"):
        train(config(), data=prepared, work_dir=tmp_path, options=SHORT)


def test_an_error_of_a_data_process_is_one_line(config, prepared, tmp_path, capsys):
    folder = shutil.copytree(prepared, tmp_path / "data")
    for file in folder.glob("cases/*/image.npy"):
        file.write_bytes(file.read_bytes()[:200])
    arguments = ["train", config(), "--data", folder, "--work-dir", tmp_path / "run", "--cfg-options", "num_workers=1"]
    assert main([str(a) for a in arguments]) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert err.startswith(f"densekit train: {folder / 'cases'}")
    assert "densekit prepare" in err.splitlines()[-1]


def test_ctrl_c_leaves_whole_files_and_status_130(config, prepared, tmp_path):
    """As from a terminal: the data-loading process gets it as well."""
    long = ["max_epochs=99", "val_interval=99", "num_workers=1"]
    run = command(config(), prepared, tmp_path, "--cfg-options", *long)
    process = subprocess.Popen(
        run, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for line in process.stdout:
        if re.search(r"Epoch\(train\) +\[2\]", line):
            os.killpg(process.pid, signal.SIGINT)
            break
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.strip().splitlines()[-1].startswith("densekit train: stopped by Ctrl-C")
    assert "Traceback" not in err
    assert load_checkpoint(tmp_path / "last.pth").meta["epoch"] >= 1
    assert not list(tmp_path.rglob(".densekit-*"))


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
        def write_checkpoint(self, path, *, epoch):
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
    plan = VolumePlan(load_config(config(), options), prepared)
    runner = build_runner(plan, tmp_path)
    samples = runner.build_dataloader(runner._train_dataloader).dataset
    assert (samples.foreground_per_batch, len(samples.cases), len(samples)) == (2, 6, 8)
    assert [case.id for case in runner.val_dataloader.dataset.cases] == ["case6", "case7"]
    assert runner.val_evaluator.metrics[0].convention == "transunet"
    assert runner.described["meta"]["convention"] == "transunet"


def test_pictures_show_so_many_cases(config, prepared, tmp_path):
    for cases in (1, 2):
        train(config(), data=prepared, work_dir=tmp_path / f"{cases}", options=["max_epochs=1", f"pictures={cases}"])
    one, two = (Image.open(tmp_path / f"{cases}" / "pictures" / "epoch_0001.png").size for cases in (1, 2))
    assert one != two


def test_cases_that_train_and_validate_are_said(config, prepared, tmp_path):
    folder = tmp_path / "train-and-validate"
    train(config(), data=prepared, work_dir=folder, options=["max_epochs=1", "pictures=0", "train_split=train+val"])
    assert "2 cases are in train_split=train+val and in val_split=val" in messages(folder)


def test_nothing_is_written_beside_the_work_folder(config, prepared, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    train(config(), data=prepared, work_dir=tmp_path / "run", options=["max_epochs=1"])
    assert not list((tmp_path / "here").iterdir())


def test_an_unwritable_folder_is_known_before_the_scoring(short_run, prepared, tmp_path):
    (tmp_path / "file").touch()
    predicted = []
    with pytest.raises(OutputError, match="file"):
        score(
            short_run[0],
            short_run[1] / "best.pth",
            data=prepared,
            out=tmp_path / "file" / "below",
            progress=lambda *case: predicted.append(case),
        )
    assert not predicted
