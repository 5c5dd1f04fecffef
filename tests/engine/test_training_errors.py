"""What ends a training or a scoring, or should be known of it, is said in one line."""

import errno
import math
import os
import shutil
from types import SimpleNamespace

import pytest
import torch

from densekit.cli import main
from densekit.engine.hooks import CsvLogHook, FiniteLossHook
from densekit.errors import ConfigError, OutputError
from densekit.models.assemblies.volume_segmentor import VolumeSegmentor
from densekit.tasks import test as score
from densekit.tasks import train

from ..volume_runs import SHORT, messages

pytestmark = pytest.mark.usefixtures("one_thread")


def test_bad_input_is_one_line_and_status_2(trained, prepared, tmp_path, capsys, config):
    path, folder, _ = trained
    other = config(more="model['backbone']['widths'] = (8, 32)\nmodel['neck']['in_channels'] = (8, 32)")
    torch.save({"another": torch.zeros(1)}, tmp_path / "another.pth")
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
        "none of its 1 tensors fits VolumeSegmentor": [
            "train",
            other,
            "--data",
            prepared,
            "--load-from",
            tmp_path / "another.pth",
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


def test_cases_that_train_and_validate_are_said(config, prepared, tmp_path):
    folder = tmp_path / "train-and-validate"
    train(config(), data=prepared, work_dir=folder, options=["max_epochs=1", "pictures=0", "train_split=train+val"])
    assert "2 cases are in train_split=train+val and in val_split=val" in messages(folder)


def test_an_unwritable_folder_is_known_before_the_scoring(short_run, tmp_path):
    (tmp_path / "file").touch()
    predicted = []
    with pytest.raises(OutputError, match="file"):
        score(
            short_run[1] / "best.pth",
            out=tmp_path / "file" / "below",
            progress=lambda *case: predicted.append(case),
        )
    assert not predicted
