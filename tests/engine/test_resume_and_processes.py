"""Runs that are killed, stopped or resumed, and runs of two processes: the result is that of one undisturbed."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from densekit.engine.hooks import BestAndLastHook, StatelessSeedHook
from densekit.engine.runner import Runner
from densekit.errors import CheckpointError, ConfigError
from densekit.inference.volume.validation import VolumeValLoop
from densekit.package import load_checkpoint
from densekit.stopping import Stopped
from densekit.tasks import test as score
from densekit.tasks import train

from ..volume_runs import SHORT, assert_bit_equal, command, messages, weights

pytestmark = pytest.mark.usefixtures("one_thread")


KILLED = """
import os, signal, sys

from densekit.cli import main
from densekit.engine.hooks.seed import StatelessSeedHook

def kill(hook, runner, **_):
    if runner.iter == 9:  # the second of the four iterations of the third epoch
        os.kill(os.getpid(), signal.SIGKILL)
    seed(hook, runner, 0)

seed, StatelessSeedHook.before_train_iter = StatelessSeedHook.before_train_iter, kill
sys.exit(main(sys.argv[1:]))
"""


def resume(run, prepared, tmp_path, *options):
    # MMEngine tells runs of one second apart by the name of their folder
    folder = shutil.copytree(run[1], tmp_path / f"run-{tmp_path.name}")
    return folder, lambda: train(run[0], data=prepared, work_dir=folder, resume=True, options=[*SHORT, *options])


def test_killed_and_resumed_is_bit_equal_to_undisturbed(trained, launcher, prepared, tmp_path):
    config, undisturbed, _ = trained
    killed = launcher.start(KILLED, *command(config, prepared, tmp_path)).wait()
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert load_checkpoint(tmp_path / "last.pth").meta["epoch"] == 2
    done = launcher.command(*command(config, prepared, tmp_path, "--resume")).wait()
    assert done.returncode == 0, done.stderr
    assert "epoch 2 of 4" in done.stdout + done.stderr
    assert_bit_equal(weights(tmp_path), weights(undisturbed))
    assert (
        load_checkpoint(tmp_path / "last.pth").meta["best_score"]
        == load_checkpoint(undisturbed / "last.pth").meta["best_score"]
    )
    steps = [line.split(",")[0] for line in (tmp_path / "scalars.csv").read_text().splitlines() if ",loss," in line]
    assert len(steps) == len(set(steps))


def before(patch, owner, method, happens, when):
    """Let something happen before a method's call on a runner, or on what belongs to one."""
    original = getattr(owner, method)

    def called(self, *args, **how):
        runner = next(item for item in (*args, getattr(self, "runner", None), self) if isinstance(item, Runner))
        if when(runner, *args):
            happens()
        return original(self, *args, **how)

    patch.setattr(owner, method, called)


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def crash():
    raise RuntimeError("crash")


STOPS = {
    # in the sixth iteration: of the second epoch, with accumulate=2 not at an odd number
    "in an epoch": (StatelessSeedHook, "before_train_iter", interrupt, lambda runner, *_: runner.iter == 4),
    "at its end": (StatelessSeedHook, "before_train_iter", interrupt, lambda runner, *_: runner.iter == 7),
    "in its validation": (VolumeValLoop, "_windows", interrupt, lambda runner, *_: runner.epoch == 2),
    "by a crash there": (VolumeValLoop, "_windows", crash, lambda runner, *_: runner.epoch == 2),
    "before its score is kept": (BestAndLastHook, "after_val_epoch", crash, lambda runner, *_: runner.epoch == 2),
}
WITH = {"ema": ["ema=0.1", "log_interval=3"], "accumulate": ["accumulate=2", "optimizer.type=SGD", "num_workers=1"]}


@pytest.fixture(scope="module")
def undisturbed(config, prepared, tmp_path_factory):
    """Function that gives config, options and folder of a run of three epochs."""
    done = {}

    def run(kind):
        if kind not in done:
            path, folder = config(), tmp_path_factory.mktemp(kind) / "whole"
            options = [*SHORT, "max_epochs=3", *WITH[kind]]
            torch.set_num_threads(1)
            train(path, data=prepared, work_dir=folder, options=options)
            done[kind] = path, options, folder
        return done[kind]

    return run


