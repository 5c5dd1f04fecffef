"""Runs that are killed, stopped or resumed, and runs of two processes: the result is that of one undisturbed."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

from densekit.engine.runner import Runner
from densekit.errors import CheckpointError, ConfigError
from densekit.package import load_checkpoint
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


@pytest.mark.parametrize("options", [["ema=0.1"], ["accumulate=2", "optimizer.type=SGD"]], ids=lambda o: o[0])
def test_stopped_by_ctrl_c_and_resumed_is_bit_equal(config, prepared, tmp_path, monkeypatch, options):
    path = config()
    options = [*SHORT, "max_epochs=3", *options]
    train(path, data=prepared, work_dir=tmp_path / "whole", options=options)
    write = Runner.write_checkpoint

    def write_and_stop(runner, file, **how):
        write(runner, file, **how)
        if (file.name, how["epoch"]) == ("last.pth", 2):
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
    """As from a terminal: the data-loading process gets it as well."""
    long = ["max_epochs=99", "val_interval=99", "num_workers=1"]
    started = launcher.command(*command(config(), prepared, tmp_path, "--cfg-options", *long))
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
