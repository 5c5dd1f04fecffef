"""Training end to end on a tiny data set: files, resume after kill -9, two processes, switches."""

import csv
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from densekit.cli import main
from densekit.engine.test import test as score
from densekit.engine.train import train
from densekit.errors import CheckpointError, ConfigError
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
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--master_port=29711"]
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
    ],
    ids=lambda o: o[0],
)
def test_switches_train_and_predict(config, prepared, tmp_path, options):
    runner = train(
        config(), data=prepared, work_dir=tmp_path, options=["max_epochs=1", "val_interval=1", "pictures=0", *options]
    )
    torch.use_deterministic_algorithms(False)
    assert runner.epoch == 1
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
        "was trained with seed 0": ["train", path, "--data", prepared, "--work-dir", folder, "--resume", "--seed", "5"],
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