@pytest.mark.parametrize(("kind", "stop"), [("ema", stop) for stop in STOPS] + [("accumulate", "in an epoch")])
def test_stopped_and_resumed_is_bit_equal(undisturbed, prepared, tmp_path, monkeypatch, kind, stop):
    path, options, whole = undisturbed(kind)
    folder = tmp_path / f"run-{tmp_path.name}"
    with monkeypatch.context() as patched, pytest.raises((Stopped, RuntimeError)):
        before(patched, *STOPS[stop])
        train(path, data=prepared, work_dir=folder, options=options)
    state = torch.load(folder / "last.pth", weights_only=True)["training"]
    in_epoch = stop == "in an epoch"
    assert (state["epoch"], state["batch"]) == ((1, {"ema": 1, "accumulate": 2}[kind]) if in_epoch else (2, 0))
    assert state["unvalidated"] is not in_epoch
    train(path, data=prepared, work_dir=folder, resume=True, options=options)
    for name in ("last.pth", "best.pth"):
        assert_bit_equal(weights(folder, name), weights(whole, name))
    assert (folder / "scalars.csv").read_text() == (whole / "scalars.csv").read_text()


def test_a_signal_to_one_process_stops_both_after_the_same_step(config, launcher, prepared, tmp_path):
    code = KILLED.replace("SIGKILL", "SIGTERM").replace("runner.iter == 9", "runner.iter == 4 and runner.rank == 1")
    arguments = command(config(), prepared, tmp_path, "--launcher", "pytorch", "--cfg-options", "pictures=0")
    for done in launcher.pair(*arguments, code=code):
        assert done.returncode == 128 + signal.SIGTERM, done.stderr[-3000:]
    state = torch.load(tmp_path / "last.pth", weights_only=True)["training"]
    assert (state["epoch"], state["batch"]) == (1, 1)
    assert "stopped by SIGTERM in epoch 2 of 4, after 1 of its 4 iterations" in messages(tmp_path)


def test_a_finished_run_that_is_trained_on_is_the_longer_run(config, prepared, tmp_path):
    path, options = config(), [*SHORT, "schedule=[]"]
    train(path, data=prepared, work_dir=tmp_path / "whole", options=[*options, "max_epochs=3"])
    train(path, data=prepared, work_dir=tmp_path / "run", options=options)
    more = train(path, data=prepared, work_dir=tmp_path / "run", resume=True, options=[*options, "max_epochs=3"])
    assert "max_epochs=3 (was 2): from epoch 3 on the learning rate goes on at 0.01" in messages(tmp_path / "run")
    assert more.epoch == 3
    assert_bit_equal(weights(tmp_path / "run"), weights(tmp_path / "whole"))
    assert (tmp_path / "run" / "scalars.csv").read_text() == (tmp_path / "whole" / "scalars.csv").read_text()


def test_a_log_says_how_far_a_long_validation_is(short_run, prepared, tmp_path, monkeypatch):
    for name in ("FIRST", "SHORTEST", "SHARE"):  # every small part of the work is told
        monkeypatch.setattr(f"densekit.progress.{name}", 0)
    folder, start = resume(short_run, prepared, tmp_path, "max_epochs=3")
    start()
    assert re.search(r"validation of epoch 3: case 1 of 2, window 4 of \d+ \(\d+%\), about .* left", messages(folder))


def test_a_schedule_is_stretched_to_another_end(short_run, prepared, tmp_path):
    """nnU-Net's rule: lr * (1 - epoch / max_epochs)^0.9, epochs from 0."""
    folder, start = resume(short_run, prepared, tmp_path, "max_epochs=4")
    start()
    rows = [line.split(",") for line in (folder / "scalars.csv").read_text().splitlines() if ",lr," in line]
    rates = {int(epoch): float(value) for _, epoch, _, _, value in rows}
    expected = {1: 0.01, 2: 0.01 * 0.5**0.9, 3: 0.01 * 0.5**0.9, 4: 0.01 * 0.25**0.9}
    assert rates == pytest.approx(expected, rel=1e-4)
    assert "max_epochs=4 (was 2): from epoch 3 on the learning rate is that of a run of 4 epochs, 0.00535" in messages(
        folder
    )


@pytest.mark.parametrize("epochs", [1, 2])
def test_max_epochs_is_more_than_what_is_done(trained, prepared, tmp_path, epochs):
    folder = shutil.copytree(trained[1], tmp_path / "run")
    with pytest.raises(ConfigError, match=rf"resume: max_epochs={epochs}, but .*last.pth has 4 epochs done"):
        train(trained[0], data=prepared, work_dir=folder, resume=True, options=[f"max_epochs={epochs}"])


def test_resuming_a_finished_run_changes_nothing(short_run, prepared, tmp_path):
    folder, start = resume(short_run, prepared, tmp_path)
    before = {name: (folder / name).read_bytes() for name in ("last.pth", "best.pth", "scalars.csv")}
    start()
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert "the run is finished, nothing is left to train" in messages(folder)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("optimizer.lr=0.5", r"optimizer.lr=0.5 \(was 0.01\)"),
        ("optimizer.type=SGD", r"optimizer.type='SGD' \(was 'AdamW'\)"),
        ("schedule=[]", r"schedule"),
        ("ema=0.1", r"ema=0.1 \(was None\)"),
    ],
)
def test_what_last_pth_holds_cannot_change_in_a_resumed_run(short_run, prepared, tmp_path, option, message):
    folder, start = resume(short_run, prepared, tmp_path, option)
    before = (folder / "config.json").read_text()
    with pytest.raises(ConfigError, match=rf"resume: .*{message}.*load_from=.*last.pth"):
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


def test_a_checkpoint_for_prediction_cannot_be_resumed(trained, prepared, tmp_path):
    config, folder, _ = trained
    content = torch.load(folder / "last.pth", weights_only=True)
    content["training"] = {}
    torch.save(content, tmp_path / "last.pth")
    with pytest.raises(CheckpointError, match="load_from"):
        train(config, data=prepared, work_dir=tmp_path, resume=True)


def test_ctrl_c_leaves_whole_files_and_status_130(config, launcher, prepared, tmp_path):
    """As from a terminal: the data-loading process gets it as well. What is printed goes on with the run."""
    long = ["max_epochs=99", "val_interval=99", "num_workers=1"]
    config_file = config()
    started = launcher.command(*command(config_file, prepared, tmp_path, "--cfg-options", *long))
    deadline = time.monotonic() + 300
    while not (tmp_path / "last.pth").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(started.process.pid, signal.SIGINT)
    done = started.wait()
    assert done.returncode == 130
    assert done.stderr.strip().splitlines()[-1].startswith("densekit train: stopped by Ctrl-C")
    assert "Traceback" not in done.stderr
    assert load_checkpoint(tmp_path / "last.pth").meta["epoch"] >= 1
    assert not list(tmp_path.rglob(".densekit-*"))
    *_, printed = done.stderr.strip().splitlines()[-1].partition("go on with: densekit ")
    words = shlex.split(printed)
    given = ["train", config_file, "--data", prepared, "--cfg-options", *long, "--work-dir", tmp_path, "--resume"]
    assert words == [*map(str, given)]


def torchrun(*arguments):
    """In earnest: also how processes start, and how they go down."""
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m", "densekit.cli"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    command = [*start, *map(str, arguments)]
    return [subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)]


@pytest.mark.parametrize("start", ["pair", pytest.param("torchrun", marks=pytest.mark.slow)])
def test_two_processes_learn_what_one_learns(config, launcher, prepared, tmp_path, start):
    """Two gloo processes with batch 1 each see the samples of one process with batch 2; gradients are averaged."""
    # Neither drop path (drawn per process) nor a loss over the whole batch (per process as well) may differ.
    path = config(more="model['backbone']['drop_path'] = 0.0")
    one = ["max_epochs=2", "batch_size=2", "pictures=0"]
    two = ["max_epochs=2", "batch_size=1", "pictures=0"]
    train(path, data=prepared, work_dir=tmp_path / "one", options=one)
    arguments = command(path, prepared, tmp_path / "two", "--launcher", "pytorch", "--cfg-options", *two)
    for done in {"pair": launcher.pair, "torchrun": torchrun}[start](*arguments):
        assert done.returncode == 0, done.stderr[-3000:]
    first, second = weights(tmp_path / "one"), weights(tmp_path / "two")
    for key in first:
        torch.testing.assert_close(first[key], second[key], atol=2e-4, rtol=1e-3)
    best = [load_checkpoint(tmp_path / n / "best.pth").meta["best_score"] for n in ("one", "two")]
    assert best[0] == pytest.approx(best[1], abs=1e-3)
    tested = score(tmp_path / "two" / "last.pth", data=prepared, split="val", no_surface=True)
    scalars = (tmp_path / "two" / "scalars.csv").read_text()
    assert f"8,2,val,dice,{tested.overall().dice.value:.6g}" in scalars  # each process validated one of the cases
